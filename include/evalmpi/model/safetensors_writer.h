#pragma once

// Writing safetensors files (huggingface/safetensors, "Format") of any size in the memory of a few blocks.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evalmpi/base/descriptor.h"

namespace evalmpi::model {

struct OutputTensor {
  std::string name;
  std::string dtype;  // as in the header, e.g. "BF16"
  std::vector<int64_t> shape;
  uint64_t size_bytes() const;
};

// Bytes of one element; 0 for dtypes that safetensors does not know and those of less than a byte.
uint64_t element_bytes(std::string_view dtype);

// One file, written in order. Until finish() it stands beside `path` under a temporary name, which is removed when
// the writer is destroyed without it.
class SafetensorsWriter {
 public:
  // Writes the header: all tensors, and {"format": "pt"} as transformers does. The data begins at a multiple of 8.
  // FAILS: kCannotWrite, also when a file of this name exists; kIo. Both with the path and the system's words.
  SafetensorsWriter(std::filesystem::path path, std::span<const OutputTensor> tensors);
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;
  ~SafetensorsWriter();

  // The next bytes of the tensors, in the order of the constructor. FAILS: kIo.
  void append(std::string_view bytes);

  // fsync, then the file gets its name. All bytes that the header speaks of must have come. FAILS: kIo.
  void finish();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  Descriptor file_;
  uint64_t missing_bytes_ = 0;
};

// Files of a checkpoint, as transformers' save_pretrained cuts them: tensors in the order given; a file is closed when
// the next tensor would lift it above `max_shard_bytes`; a larger tensor is a file of its own.
struct ShardedNames {
  std::vector<std::string> files;            // "model.safetensors", or "model-00001-of-00003.safetensors", ...
  std::vector<std::vector<size_t>> tensors;  // of each file: indices into the tensors
  std::string index_json(std::span<const OutputTensor> all) const;  // model.safetensors.index.json; "" for one file
};
ShardedNames cut_into_files(std::span<const OutputTensor> tensors, uint64_t max_shard_bytes);

}  // namespace evalmpi::model
