#include "evalmpi/store/record_log.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "evalmpi/base/descriptor.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/hash.h"

namespace evalmpi::store {
namespace fs = std::filesystem;
namespace {

constexpr size_t kFrameHeadBytes = 12;
constexpr uint64_t kBlockBytes = 512;  // no file system leaves a smaller piece of a file unwritten
constexpr std::string_view kFormat = "evalmpi-log";
constexpr int kVersion = 1;

template <typename Integer>
void put(char* to, Integer value) {
  for (size_t i = 0; i < sizeof(Integer); ++i) to[i] = static_cast<char>(value >> (8 * i));
}

uint32_t get_u32(const char* from) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= uint32_t{static_cast<unsigned char>(from[i])} << (8 * i);
  return value;
}

uint32_t frame_crc(uint32_t length, uint32_t payload_crc, uint64_t offset) {
  std::array<char, 16> bytes;
  put(bytes.data(), length);
  put(bytes.data() + 4, payload_crc);
  put(bytes.data() + 8, offset);
  return crc32c(std::string_view(bytes.data(), bytes.size()));
}

void put_frame_head(char* to, uint32_t length, uint32_t payload_crc, uint64_t offset) {
  put(to, length);
  put(to + 4, frame_crc(length, payload_crc, offset));
  put(to + 8, payload_crc);
}

// length and CRC if the twelve bytes are the head of a frame at `offset`.
std::optional<LogPosition> parse_frame_head(const char* bytes, uint64_t offset) {
  const LogPosition position{offset, get_u32(bytes), get_u32(bytes + 8)};
  if (get_u32(bytes + 4) != frame_crc(position.length, position.crc, offset)) return std::nullopt;
  return position;
}

Descriptor open_log_file(const fs::path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (file.get() >= 0) return file;
  const ExitCode code = errno == ENOENT || errno == ENOTDIR ? ExitCode::kMissingInput : ExitCode::kIo;
  fail(code, "{}: cannot open: {}", path.string(), std::strerror(errno));
}

uint64_t size_of(int fd, const fs::path& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail(ExitCode::kIo, "{}: {}", path.string(), std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(ExitCode::kBadInput, "{}: not a regular file", path.string());
  return static_cast<uint64_t>(status.st_size);
}

// Up to `size` bytes at `offset`; fewer only where the file ends.
size_t read_at(int fd, char* to, size_t size, uint64_t offset, const fs::path& path) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, to + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ExitCode::kIo, "{}: cannot read: {}", path.string(), std::strerror(errno));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

// A file read front to back through a window that always holds the frame at hand whole.
class Window {
 public:
  Window(int fd, uint64_t size_bytes, const fs::path& path) : fd_(fd), size_bytes_(size_bytes), path_(path) {}

  // Bytes [offset, offset + length) as far as the file had them when the scan began.
  std::string_view view(uint64_t offset, uint64_t length) {
    const uint64_t end = std::min(offset + length, size_bytes_);
    if (offset < start_ || end > start_ + bytes_.size()) load(offset, end);
    const uint64_t loaded_end = start_ + bytes_.size();
    if (offset >= loaded_end) return {};
    return std::string_view(bytes_).substr(offset - start_, std::min(end, loaded_end) - offset);
  }
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  void load(uint64_t offset, uint64_t end) {
    constexpr uint64_t kReadBytes = uint64_t{1} << 20;
    bytes_.resize(std::min(std::max(end - offset, kReadBytes), size_bytes_ - offset));
    start_ = offset;
    bytes_.resize(read_at(fd_, bytes_.data(), bytes_.size(), offset, path_));
  }

