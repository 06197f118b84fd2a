#pragma once

// Messages for people, on stderr, one line each; stdout belongs to results.

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace evalmpi::log {

enum class Level { kDebug, kInfo, kWarning, kError };

// Lines below `level` are dropped. EVALMPI_LOG_LEVEL (debug, info, warning, error) sets the start value.
void set_level(Level level);

// Every later line starts with "[rank R] "; -1 (the start value) leaves it out.
void set_rank(int rank);

// Writes one line. Safe from any thread; not from a signal handler.
void write(Level level, std::string_view message);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace evalmpi::log
