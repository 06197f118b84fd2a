#include "evalmpi/store/status_file.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"

namespace evalmpi::store {
namespace fs = std::filesystem;
namespace {

constexpr std::array<std::string_view, 5> kStates{"starting", "running", "stopped", "failed", "complete"};
constexpr const char* kFileName = "status.json";
constexpr uint64_t kMaxBytes = 16 << 20;

bool has_known_state(const Json& status) {
  if (!status.is_object() || !status.contains("state") || !status["state"].is_string()) return false;
  return std::find(kStates.begin(), kStates.end(), status["state"].get_ref<const std::string&>()) != kStates.end();
}

}  // namespace

void write_status(const fs::path& directory, Json status) {
  EVALMPI_CHECK(has_known_state(status));
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  status["time"] = fmt::format("{:%FT%TZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(now)));
  write_file_atomically(directory / kFileName, status.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::optional<Json> read_status(const fs::path& directory) {
  const fs::path path = directory / kFileName;
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  Json status = parse_json(read_file(path, kMaxBytes), path.string());
  if (!has_known_state(status)) fail(ExitCode::kBadInput, "{}: no known \"state\"", path.string());
  return status;
}

bool is_complete(const fs::path& directory) {
  const std::optional<Json> status = read_status(directory);
  return status && (*status)["state"] == "complete";
}

}  // namespace evalmpi::store
