#include "evalmpi/comm/together.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "evalmpi/device/cpu.h"

namespace evalmpi::comm {
namespace {

// Messages quote file names, which may hold any bytes.
std::string encode(const Failure& failure) {
  return nlohmann::json{{"code", static_cast<int>(failure.code)},
                        {"message", failure.message},
                        {"is_shared", failure.is_shared},
                        {"host", device::host_name()}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Further lines are advice for Python programs.
std::string first_line(const c10::Error& error) {
  const std::string words = error.what_without_backtrace();
  return words.substr(0, words.find('\n'));
}

}  // namespace

Failure current_failure() noexcept {
  try {
    throw;
  } catch (const SharedError& error) {
    return {error.code(), error.what(), true};
  } catch (const Error& error) {
    return {error.code(), error.what(), false};
  } catch (const std::bad_alloc&) {
    return {ExitCode::kUnavailable, "out of memory", false};
  } catch (const c10::OutOfMemoryError& error) {
    return {ExitCode::kUnavailable, "out of memory: " + first_line(error), false};
  } catch (const c10::AcceleratorError& error) {
    return {ExitCode::kUnavailable,
            first_line(error) +
                " (a GPU or its driver failed; nvidia-smi -q and the kernel's log say more; what is "
                "finished is saved)",
            false};
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    if (message.find("can't allocate memory") == std::string::npos) return {ExitCode::kInternal, message, false};
    return {ExitCode::kUnavailable, "out of memory", false};
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) return {ExitCode::kInternal, error.what(), false};
    return {ExitCode::kUnavailable,
            "no thread can be started: is the memory or the number of threads limited (ulimit -v, -u)?", false};
  } catch (const std::exception& error) {
    return {ExitCode::kInternal, error.what(), false};
  } catch (...) {
    return {ExitCode::kInternal, "an exception of an unknown kind", false};
  }
}

void agree(Communicator& group, std::string_view phase, const std::optional<Failure>& mine) {
  const std::vector<std::string> all = group.all_gather(mine ? encode(*mine) : "");
  for (int rank = 0; rank < group.size(); ++rank) {
    if (all[rank].empty()) {
      continue;
    }
    const nlohmann::json failure = nlohmann::json::parse(all[rank]);
    std::string message = failure.at("message");
    if (!failure.at("is_shared").get<bool>()) {
      const std::string where =
          group.size() == 1 ? "" : fmt::format("rank {} on {}: ", rank, failure.at("host").get<std::string>());
      message = fmt::format("{}: {}{}", phase, where, message);
    }
    throw SharedError(static_cast<ExitCode>(failure.at("code").get<int>()), message, group.rank() == 0);
  }
}

}  // namespace evalmpi::comm
