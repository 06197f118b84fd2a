#include <ATen/ops/empty.h>

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

}  // namespace

std::vector<float> rotary_inverse_frequencies(const RotarySpec& rotary) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < rotary.dims; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(rotary.dims);
    const double base = static_cast<double>(static_cast<float>(rotary.theta));
    const float frequency = 1.0f / static_cast<float>(std::pow(base, static_cast<double>(exponent)));
    switch (rotary.scaling) {
      case RotaryScaling::kNone: frequencies.push_back(frequency); break;
      case RotaryScaling::kLinear: frequencies.push_back(frequency / static_cast<float>(rotary.factor)); break;
      case RotaryScaling::kLlama3: frequencies.push_back(llama3_scaled(frequency, rotary)); break;
    }
  }
  return frequencies;
}

RotaryTables make_rotary_tables(const RotarySpec& rotary, int64_t positions) {
  const std::vector<float> frequencies = rotary_inverse_frequencies(rotary);
  const int64_t width = static_cast<int64_t>(frequencies.size());
  RotaryTables tables{at::empty({positions, width}, at::kFloat), at::empty({positions, width}, at::kFloat)};
  float* cosines = tables.cos_PR.mutable_data_ptr<float>();
  float* sines = tables.sin_PR.mutable_data_ptr<float>();
  for (int64_t position = 0; position < positions; ++position) {
    for (const float frequency : frequencies) {
      const double angle = static_cast<double>(static_cast<float>(position) * frequency);
      *cosines++ = static_cast<float>(std::cos(angle));
      *sines++ = static_cast<float>(std::sin(angle));
    }
  }
  return tables;
}

}  // namespace evalmpi::model
