#include <ATen/ops/empty.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "evalmpi/model/weights.h"

namespace evalmpi::model {
namespace {

// transformers' _compute_llama3_parameters, with torch's float32 steps (scalar / tensor is the tensor's
// reciprocal times the scalar).
float llama3_scaled(float frequency, const RotarySpec& rotary) {
  const double original = static_cast<double>(rotary.original_max_positions);
  const float factor = static_cast<float>(rotary.factor);
  const float low_wavelength = static_cast<float>(original / rotary.low_freq_factor);
  const float high_wavelength = static_cast<float>(original / rotary.high_freq_factor);
  const float wavelength = (1.0f / frequency) * static_cast<float>(2.0 * std::numbers::pi);
  if (wavelength < high_wavelength) return frequency;
  if (wavelength > low_wavelength) return frequency / factor;
  const float smooth =
      ((1.0f / wavelength) * static_cast<float>(original) - static_cast<float>(rotary.low_freq_factor)) /
      static_cast<float>(rotary.high_freq_factor - rotary.low_freq_factor);
  return (1.0f - smooth) * frequency / factor + smooth * frequency;
}

// The dimension at which a wave makes `rotations` turns over the original positions.
double yarn_dimension(const RotarySpec& rotary, double rotations) {
  return static_cast<double>(rotary.dims) *
         std::log(static_cast<double>(rotary.original_max_positions) / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(rotary.theta));
}

// transformers' _compute_yarn_parameters: below `low` as it was, above `high` stretched by the factor, a ramp between.
void stretch_by_yarn(const RotarySpec& rotary, std::vector<float>& frequencies) {
  double low = yarn_dimension(rotary, rotary.beta_fast), high = yarn_dimension(rotary, rotary.beta_slow);
  if (rotary.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(rotary.dims - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float ramp = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float kept = 1.0f - std::min(1.0f, std::max(0.0f, ramp));
    const float stretched = 1.0f / (static_cast<float>(rotary.factor) * (1.0f / frequencies[i]));
    frequencies[i] = stretched * (1.0f - kept) + frequencies[i] * kept;
  }
}

float power(const RotarySpec& rotary, int64_t i) {
  const float exponent = static_cast<float>(i) / static_cast<float>(rotary.dims);
  const double base = static_cast<double>(static_cast<float>(rotary.theta));
  return static_cast<float>(std::pow(base, static_cast<double>(exponent)));
}

float to_bfloat16(float x) { return static_cast<float>(c10::BFloat16(x)); }

// The slope of head `head` of `count`: for a power of two 2^(-8 (head + 1) / count); otherwise those of the next lower
// power of two, then every other one of the next higher.
double alibi_slope(int64_t head, int64_t count) {
  int64_t power = 1;
  while (2 * power <= count) power *= 2;
  const auto base = [](int64_t n) {
    return static_cast<double>(
        static_cast<float>(std::pow(2.0, -std::pow(2.0, -(std::log2(static_cast<double>(n)) - 3)))));
  };
  if (head < power) return std::pow(base(power), static_cast<double>(head + 1));
  return std::pow(base(2 * power), static_cast<double>(2 * (head - power) + 1));
}

}  // namespace

std::vector<float> rotary_inverse_frequencies(const RotarySpec& rotary) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < rotary.dims; i += 2) {
    const float frequency = 1.0f / power(rotary, i);
    switch (rotary.scaling) {
      case RotaryScaling::kNone:
      case RotaryScaling::kYarn: frequencies.push_back(frequency); break;
      case RotaryScaling::kLinear: frequencies.push_back(frequency / static_cast<float>(rotary.factor)); break;
      case RotaryScaling::kLlama3: frequencies.push_back(llama3_scaled(frequency, rotary)); break;
      case RotaryScaling::kLong: {
        const float factor = static_cast<float>(rotary.short_factors[static_cast<size_t>(i / 2)]);
        frequencies.push_back(1.0f / (factor * power(rotary, i)));
        break;
      }
    }
  }
  if (rotary.scaling == RotaryScaling::kYarn) stretch_by_yarn(rotary, frequencies);
  return frequencies;
}

ops::RotaryTable make_rotary_table(const RotarySpec& rotary, int64_t positions) {
  const std::vector<float> frequencies = rotary_inverse_frequencies(rotary);
  const int64_t width = static_cast<int64_t>(frequencies.size());
  const float factor = static_cast<float>(rotary.attention_factor);
  ops::RotaryTable table{.cos_PR = at::empty({positions, width}, at::kFloat),
                         .sin_PR = at::empty({positions, width}, at::kFloat),
                         .first = rotary.first,
                         .is_interleaved = rotary.is_interleaved};
  float* cosines = table.cos_PR.mutable_data_ptr<float>();
  float* sines = table.sin_PR.mutable_data_ptr<float>();
  for (int64_t position = 0; position < positions; ++position) {
    for (const float frequency : frequencies) {
      const double angle = static_cast<double>(static_cast<float>(position) * frequency);
      *cosines++ = static_cast<float>(std::cos(angle)) * factor;
      *sines++ = static_cast<float>(std::sin(angle)) * factor;
    }
  }
  return table;
}

at::Tensor make_alibi(const ModelSpec& spec, const Range& heads, int64_t positions) {
  at::Tensor alibi_NP = at::empty({heads.size(), positions}, at::kFloat);
  float* out = alibi_NP.mutable_data_ptr<float>();
  for (int64_t head = heads.begin; head < heads.end; ++head) {
    const float slope = static_cast<float>(alibi_slope(head, spec.heads));
    for (int64_t position = 0; position < positions; ++position) {
      const float at = static_cast<float>(position);
      *out++ = spec.alibi == Alibi::kExact
                   ? slope * at
                   : to_bfloat16(to_bfloat16(slope) * to_bfloat16(at)) * static_cast<float>(spec.attention_scale);
    }
  }
  return alibi_NP;
}

}  // namespace evalmpi::model
