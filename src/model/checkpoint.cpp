#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"
#include "evalmpi/model/safetensors.h"
#include "other_formats.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr uint64_t kMaxIndexBytes = uint64_t{256} << 20;
constexpr size_t kMaxNameBytes = 1000;
constexpr int kMaxDepth = 200;

// The index's "weight_map": tensor name -> file name. Takes the events of nlohmann's SAX parser: an ordered JSON
// object of so many keys would take time by their square.
class IndexReader {
 public:
  explicit IndexReader(const std::string& where) : where_(where) {}

  std::map<std::string, std::string> take() {
    if (!has_map_) fail_no_map();
    return std::move(files_);
  }

  bool null() { return other_value(); }
  bool boolean(bool) { return other_value(); }
  bool number_integer(int64_t) { return other_value(); }
  bool number_unsigned(uint64_t) { return other_value(); }
  bool number_float(double, const std::string&) { return other_value(); }
  bool binary(Json::binary_t&) { return other_value(); }
  bool string(std::string& value) {
    if (!in_map_ || depth_ != 2) return other_value();
    if (files_.size() == kMaxTensors) fail(ExitCode::kBadInput, "{}: more than {} tensors", where_, kMaxTensors);
    if (!files_.emplace(name_, value).second) {
      fail(ExitCode::kBadInput, "{}: the tensor \"{}\" stands twice", where_, name_);
    }
    return true;
  }
  bool start_object(size_t) {
    if (depth_ == 1 && in_map_) has_map_ = true;
    if (depth_ >= 2) other_value();
    return deeper();
  }
  bool start_array(size_t) {
    if (depth_ == 0) fail_no_map();
    other_value();
    return deeper();
  }
  bool end_object() { return --depth_ >= 0; }
  bool end_array() { return --depth_ >= 0; }
  bool key(std::string& name) {
    if (depth_ == 1) in_map_ = name == "weight_map";
    name_ = name.substr(0, kMaxNameBytes);
    return true;
  }
  bool parse_error(size_t byte, const std::string&, const Json::exception&) {
    fail(ExitCode::kBadInput, "{}: not valid JSON at byte {}", where_, byte);
  }

 private:
  [[noreturn]] void fail_no_map() const { fail(ExitCode::kBadInput, "{}: no \"weight_map\" object", where_); }
  bool deeper() {
    if (++depth_ > kMaxDepth) fail(ExitCode::kBadInput, "{}: JSON nested deeper than {}", where_, kMaxDepth);
    return true;
  }
  bool other_value() const {
    if (depth_ == 0 || (depth_ == 1 && in_map_)) fail_no_map();
    if (in_map_) fail(ExitCode::kBadInput, "{}: the file of \"{}\" is no text", where_, name_);
    return true;
  }

  const std::string& where_;
  std::map<std::string, std::string> files_;
  std::string name_;
  int depth_ = 0;
  bool in_map_ = false, has_map_ = false;
};

std::map<std::string, std::string> read_index(const fs::path& path) {
  const std::string where = path.string();
  const std::string text = read_file(path, kMaxIndexBytes);
  IndexReader reader(where);
  Json::sax_parse(text, &reader);
  return reader.take();
}

at::ScalarType scalar_type(const TensorEntry& entry, const std::string& where) {
  if (entry.dtype == "F32") return at::kFloat;
  if (entry.dtype == "BF16") return at::kBFloat16;
  if (entry.dtype == "F16") return at::kHalf;
  const bool is_float8 = entry.dtype.starts_with("F8");
  const bool is_double = entry.dtype == "F64";
  fail(ExitCode::kBadInput, "{}: its dtype {}{} is not supported (F32, BF16 and F16 are){}", where, entry.dtype,
       is_float8 ? " (FP8, a quantised format)" : "",
       is_double ? "; save it again with transformers' from_pretrained(..., dtype=\"float32\").save_pretrained"
                 : "; use the checkpoint in BF16, F16 or F32 that it was made from");
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
    fail_other_format(folder);
    fail(ExitCode::kMissingInput, "{}: no {} and no {}", folder.string(), kSingleFile, kIndexFile);
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

void Checkpoint::check(const std::string& name, const std::vector<int64_t>& shape, std::string_view dtype) const {
  const TensorEntry* entry = find(name);
  if (entry == nullptr) {
    fail(ExitCode::kBadInput, "{} is missing; expected the shape {}", where(name), shown(shape));
  }
  if (dtype.empty()) {
    scalar_type(*entry, where(name));
  } else if (entry->dtype != dtype) {
    fail(ExitCode::kBadInput, "{}: its dtype is {}; config.json asks for {}", where(name), entry->dtype, dtype);
  }
  if (entry->shape != shape) {
    fail(ExitCode::kBadInput, "{} has the shape {}; config.json asks for {}", where(name), shown(entry->shape),
         shown(shape));
  }
}

at::Tensor Checkpoint::read(const std::string& name, const std::vector<int64_t>& shape, const Slice& slice) const {
  check(name, shape);
  const TensorEntry* entry = find(name);
  const at::ScalarType type = scalar_type(*entry, name);
  at::Tensor all = whole(*entry, type);
  if (slice.index >= 0) all = all.select(0, slice.index);
  std::vector<at::Tensor> parts;
  for (const Range& range : slice.ranges) parts.push_back(all.slice(slice.dim, range.begin, range.end, slice.step));
  if (slice.step > 1) {
    for (at::Tensor& part : parts) part = part.contiguous();
  }
  if (parts.empty()) parts.push_back(all.narrow(slice.dim, 0, 0));
  at::Tensor joined = parts.size() == 1 ? parts[0] : at::cat(parts, slice.dim);
  bytes_read_ += static_cast<uint64_t>(joined.numel()) * c10::elementSize(type);
  return joined;
}

void Checkpoint::forget(const std::string& name) const {
  const TensorEntry* entry = find(name);
  if (entry != nullptr) maps_[entry->file].forget(entry->bytes);
}

}  // namespace evalmpi::model
