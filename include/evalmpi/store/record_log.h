#pragma once

// The primary record of a run: append-only files, one per leader and attempt, that survive kill -9 at any byte.
//
//   log    := frame*                      the first frame's payload is the header, a JSON object
//   frame  := length:u32 frame_crc:u32 payload_crc:u32 payload:byte[length]     all little-endian
//   payload_crc = CRC32C(payload)
//   frame_crc   = CRC32C(length payload_crc offset:u64)      offset of the frame in the file
//   header := {"format": "evalmpi-log", "version": 1, ...what the caller gave}
//
// The frame's own checksum tells a damaged length from a frame that was cut off, so only a frame that the file
// ends in is ever dropped.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::store {

// Where a record lies in its log, enough to read it again and to see that it is the same.
struct LogPosition {
  uint64_t offset = 0;  // of the frame, bytes from the start of the file
  uint32_t length = 0;  // of the payload, bytes
  uint32_t crc = 0;     // CRC32C of the payload
  bool operator==(const LogPosition&) const = default;
};

inline constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 30;

// Appends to a log that it creates. Safe from any thread.
class LogWriter {
 public:
  // Creates `path` (it must not exist; mode 0600) and writes the header, durably. "format" and "version" are added
  // to `header`, an object. FAILS: kCannotWrite if the file exists or cannot be created, kIo.
  LogWriter(const std::filesystem::path& path, const Json& header);
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;
  ~LogWriter();

  // One record, durable on return (fdatasync). FAILS: kIo with path and bytes (a full disk); the writer then refuses
  // everything, since what a failed fsync left on disk is unknown. kInternal above kMaxRecordBytes.
  LogPosition append(std::string_view payload);

  // The same without the wait; durable after the next sync().
  LogPosition append_unsynced(std::string_view payload);
  void sync();

  const std::filesystem::path& path() const { return path_; }

 private:
  LogPosition write_frame(std::string_view payload);
  void sync_locked();
  [[noreturn]] void poison(std::string_view what, int error, uint64_t bytes);

  std::mutex mutex_;
  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t end_ = 0;  // bytes in the file
  bool poisoned_ = false;
};

struct LogScan {
  Json header;                      // null if the log ends before its header does
  uint64_t records = 0;             // without the header
  uint64_t dropped_tail_bytes = 0;  // of an incomplete last frame; 0 in a log that was closed
};

// The header of a log; null if the log ends before its header does. FAILS: as scan_log.
Json read_log_header(const std::filesystem::path& path);

// Calls back for every complete record, in order; the view lives during the call only. The log may still be growing:
// what is complete at the time of the scan is seen. A tail that the file system never filled (zeros after a power
// loss) counts as incomplete.
// FAILS: kBadInput with file, byte offset and record number on damage and on a file that is no log; kMissingInput, kIo.
using RecordCallback = std::function<void(std::string_view payload, const LogPosition& position)>;
LogScan scan_log(const std::filesystem::path& path, const RecordCallback& on_record);

// The payload at `position`, checked again. FAILS: kBadInput when it is not there any more, kMissingInput, kIo.
std::string read_record(const std::filesystem::path& path, const LogPosition& position);

// A log's file name: "rank<leader>-attempt<k>-<token>.log".
struct LogName {
  int leader = 0;
  int attempt = 0;
  std::string token;  // lower-case letters and digits
  std::string file_name() const;
};

// nullopt for other names.
std::optional<LogName> parse_log_name(std::string_view name);

// The logs in `directory` ordered by (attempt, leader, token); other files are left alone. Empty when the directory
// does not exist. FAILS: kIo.
std::vector<LogName> list_logs(const std::filesystem::path& directory);

}  // namespace evalmpi::store
