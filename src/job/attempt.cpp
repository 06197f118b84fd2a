#include "evalmpi/job/attempt.h"

#include <fmt/chrono.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <mutex>
#include <optional>
#include <random>
#include <thread>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/store/status_file.h"

namespace evalmpi::job {
namespace fs = std::filesystem;
namespace {

constexpr const char* kManifestFormat = "evalmpi-manifest";
constexpr int kManifestVersion = 1;
constexpr const char* kTokenPrefix = ".token-";
constexpr std::chrono::milliseconds kLookAgain{50};

std::string random_hex(int words) {
  std::random_device random;
  std::string hex;
  for (int i = 0; i < words; ++i) hex += fmt::format("{:08x}", random());
  return hex;
}

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string utc_now() { return fmt::format("{:%FT%TZ}", fmt::gmtime(std::time(nullptr))); }

// What utc_now() wrote. FAILS: kBadInput naming `path`.
int64_t unix_seconds_of(const Json& time, const fs::path& path) {
  std::tm parts{};
  const std::string text = time.is_string() ? time.get<std::string>() : time.dump();
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end == nullptr || *end != '\0') fail(ExitCode::kBadInput, "{}: created: no time: {}", path.string(), text);
  return ::timegm(&parts);
}

std::string token_path(const AttemptIdentity& attempt) {
  return (attempt.directory / (kTokenPrefix + attempt.token)).string();
}

fs::path manifest_path(const fs::path& directory) { return directory / "manifest.json"; }

Json make_manifest(const AttemptOptions& options) {
  return {{"format", kManifestFormat},
          {"version", kManifestVersion},
          {"run_id", random_hex(2)},
          {"created", utc_now()},
          {"must_match", options.must_match},
          {"may_differ", options.may_differ},
          {"working_directory", options.working_directory}};
}

std::string shown(const Json& object, const std::string& name) {
  constexpr size_t kMaxShown = 200;
  const auto field = object.find(name);
  if (field == object.end()) return "(none)";
  std::string text = field->dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return text;
}

// FAILS: kMismatch naming every option whose value is another than that of the first attempt.
void require_match(const fs::path& directory, const Json& before, const Json& now) {
  std::vector<std::string> names;
  for (const Json* object : {&before, &now}) {
    for (const auto& [name, value] : object->items()) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  std::string changes;
  for (const std::string& name : names) {
    if (before.value(name, Json()) == now.value(name, Json()) && before.contains(name) == now.contains(name)) continue;
    changes +=
        fmt::format("{}{}: was {}, now {}", changes.empty() ? "" : "; ", name, shown(before, name), shown(now, name));
  }
  if (changes.empty()) return;
  fail(ExitCode::kMismatch, "{}: holds another run ({}); choose another output directory or the run's own options",
       directory.string(), changes);
}

bool has_records(const fs::path& directory) {
  for (const store::LogName& log : store::list_logs(directory / "log")) {
    if (store::scan_log(directory / "log" / log.file_name(), [](std::string_view, const store::LogPosition&) {
        }).records > 0)
      return true;
  }
  return false;
}

// What attempts that were killed have left half done.
void remove_leftovers(const fs::path& directory) {
  remove_temporaries(directory);
  remove_temporaries(directory / "log");
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->path().filename().native().starts_with(kTokenPrefix)) fs::remove(entry->path(), ignored);
  }
}

// Attempts that left a trace before this one.
int count_attempts(const fs::path& directory) {
  int attempts = 0;
  for (const store::LogName& log : store::list_logs(directory / "log")) attempts = std::max(attempts, log.attempt + 1);
  if (const std::optional<Json> status = store::read_status(directory)) {
    const Json last = status->value("attempt", Json());
    if (last.is_number_integer() && last.get<int64_t>() >= 0 && last.get<int64_t>() < 100'000'000) {
      attempts = std::max(attempts, last.get<int>() + 1);
    }
  }
  return attempts;
}

// A thread that ends the job must not find its word replaced by one that another thread was about to write.
std::mutex status_mutex;

bool is_of(const Json& status, const AttemptIdentity& attempt) {
  return status.value("run_id", Json()) == Json(attempt.run_id) &&
         status.value("attempt", Json()) == Json(attempt.number);
}

bool is_of_earlier_attempt(const Json& status, const AttemptIdentity& attempt) {
  const Json number = status.value("attempt", Json());
  return status.value("run_id", Json()) == Json(attempt.run_id) && number.is_number_integer() &&
         number.get<int64_t>() < attempt.number;
}

bool is_ending(const Json& status) {
  const Json state = status.value("state", Json());
  return state != "starting" && state != "running";
}

}  // namespace

std::optional<Json> read_manifest(const fs::path& directory) {
  const fs::path path = manifest_path(directory);
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  Json manifest = read_json_file(path);
  const bool is_ours = manifest.is_object() && manifest.value("format", Json()) == Json(kManifestFormat) &&
                       manifest.value("version", Json()) == Json(kManifestVersion) &&
                       manifest.value("run_id", Json()).is_string() && manifest.value("must_match", Json()).is_object();
  if (!is_ours) fail(ExitCode::kBadInput, "{}: no manifest of version {}", path.string(), kManifestVersion);
  return manifest;
}

fs::path AttemptIdentity::log_path(int leader) const {
  return log_directory() / store::LogName{leader, number, token}.file_name();
}

