#pragma once

// One start of a job in its output directory: the lock, what earlier attempts left, and the names of this one.
//
//   manifest.json := {"format": "evalmpi-manifest", "version": 1, "run_id": hex, "created": time,
//                     "must_match": {option: value, ...}, "may_differ": {option: value, ...},
//                     "working_directory": path}      the last two are the last attempt's
//   log/          the record logs of all attempts      status.json   see store/status_file.h
//   output.lock   while a run is at work

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"
#include "evalmpi/store/output_lock.h"
#include "evalmpi/store/record_log.h"

namespace evalmpi::job {

// What every rank knows of the attempt; rank 0 makes it, the others get it by broadcast.
struct AttemptIdentity {
  std::filesystem::path directory;
  std::string run_id;                // of all attempts
  int number = 0;                    // earlier attempts
  std::string token;                 // random, this attempt's own
  int64_t created_unix_seconds = 0;  // of the first attempt

  std::filesystem::path log_directory() const { return directory / "log"; }
  std::filesystem::path log_path(int leader) const;  // of this attempt
  Json to_json() const;
  static AttemptIdentity from_json(const Json& json);
};

// This attempt's log of one leader. The header names run, attempt, rank and host; `details` adds to it.
// FAILS: as store::LogWriter.
store::LogWriter open_log(const AttemptIdentity& attempt, int leader, const Json& details);

struct AttemptOptions {
  std::filesystem::path directory;
  Json must_match = Json::object();  // options that a resume may not change
  Json may_differ = Json::object();  // options that it may
  store::LockPatience patience;
  // What relative paths among them are relative to.
  std::string working_directory = std::filesystem::current_path().string();
};

// The manifest of a run's directory; nothing if there is none. FAILS: kBadInput naming it, kIo.
std::optional<Json> read_manifest(const std::filesystem::path& directory);

// On rank 0 only.
class Attempt {
 public:
  // Makes the directory, takes its lock, writes the manifest or compares with the one that is there.
  // FAILS: kCannotWrite (in use, a file, unwritable), kMismatch listing every changed option with both values,
  // kBadInput (a damaged manifest), kIo.
  static Attempt open(const AttemptOptions& options);

  const AttemptIdentity& identity() const { return identity_; }
  bool is_resume() const { return identity_.number > 0; }
  const Json& manifest() const { return manifest_; }
  store::OutputLock& lock() { return lock_; }

  // Every record of the earlier attempts' logs, in the order of store::list_logs.
  // FAILS: kBadInput naming the damaged log, kIo.
  struct EarlierLog {
    std::string name;
    store::LogScan scan;
  };
  using EarlierRecord = std::function<void(const std::string& log_name, const Json& header, std::string_view payload,
                                           const store::LogPosition& position)>;
  std::vector<EarlierLog> read_logs(const EarlierRecord& on_record) const;

  // Writes status.json: state, run_id, attempt, host, process and what `details` adds (layout, progress, error).
  // False if the attempt's ending was noted already, perhaps by another rank: the first one stays, unless all is
  // complete.
  bool write_status(std::string_view state, const Json& details = Json::object()) const;

 private:
  Attempt(AttemptIdentity identity, Json manifest, store::OutputLock lock)
      : identity_(std::move(identity)), manifest_(std::move(manifest)), lock_(std::move(lock)) {}

  AttemptIdentity identity_;
  Json manifest_;
  store::OutputLock lock_;
};

// For a thread or a rank that must speak for a silent one: status.json now says that the attempt is stopped
// (kStoppedEarly) or failed (any other code), with exit_code and error; what else stands there of this attempt stays.
// An ending that is there already is the first one and stays, and so does the word of a later attempt. False if nothing
// was written. FAILS: kIo, kCannotWrite, kBadInput.
bool note_ending(const AttemptIdentity& attempt, ExitCode code, const std::string& error);

// Every leader proves that it writes where rank 0 does. Rank 0 places the file, all wait for it (a barrier), every
// leader looks, all wait, rank 0 removes it.
void place_token_file(const AttemptIdentity& attempt);
// Looks for up to `patience` (network file systems show new files late).
// FAILS: kCannotWrite naming rank, host and directory.
void check_token_file(const AttemptIdentity& attempt, int rank,
                      std::chrono::milliseconds patience = std::chrono::milliseconds(5'000));
void remove_token_file(const AttemptIdentity& attempt) noexcept;

}  // namespace evalmpi::job
