#include "cuda_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <sstream>

namespace evalmpi::device {
namespace {

// Values of cudaError_t; they are part of CUDA's interface and never change.
constexpr int kInsufficientDriver = 35;
constexpr int kNoDevice = 100;

struct Problem {
  int code;
  const char* words;
};

constexpr Problem kProblems[] = {
    {2, "the device has no memory left for a CUDA context; is another program running on it (nvidia-smi)?"},
    {3,
     "the driver could not be initialised; compare `nvidia-smi`, and check that /dev/nvidia* is visible here (in a "
     "container: --gpus all)"},
    {34, "libcuda is the toolkit's stub; take the folder .../stubs out of LD_LIBRARY_PATH"},
    {46,
     "the device is busy or unavailable: in the compute mode \"exclusive process\" a single process may use it; run "
     "one rank for each device, or ask the administrator for `nvidia-smi -c DEFAULT`"},
    {kNoDevice, "the driver is there, but no device is visible to this process"},
    {101, "there is no such device"},
    {209, "this program has no kernels for the device's compute capability"},
    {214,
     "an ECC error that could not be corrected: the device's memory is damaged or needs a reset; leave this host out "
     "and tell its administrator"},
    {802, "the system is not ready: on machines with NVSwitch the service nvidia-fabricmanager must be running"},
    {803,
     "the driver's kernel module and its libcuda are of different versions; a restart after the driver's update is "
     "due"},
    {804, "this device does not support the forward compatibility package (cuda-compat) that is in LD_LIBRARY_PATH"},
    {999, "the driver failed in a way that it cannot name; often `nvidia-modprobe -u` or a restart is needed"},
};

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

}  // namespace

bool means_no_device(int code, const CudaVersions& versions) {
  return code == kNoDevice || (code == kInsufficientDriver && versions.driver == 0);
}

std::string cuda_problem(int code, const std::string& words, const CudaVersions& versions) {
  if (code == kInsufficientDriver && versions.driver == 0) {
    return "there is no NVIDIA driver here (libcuda.so.1 was not found, or it does not reach a device)";
  }
  if (code == kInsufficientDriver) {
    return fmt::format("the NVIDIA driver is for CUDA {}, but this program needs {}; update the driver",
                       version_text(versions.driver), version_text(versions.runtime));
  }
  const auto* found = std::find_if(std::begin(kProblems), std::end(kProblems),
                                   [&](const Problem& problem) { return problem.code == code; });
  return found == std::end(kProblems) ? fmt::format("CUDA says: {} (error {})", words, code)
                                      : fmt::format("{} (CUDA error {})", found->words, code);
}

std::string capability_problem(int compute_capability, const std::string& compiled_for) {
  int least = std::numeric_limits<int>::max();
  std::istringstream list(compiled_for);
  for (std::string entry; std::getline(list, entry, ',');) {
    if (const int value = std::atoi(entry.c_str()); value > 0) least = std::min(least, value);
  }
  if (compute_capability >= least) return {};
  return fmt::format(
      "its compute capability is {}.{}, and this program has kernels from {}.{} on; use --device cpu, or a build with "
      "-DEVALMPI_CUDA_ARCHITECTURES that names {} if libtorch supports it",
      compute_capability / 10, compute_capability % 10, least / 10, least % 10, compute_capability);
}

}  // namespace evalmpi::device
