#pragma once

// Which cores the CPU kernels of this process may use besides the calling thread's.

namespace evalmpi::ops {

// Lends `cores` to every kernel of the process while it lives: whoever computes shares its work with as many helper
// threads. A lane lends its core while it waits; a run with several threads per lane lends the others for its whole
// time. Does not change bits. Any thread; cheap enough for a wait of a millisecond.
class LentCores {
 public:
  explicit LentCores(int cores);
  LentCores(const LentCores&) = delete;
  LentCores& operator=(const LentCores&) = delete;
  ~LentCores();

 private:
  int cores_;
};

}  // namespace evalmpi::ops
