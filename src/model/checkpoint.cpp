#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"
#include "evalmpi/model/safetensors.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr uint64_t kMaxIndexBytes = uint64_t{256} << 20;

// The index's "weight_map": tensor name -> file name.
std::map<std::string, std::string> read_index(const fs::path& path) {
  const Json index = parse_json(read_file(path, kMaxIndexBytes), path.string());
  std::map<std::string, std::string> files;
  if (!index.is_object() || !index.contains("weight_map") || !index.at("weight_map").is_object()) {
    fail(ExitCode::kBadInput, "{}: no \"weight_map\" object", path.string());
  }
  for (const auto& [tensor, file] : index.at("weight_map").items()) {
    if (!file.is_string()) fail(ExitCode::kBadInput, "{}: the file of \"{}\" is no text", path.string(), tensor);
    files.emplace(tensor, file.get<std::string>());
  }
  return files;
}

[[noreturn]] void fail_no_weights(const fs::path& folder) {
  std::error_code ignored;
  const bool pickled =
      fs::exists(folder / "pytorch_model.bin", ignored) || fs::exists(folder / "pytorch_model.bin.index.json", ignored);
  fail(ExitCode::kMissingInput, "{}: no {} and no {}{}", folder.string(), kSingleFile, kIndexFile,
       pickled
           ? "; pytorch_model.bin can run code when it is read and is not supported: load the model in transformers "
             "and save it with save_pretrained"
           : "");
}

at::ScalarType scalar_type(const TensorEntry& entry, const std::string& where) {
  if (entry.dtype == "F32") return at::kFloat;
  if (entry.dtype == "BF16") return at::kBFloat16;
  if (entry.dtype == "F16") return at::kHalf;
  fail(ExitCode::kBadInput, "{}: its dtype {} is not supported (F32, BF16 and F16 are)", where, entry.dtype);
}

std::string shown(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

// The whole tensor, a view into the map. Writers align to 8 bytes but need not: then it is a copy.
at::Tensor whole(const TensorEntry& entry, at::ScalarType type) {
  const size_t item_bytes = c10::elementSize(type);
  if (reinterpret_cast<uintptr_t>(entry.bytes.data()) % item_bytes != 0) {
    at::Tensor copy = at::empty(entry.shape, type);
    std::memcpy(copy.mutable_data_ptr(), entry.bytes.data(), entry.bytes.size());
    return copy;
  }
  return at::from_blob(const_cast<char*>(entry.bytes.data()), entry.shape, at::TensorOptions(type));
}

}  // namespace

Checkpoint::Checkpoint(const fs::path& folder) : folder_(folder) {
  std::map<std::string, std::string> index;
  std::vector<std::string> names;
  if (fs::exists(folder / kSingleFile)) {
    names.emplace_back(kSingleFile);
  } else if (fs::exists(folder / kIndexFile)) {
    index = read_index(folder / kIndexFile);
    for (const auto& [tensor, file] : index) names.push_back(file);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
  } else {
    fail_no_weights(folder);
  }
  for (size_t file = 0; file < names.size(); ++file) {
    // The hub cache's files are links to its blobs, outside the snapshot's folder.
    paths_.push_back(safe_path(folder, names[file], /*allow_links_out=*/true));
    maps_.emplace_back(paths_.back());
    for (auto& [name, entry] : parse_safetensors(maps_.back().bytes(), paths_.back().string())) {
      const auto indexed = index.find(name);
      if (indexed != index.end() && indexed->second != names[file]) continue;
      entry.file = file;
      if (!tensors_.emplace(name, entry).second) {
        fail(ExitCode::kBadInput, "{}: tensor \"{}\" is also in another file", paths_.back().string(), name);
      }
    }
  }
  for (const auto& [name, file] : index) {
    if (find(name) == nullptr) {
      fail(ExitCode::kBadInput, "{}: tensor \"{}\" is not in the file {} that the index names",
           (folder / kIndexFile).string(), name, file);
    }
  }
}

Checkpoint::Checkpoint(const fs::path& folder, const fs::path& file) : folder_(folder), paths_({folder / file}) {
  maps_.emplace_back(paths_.back());
  tensors_ = parse_safetensors(maps_.back().bytes(), paths_.back().string());
}

const TensorEntry* Checkpoint::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::string Checkpoint::where(const std::string& name) const {
  const TensorEntry* entry = find(name);
  const fs::path& place = entry == nullptr ? folder_ : paths_[entry->file];
  return place.string() + ": tensor \"" + name + "\"";
}

at::Tensor Checkpoint::read(const std::string& name, const std::vector<int64_t>& shape, int64_t dim,
                            const std::vector<Range>& ranges) const {
  const TensorEntry* entry = find(name);
  if (entry == nullptr) {
    fail(ExitCode::kBadInput, "{} is missing; expected the shape {}", where(name), shown(shape));
  }
  const at::ScalarType type = scalar_type(*entry, where(name));
  if (entry->shape != shape) {
    fail(ExitCode::kBadInput, "{} has the shape {}; config.json asks for {}", where(name), shown(entry->shape),
         shown(shape));
  }
  const at::Tensor all = whole(*entry, type);
  std::vector<at::Tensor> parts;
  for (const Range& range : ranges) parts.push_back(all.narrow(dim, range.begin, range.size()));
  if (parts.empty()) parts.push_back(all.narrow(dim, 0, 0));
  at::Tensor joined = parts.size() == 1 ? parts[0] : at::cat(parts, dim);
  bytes_read_ += static_cast<uint64_t>(joined.numel()) * c10::elementSize(type);
  return joined;
}

void Checkpoint::forget(const std::string& name) const {
  const TensorEntry* entry = find(name);
  if (entry != nullptr) maps_[entry->file].forget(entry->bytes);
}

}  // namespace evalmpi::model
