#include "evalmpi/ops/kernels.h"

#include <atomic>

namespace evalmpi::ops {
namespace {

std::atomic<bool> is_fast{false};

}  // namespace

void use_fast_kernels(bool fast) { is_fast = fast; }

bool fast_kernels() { return is_fast; }

}  // namespace evalmpi::ops
