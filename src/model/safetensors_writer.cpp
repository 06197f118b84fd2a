#include "evalmpi/model/safetensors_writer.h"

#include <map>

#include "evalmpi/base/json.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kAlignment = 8;

std::string header_of(std::span<const OutputTensor> tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  for (const OutputTensor& tensor : tensors) {
    const uint64_t end = offset + tensor.size_bytes();
    header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(text.size() >> shift & 0xff);
  return bytes + text;
}

}  // namespace

uint64_t element_bytes(std::string_view dtype) {
  static const std::map<std::string_view, uint64_t> kBytes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1},
      {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},     {"U32", 4},
      {"F32", 4},  {"F64", 8}, {"I64", 8}, {"U64", 8},     {"C64", 8}};
  const auto found = kBytes.find(dtype);
  return found == kBytes.end() ? 0 : found->second;
}

uint64_t OutputTensor::size_bytes() const {
  uint64_t bytes = element_bytes(dtype);
  EVALMPI_CHECK(bytes > 0);
  for (const int64_t size : shape) EVALMPI_CHECK(!__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes));
  return bytes;
}

SafetensorsWriter::SafetensorsWriter(fs::path path, std::span<const OutputTensor> tensors)
    : path_(std::move(path)), temporary_(temporary_beside(path_)) {
  if (fs::exists(path_)) fail(ExitCode::kCannotWrite, "{}: exists already; name another folder", path_.string());
  file_ = Descriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file_.get() < 0) {
    const int error = errno;
    fail(exit_code_of(error), "{}: cannot create: {}", path_.string(), std::strerror(error));
  }
  try {
    const std::string header = header_of(tensors);
    missing_bytes_ = header.size();
    for (const OutputTensor& tensor : tensors) missing_bytes_ += tensor.size_bytes();
    append(header);
  } catch (...) {
    ::unlink(temporary_.c_str());
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_.get() >= 0) ::unlink(temporary_.c_str());
}

void SafetensorsWriter::append(std::string_view bytes) {
  EVALMPI_CHECK(bytes.size() <= missing_bytes_);
  if (const int error = write_fully(file_.get(), bytes)) {
    fail(ExitCode::kIo, "{}: cannot write: {}", path_.string(), std::strerror(error));
  }
  missing_bytes_ -= bytes.size();
}

void SafetensorsWriter::finish() {
  EVALMPI_CHECK(missing_bytes_ == 0);
  if (::fsync(file_.get()) != 0) fail(ExitCode::kIo, "{}: cannot fsync: {}", path_.string(), std::strerror(errno));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    fail(ExitCode::kCannotWrite, "{}: cannot rename into place: {}", path_.string(), std::strerror(errno));
  }
  file_ = Descriptor(-1);
  sync_directory(path_.parent_path());
}

ShardedNames cut_into_files(std::span<const OutputTensor> tensors, uint64_t max_shard_bytes) {
  ShardedNames cut;
  std::vector<size_t> current;
  uint64_t current_bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uint64_t bytes = tensors[i].size_bytes();
    if (bytes > max_shard_bytes) {
      cut.tensors.push_back({i});
      continue;
    }
    if (current_bytes + bytes > max_shard_bytes) {
      cut.tensors.push_back(std::exchange(current, {}));
      current_bytes = 0;
    }
    current.push_back(i);
    current_bytes += bytes;
  }
  if (!current.empty()) cut.tensors.push_back(std::move(current));
  const size_t count = cut.tensors.size();
  for (size_t file = 0; file < count; ++file) {
    cut.files.push_back(count == 1 ? "model.safetensors"
                                   : fmt::format("model-{:05}-of-{:05}.safetensors", file + 1, count));
  }
  return cut;
}

std::string ShardedNames::index_json(std::span<const OutputTensor> all) const {
  if (files.size() <= 1) return "";
  uint64_t total_bytes = 0, total_parameters = 0;
  std::map<std::string, std::string> file_of;
  for (size_t file = 0; file < files.size(); ++file) {
    for (const size_t i : tensors[file]) {
      file_of[all[i].name] = files[file];
      total_bytes += all[i].size_bytes();
      total_parameters += all[i].size_bytes() / element_bytes(all[i].dtype);
    }
  }
  const Json metadata = {{"total_parameters", total_parameters}, {"total_size", total_bytes}};
  return Json({{"metadata", metadata}, {"weight_map", file_of}}).dump(2) + "\n";
}

}  // namespace evalmpi::model
