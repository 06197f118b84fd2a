#pragma once

// Errors of CUDA calls as evalmpi's; nvcc does not read fmt's headers.

namespace evalmpi::ops::cuda {

// Throws Error(kUnavailable).
[[noreturn]] void fail_launch(const char* kernel, const char* cuda_words);

}  // namespace evalmpi::ops::cuda
