#include "cpu/select.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/head.h"

namespace evalmpi::ops {
namespace {

const CpuKernels* find(std::string_view variant) {
  std::string names;
  for (const CpuKernels* table : available_kernels()) {
    if (variant == table->variant) return table;
    names += names.empty() ? table->variant : std::string(", ") + table->variant;
  }
  fail(ExitCode::kUsage, "EVALMPI_CPU_KERNELS={}: this processor can run {}; unset the variable to use the best.",
       variant, names);
}

const CpuKernels* from_environment() {
  const char* forced = std::getenv("EVALMPI_CPU_KERNELS");
  return forced != nullptr && *forced != '\0' ? find(forced) : available_kernels().front();
}

std::atomic<const CpuKernels*> in_use = nullptr;

}  // namespace

const CpuKernels& cpu_kernels() {
  if (in_use.load(std::memory_order_acquire) == nullptr) use_cpu_kernels("");
  return *in_use.load(std::memory_order_acquire);
}

void use_cpu_kernels(std::string_view variant) {
  in_use.store(variant.empty() ? from_environment() : find(variant), std::memory_order_release);
}

const char* cpu_kernel_class() { return "cpu-fma16-k256-v1"; }

const char* cpu_kernel_variant() { return cpu_kernels().variant; }

}  // namespace evalmpi::ops
