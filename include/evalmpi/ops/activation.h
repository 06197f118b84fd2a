#pragma once

#include <cstdint>

namespace evalmpi::ops {

// silu z / (1 + exp(-z)); gelu with erf or in its tanh form ("gelu_new", "gelu_pytorch_tanh"); relu max(0, z);
// quick gelu z / (1 + exp(-1.702 z)).
enum class Activation : int32_t { kSilu, kGeluErf, kGeluTanh, kRelu, kQuickGelu };

}  // namespace evalmpi::ops