Json AttemptIdentity::to_json() const {
  return {{"directory", directory.string()},
          {"run_id", run_id},
          {"number", number},
          {"token", token},
          {"created", created_unix_seconds}};
}

AttemptIdentity AttemptIdentity::from_json(const Json& json) {
  return {json.at("directory").get<std::string>(), json.at("run_id"), json.at("number"), json.at("token"),
          json.at("created")};
}

store::LogWriter open_log(const AttemptIdentity& attempt, int leader, const Json& details) {
  Json header{{"run_id", attempt.run_id},
              {"attempt", attempt.number},
              {"rank", leader},
              {"host", host_name()},
              {"started", utc_now()}};
  header.update(details);
  return store::LogWriter(attempt.log_path(leader), header);
}

Attempt Attempt::open(const AttemptOptions& options) {
  EVALMPI_CHECK(options.must_match.is_object() && options.may_differ.is_object());
  AttemptIdentity identity;
  identity.directory = fs::absolute(options.directory).lexically_normal();
  store::prepare_output_directory(identity.directory);
  const std::optional<Json> earlier = read_manifest(identity.directory);
  Json manifest = earlier ? *earlier : make_manifest(options);
  identity.run_id = manifest["run_id"];
  store::OutputLock lock = store::OutputLock::acquire(identity.directory, {{"run", identity.run_id}}, options.patience);
  remove_leftovers(identity.directory);
  // While we waited for the lock another run may have begun and ended here.
  const std::optional<Json> now = read_manifest(identity.directory);
  if (now && ((*now)["must_match"] == options.must_match || has_records(identity.directory))) {
    manifest = *now;
    identity.run_id = manifest["run_id"];
    require_match(identity.directory, manifest["must_match"], options.must_match);
    manifest["may_differ"] = options.may_differ;
    manifest["working_directory"] = options.working_directory;
  } else {
    // A first attempt, or one after attempts that came to nothing: they bind nobody.
    manifest = make_manifest(options);
    manifest["run_id"] = identity.run_id;
  }
  if (manifest != now) {
    write_file_atomically(manifest_path(identity.directory),
                          manifest.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  store::prepare_output_directory(identity.log_directory());
  identity.number = count_attempts(identity.directory);
  identity.token = random_hex(1);
  identity.created_unix_seconds = unix_seconds_of(manifest.value("created", Json()), manifest_path(identity.directory));
  return Attempt(std::move(identity), std::move(manifest), std::move(lock));
}

std::vector<Attempt::EarlierLog> Attempt::read_logs(const EarlierRecord& on_record) const {
  std::vector<EarlierLog> logs;
  for (const store::LogName& log : store::list_logs(identity_.log_directory())) {
    if (log.token == identity_.token) continue;
    const std::string name = log.file_name();
    const fs::path path = identity_.log_directory() / name;
    const Json header = store::read_log_header(path);
    logs.push_back({name, store::scan_log(path, [&](std::string_view payload, const store::LogPosition& position) {
                      on_record(name, header, payload, position);
                    })});
  }
  return logs;
}

bool Attempt::write_status(std::string_view state, const Json& details) const {
  const std::lock_guard lock(status_mutex);
  if (state != "complete") {
    const std::optional<Json> present = store::read_status(identity_.directory);
    if (present && is_of(*present, identity_) && is_ending(*present)) return false;
  }
  Json status{{"state", state},
              {"run_id", identity_.run_id},
              {"attempt", identity_.number},
              {"host", host_name()},
              {"pid", static_cast<int64_t>(::getpid())}};
  status.update(details);
  store::write_status(identity_.directory, std::move(status));
  return true;
}

bool note_ending(const AttemptIdentity& attempt, ExitCode code, const std::string& error) {
  const std::lock_guard lock(status_mutex);
  std::optional<Json> status = store::read_status(attempt.directory);
  if (!status || is_of_earlier_attempt(*status, attempt)) {
    status = Json{{"run_id", attempt.run_id}, {"attempt", attempt.number}};
  }
  if (!is_of(*status, attempt) || (status->contains("state") && is_ending(*status))) return false;
  (*status)["state"] = code == ExitCode::kStoppedEarly ? "stopped" : "failed";
  (*status)["exit_code"] = static_cast<int>(code);
  (*status)["error"] = error;
  store::write_status(attempt.directory, std::move(*status));
  return true;
}

void place_token_file(const AttemptIdentity& attempt) { write_file_atomically(token_path(attempt), attempt.run_id); }

void check_token_file(const AttemptIdentity& attempt, int rank, std::chrono::milliseconds patience) {
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    try {
      if (read_file(token_path(attempt), 1 << 10) == attempt.run_id) return;
    } catch (const Error& error) {
      if (error.code() != ExitCode::kMissingInput) throw;
    }
    if (std::chrono::steady_clock::now() - start >= patience) break;
    std::this_thread::sleep_for(kLookAgain);
  }
  fail(ExitCode::kCannotWrite,
       "rank {} on {} does not see what rank 0 wrote to {}; the output directory must be on a file system that all "
       "hosts share",
       rank, host_name(), attempt.directory.string());
}

void remove_token_file(const AttemptIdentity& attempt) noexcept {
  std::error_code error;
  fs::remove(token_path(attempt), error);
}

}  // namespace evalmpi::job