  int fd_;
  uint64_t size_bytes_;
  const fs::path& path_;
  std::string bytes_;
  uint64_t start_ = 0;
};

// Whether the file from `from` on ends in blocks that were never written: after a power loss the file's length can
// be ahead of its content.
bool ends_unwritten(Window& window, uint64_t from) {
  uint64_t zeros_from = window.size_bytes();
  constexpr uint64_t kStep = uint64_t{1} << 16;
  while (zeros_from > from) {
    const uint64_t begin = std::max(from, zeros_from - std::min(zeros_from, kStep));
    const std::string_view piece = window.view(begin, zeros_from - begin);
    const size_t last = piece.find_last_not_of('\0');
    if (last != std::string_view::npos) {
      zeros_from = begin + last + 1;
      break;
    }
    zeros_from = begin;
  }
  const uint64_t first_block = (zeros_from + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  return zeros_from == from || first_block < window.size_bytes();
}

enum class FrameState { kComplete, kCutOff, kDamaged };

struct Frame {
  FrameState state;
  LogPosition position;
  std::string_view payload;
};

Frame read_frame(Window& window, uint64_t offset) {
  const std::string_view head = window.view(offset, kFrameHeadBytes);
  if (head.size() < kFrameHeadBytes) return {FrameState::kCutOff, {offset}, {}};
  const std::optional<LogPosition> position = parse_frame_head(head.data(), offset);
  if (!position || position->length > kMaxRecordBytes) {
    const FrameState state = ends_unwritten(window, offset) ? FrameState::kCutOff : FrameState::kDamaged;
    return {state, {offset}, {}};
  }
  const std::string_view frame = window.view(offset, kFrameHeadBytes + position->length);
  if (frame.size() < kFrameHeadBytes + position->length) return {FrameState::kCutOff, *position, {}};
  const std::string_view payload = frame.substr(kFrameHeadBytes);
  if (crc32c(payload) == position->crc) return {FrameState::kComplete, *position, payload};
  const bool is_last = offset + frame.size() == window.size_bytes();
  const FrameState state = is_last && ends_unwritten(window, offset) ? FrameState::kCutOff : FrameState::kDamaged;
  return {state, *position, {}};
}

[[noreturn]] void fail_damaged(const fs::path& path, uint64_t offset, uint64_t record) {
  fail(ExitCode::kBadInput,
       "{}: damaged at byte {} (record {}): its checksum does not match; move the file away and run again: what it "
       "holds is then computed anew",
       path.string(), offset, record);
}

Json parse_header(std::string_view payload, const fs::path& path) {
  Json header = parse_json(payload, path.string());
  const bool is_log = header.is_object() && header.value("format", Json()) == Json(kFormat);
  if (!is_log) fail(ExitCode::kBadInput, "{}: no record log", path.string());
  const Json version = header.value("version", Json());
  if (version != Json(kVersion)) {
    fail(ExitCode::kBadInput, "{}: log version {}, this program reads {}", path.string(), version.dump(), kVersion);
  }
  return header;
}

}  // namespace

LogWriter::LogWriter(const fs::path& path, const Json& header) : path_(path) {
  EVALMPI_CHECK(header.is_object());
  Json full{{"format", kFormat}, {"version", kVersion}};
  full.update(header);
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600));
  if (file.get() < 0) fail(exit_code_of(errno), "{}: cannot create: {}", path.string(), std::strerror(errno));
  fd_ = file.get();
  append(full.dump());
  sync_directory(path.parent_path());
  file.release();
}

LogWriter::~LogWriter() {
  if (fd_ >= 0) ::close(fd_);
}

LogPosition LogWriter::append(std::string_view payload) {
  const std::lock_guard lock(mutex_);
  const LogPosition position = write_frame(payload);
  sync_locked();
  return position;
}

LogPosition LogWriter::append_unsynced(std::string_view payload) {
  const std::lock_guard lock(mutex_);
  return write_frame(payload);
}

void LogWriter::sync() {
  const std::lock_guard lock(mutex_);
  sync_locked();
}

LogPosition LogWriter::write_frame(std::string_view payload) {
  EVALMPI_CHECK(payload.size() <= kMaxRecordBytes);
  if (poisoned_) fail(ExitCode::kIo, "{}: not written: an earlier write to it failed", path_.string());
  const LogPosition position{end_, static_cast<uint32_t>(payload.size()), crc32c(payload)};
  std::string frame(kFrameHeadBytes + payload.size(), '\0');
  put_frame_head(frame.data(), position.length, position.crc, position.offset);
  std::copy(payload.begin(), payload.end(), frame.begin() + kFrameHeadBytes);
  if (const int error = write_fully(fd_, frame)) poison("write", error, frame.size());
  end_ += frame.size();
  return position;
}

