#pragma once

// The language-model head on selected rows: log-sum-exp and argmax over a vocabulary shard, and the logits of
// given targets, in blocks of the vocabulary. [rows, vocabulary] is never stored whole.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "evalmpi/ops/linear.h"

namespace evalmpi::ops {

// What one vocabulary shard knows. Shards combine in shard order (engines' "max, sum of exp, target, argmax").
struct HeadPartial {
  std::vector<float> max_R;           // largest logit of the shard, -inf for an empty shard
  std::vector<float> sum_R;           // sum of exp(logit - max_R)
  std::vector<int32_t> argmax_R;      // token id of the largest logit, the lowest id on ties; -1 for an empty shard
  std::vector<float> target_logit_M;  // logit of target m, -inf where its token is not in this shard
};

// What becomes of a row times the weight before it is a logit.
struct LogitRule {
  at::Tensor bias_V = {};  // of this shard; undefined: none
  double scale = 1;        // Cohere, Granite
  double soft_cap = 0;     // cap * tanh(logit / cap); 0: none (Gemma 2)
};

// hidden_RD: rows after the final norm, float32 on a CPU; on a device they become the weight's dtype. Target m asks for
// token token_of_target[m] at row row_of_target[m] (rows ascending; a row may have none or several). Token ids are
// global: the shard holds [first_id, first_id + weight.out_features()). Own kernels; row-pure. On a device it waits for
// the stream, once. A row with a NaN or +inf among its logits has max and sum NaN, so that it cannot pass for a score.
HeadPartial head(const at::Tensor& hidden_RD, const PackedLinear& weight_VD, const LogitRule& rule, int64_t first_id,
                 std::span<const int32_t> row_of_target, std::span<const int32_t> token_of_target);

// head() in two steps: what begin_head() starts may still be computed when it returns (on a device), and finish_head()
// waits for it. Without targets begin_head() only starts kernels, so that a CUDA graph may hold it: finish_head() of
// the captured result then reads what the last replay has left.
struct BegunHead {
  HeadPartial on_host;        // on a CPU: all of it
  at::Tensor on_device = {};  // int32 [3 R + M]
  int64_t rows = 0, targets = 0;
  int64_t first_id = 0;
};
BegunHead begin_head(const at::Tensor& hidden_RD, const PackedLinear& weight_VD, const LogitRule& rule,
                     int64_t first_id, std::span<const int32_t> row_of_target,
                     std::span<const int32_t> token_of_target);
HeadPartial finish_head(const BegunHead& begun);

// The logits themselves, [R, this shard's vocabulary] float32, on hidden's device.
at::Tensor logits(const at::Tensor& hidden_RD, const PackedLinear& weight_VD, const LogitRule& rule);

// Exponential (error below 1.1 units in the last place) and natural logarithm (correctly rounded but for rare ties) of
// float32, with bits that no libm decides; used wherever shards are combined.
float exp_exact(float x);
float log_exact(float x);

// Identifies the arithmetic for the numerics class: kernel family, K block, tiles. Equal for all instruction sets whose
// bits are equal.
const char* cpu_kernel_class();

// The same for CUDA devices; with the version of cuBLASLt, which decides what a shape's product is. FAILS: kUnavailable
// in a build without CUDA.
const char* cuda_kernel_class();

// The instruction set in use: "avx512", "avx2" or "portable"; EVALMPI_CPU_KERNELS forces one (tests).
const char* cpu_kernel_variant();

}  // namespace evalmpi::ops
