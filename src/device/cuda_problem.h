#pragma once

// What CUDA's error codes mean for the user. Plain numbers, so that it needs no CUDA.

#include <string>

namespace evalmpi::device {

// Versions are CUDA's: 13000 is 13.0; the driver's is 0 where there is none.
struct CudaVersions {
  int driver = 0;
  int runtime = 0;
};

// One sentence without a full stop: what is wrong, and where one is known, the remedy. `words` is CUDA's own text for
// `code`.
std::string cuda_problem(int code, const std::string& words, const CudaVersions& versions);

// Whether the error only says that this machine has no device, which is no fault: no driver, or no device visible.
bool means_no_device(int code, const CudaVersions& versions);

// Empty, or why kernels compiled for these compute capabilities ("80,90,100", each also as PTX) do not run on a device
// of this one (90 is 9.0).
std::string capability_problem(int compute_capability, const std::string& compiled_for);

}  // namespace evalmpi::device
