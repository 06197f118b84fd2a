#pragma once

// Reading safetensors files (huggingface/safetensors, "Format"): an 8-byte little-endian header length, a JSON header,
// and the tensors' bytes, row-major and little-endian. Files are mapped; only the bytes asked for are touched.

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/file.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/spec.h"

namespace evalmpi::model {

// Of one file, and of an index. The largest published models have about 150,000 in all their files.
inline constexpr size_t kMaxTensors = size_t{1} << 18;

struct TensorEntry {
  std::string dtype;  // as written in the header, e.g. "BF16"
  std::vector<int64_t> shape;
  std::string_view bytes;  // inside the mapped file
  size_t file = 0;         // index into Checkpoint::files()
};

// The tensors of one file by name. `bytes` is the whole file, `where` its name in messages.
// FAILS: kBadInput naming file and tensor: a header that is cut off, longer than the file or than 100 MB, not JSON,
// with more than kMaxTensors, duplicate names, unknown dtypes, shapes that do not fit their bytes, or bytes outside the
// file or in two tensors.
std::map<std::string, TensorEntry> parse_safetensors(std::string_view bytes, std::string_view where);

// The weight files of a model folder: model.safetensors, or those named in model.safetensors.index.json.
class Checkpoint {
 public:
  // FAILS: kMissingInput when the folder has neither, or a file of the index does not exist; kBadInput as
  // parse_safetensors does, when the index names a path outside the folder or a tensor its file lacks, and when the
  // folder holds weights in a format that evalmpi does not read (names it).
  explicit Checkpoint(const std::filesystem::path& folder);
  // One file of the folder, whatever its name.
  Checkpoint(const std::filesystem::path& folder, const std::filesystem::path& file);

  const std::filesystem::path& folder() const { return folder_; }
  const std::vector<std::filesystem::path>& files() const { return paths_; }
  const std::map<std::string, TensorEntry>& tensors() const { return tensors_; }
  const TensorEntry* find(const std::string& name) const;
  std::string where(const std::string& name) const;  // "FILE, tensor NAME"

  // FAILS: kBadInput when the tensor is missing, not of `shape`, or of a dtype other than F32, BF16 and F16 (or other
  // than `dtype`).
  void check(const std::string& name, const std::vector<int64_t>& shape, std::string_view dtype = {}) const;

  // A slice of a tensor, in the dtype of the file. The result owns its bytes, or, for a single range, may be a strided
  // view into the mapped file that is valid while this object lives. FAILS: as check().
  at::Tensor read(const std::string& name, const std::vector<int64_t>& shape, const Slice& slice) const;

  // Gives back the memory that reading `name` took; tensors of read() that view the map read the file again.
  void forget(const std::string& name) const;

  uint64_t bytes_read() const { return bytes_read_; }  // by read() and count_read(), so far
  // Counts bytes that the caller read at TensorEntry::bytes.
  void count_read(uint64_t bytes) const { bytes_read_ += bytes; }

 private:
  std::filesystem::path folder_;
  std::vector<std::filesystem::path> paths_;
  std::vector<MappedFile> maps_;
  std::map<std::string, TensorEntry> tensors_;
  mutable std::atomic<uint64_t> bytes_read_{0};
};

}  // namespace evalmpi::model
