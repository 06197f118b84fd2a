#include "pages.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <sys/mman.h>

#include "evalmpi/base/error.h"

namespace evalmpi::ops {

at::Tensor resident_zeros(int64_t floats) {
  constexpr int64_t kSmall = int64_t{16} << 10;  // less than this is not worth pages of its own
  EVALMPI_CHECK(floats >= 0);
  if (floats < kSmall) return at::zeros({floats}, at::kFloat);
  const size_t bytes = static_cast<size_t>(floats) * sizeof(float);
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) fail(ExitCode::kUnavailable, "out of memory");
  return at::from_blob(
      memory, {floats}, [bytes](void* begin) { ::munmap(begin, bytes); }, at::kFloat);
}

}  // namespace evalmpi::ops
