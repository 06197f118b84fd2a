#include "evalmpi/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdlib>
#include <memory>

namespace evalmpi::log {
namespace {

std::atomic<int> current_rank{-1};

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarning: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("evalmpi", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("evalmpi: %v");
    made->flush_on(spdlog::level::debug);
    const char* wanted = std::getenv("EVALMPI_LOG_LEVEL");
    made->set_level(wanted ? spdlog::level::from_str(wanted) : spdlog::level::info);
    return made;
  }();
  return *instance;
}

}  // namespace

void set_level(Level level) { logger().set_level(to_spdlog(level)); }

void set_rank(int rank) { current_rank = rank; }

void write(Level level, std::string_view message) {
  const int rank = current_rank;
  const std::string place = rank < 0 ? "" : fmt::format("[rank {}] ", rank);
  const char* kind = level == Level::kError ? "error: " : level == Level::kWarning ? "warning: " : "";
  logger().log(to_spdlog(level), "{}{}{}", place, kind, message);
}

}  // namespace evalmpi::log
