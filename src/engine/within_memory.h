#pragma once

// What happens when a device has no memory for what was asked of it.

#include <cstdint>
#include <functional>

namespace evalmpi::engine {

// Below this a step is not split: weights, not rows, are what does not fit.
inline constexpr int64_t kLeastSplitRows = 16;

struct MemoryRule {
  bool may_repeat = true;  // false where others wait inside the step for this place
  bool may_split = false;  // --allow-split
};

// Calls attempt(rows). When a device has no memory for it (c10::OutOfMemoryError), calls release(), which lets go all
// that can be made again, and attempt(rows) once more; then, where that is allowed, with half the rows as often as
// needed. Returns the rows with which it worked. FAILS: kUnavailable "out of memory: ..." with the device's own
// figures; whatever else attempt throws.
int64_t compute_within_memory(int64_t rows, const MemoryRule& rule, const std::function<void(int64_t rows)>& attempt,
                              const std::function<void()>& release);

// Gives back to the driver what the allocators of this process's devices hold for later; nothing on a CPU.
void empty_device_caches();

}  // namespace evalmpi::engine
