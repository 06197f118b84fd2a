#include "within_memory.h"

#include <ATen/DeviceAccelerator.h>
#include <c10/util/Exception.h>

#include <optional>
#include <string>

#include "evalmpi/base/error.h"
#include "evalmpi/base/log.h"

namespace evalmpi::engine {
namespace {

// What the device said, or nothing when it worked.
std::optional<std::string> try_attempt(const std::function<void(int64_t)>& attempt, int64_t rows) {
  try {
    attempt(rows);
    return std::nullopt;
  } catch (const c10::OutOfMemoryError& error) {
    const std::string words = error.what_without_backtrace();
    return words.substr(0, words.find('\n'));
  }
}

}  // namespace

int64_t compute_within_memory(int64_t rows, const MemoryRule& rule, const std::function<void(int64_t)>& attempt,
                              const std::function<void()>& release) {
  std::optional<std::string> shortage = try_attempt(attempt, rows);
  if (!shortage) return rows;
  if (rule.may_repeat) {
    log::warning("no memory for a step of {} rows; trying once more with the caches emptied: {}", rows, *shortage);
    release();
    shortage = try_attempt(attempt, rows);
    if (!shortage) return rows;
  }
  if (rule.may_repeat && rule.may_split) {
    for (int64_t fewer = rows / 2; fewer >= kLeastSplitRows; fewer /= 2) {
      log::warning("no memory for a step of {} rows; splitting it: {} rows", rows, fewer);
      release();
      shortage = try_attempt(attempt, fewer);
      if (!shortage) return fewer;
    }
  }
  fail(ExitCode::kUnavailable, "out of memory: a step of {} rows{}: {}", rows,
       !rule.may_repeat ? ""
       : rule.may_split ? fmt::format(", tried again and in parts down to {} rows", kLeastSplitRows)
                        : ", tried twice",
       *shortage);
}

void empty_device_caches() {
  if (at::accelerator::deviceCount() > 0) at::accelerator::emptyCache();
}

}  // namespace evalmpi::engine