void LogWriter::sync_locked() {
  if (poisoned_) fail(ExitCode::kIo, "{}: not durable: an earlier write to it failed", path_.string());
  if (::fdatasync(fd_) != 0) poison("fsync", errno, end_);
}

void LogWriter::poison(std::string_view what, int error, uint64_t bytes) {
  poisoned_ = true;
  fail_to_write(path_, what, bytes, error);
}

Json read_log_header(const fs::path& path) {
  const Descriptor file = open_log_file(path);
  Window window(file.get(), size_of(file.get(), path), path);
  const Frame frame = read_frame(window, 0);
  if (frame.state == FrameState::kDamaged) fail_damaged(path, 0, 0);
  return frame.state == FrameState::kComplete ? parse_header(frame.payload, path) : Json();
}

LogScan scan_log(const fs::path& path, const RecordCallback& on_record) {
  const Descriptor file = open_log_file(path);
  Window window(file.get(), size_of(file.get(), path), path);
  LogScan scan;
  uint64_t offset = 0;
  for (uint64_t frames = 0; offset < window.size_bytes(); ++frames) {
    const Frame frame = read_frame(window, offset);
    if (frame.state == FrameState::kDamaged) fail_damaged(path, offset, frames);
    if (frame.state == FrameState::kCutOff) {
      scan.dropped_tail_bytes = window.size_bytes() - offset;
      break;
    }
    offset += kFrameHeadBytes + frame.position.length;
    if (frames == 0) {
      scan.header = parse_header(frame.payload, path);
    } else {
      scan.records += 1;
      on_record(frame.payload, frame.position);
    }
  }
  return scan;
}

std::string read_record(const fs::path& path, const LogPosition& position) {
  if (position.length > kMaxRecordBytes) {
    fail(ExitCode::kBadInput, "{}: a record of {} bytes is longer than any", path.string(), position.length);
  }
  const Descriptor file = open_log_file(path);
  std::string frame(kFrameHeadBytes + position.length, '\0');
  const size_t got = read_at(file.get(), frame.data(), frame.size(), position.offset, path);
  const bool is_whole = got == frame.size();
  if (!is_whole || parse_frame_head(frame.data(), position.offset) != position ||
      crc32c(std::string_view(frame).substr(kFrameHeadBytes)) != position.crc) {
    fail(ExitCode::kBadInput, "{}: the record of {} bytes at byte {} is gone or damaged", path.string(),
         position.length, position.offset);
  }
  frame.erase(0, kFrameHeadBytes);
  return frame;
}

std::string LogName::file_name() const { return fmt::format("rank{}-attempt{}-{}.log", leader, attempt, token); }

namespace {

// Takes a decimal number of up to nine digits off the front of `text`.
std::optional<int> take_number(std::string_view& text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > 9) return std::nullopt;
  int number = 0;
  std::from_chars(text.data(), text.data() + digits, number);
  text.remove_prefix(digits);
  return number;
}

bool take_word(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

}  // namespace

std::optional<LogName> parse_log_name(std::string_view name) {
  LogName parsed;
  if (!name.ends_with(".log") || !take_word(name, "rank")) return std::nullopt;
  name.remove_suffix(4);
  const std::optional<int> leader = take_number(name);
  if (!leader || !take_word(name, "-attempt")) return std::nullopt;
  const std::optional<int> attempt = take_number(name);
  if (!attempt || !take_word(name, "-")) return std::nullopt;
  const bool is_token =
      !name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == std::string_view::npos;
  if (!is_token) return std::nullopt;
  return LogName{*leader, *attempt, std::string(name)};
}

std::vector<LogName> list_logs(const fs::path& directory) {
  std::vector<LogName> names;
  std::error_code error;
  if (!fs::exists(directory, error)) return names;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    const std::string file_name = entry->path().filename().string();
    std::optional<LogName> name = parse_log_name(file_name);
    if (name && name->file_name() == file_name) names.push_back(std::move(*name));
  }
  if (error) fail(ExitCode::kIo, "{}: cannot list: {}", directory.string(), error.message());
  std::sort(names.begin(), names.end(), [](const LogName& a, const LogName& b) {
    return std::tie(a.attempt, a.leader, a.token) < std::tie(b.attempt, b.leader, b.token);
  });
  return names;
}

}  // namespace evalmpi::store
