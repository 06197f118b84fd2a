// Rotary positions as config.json spells them (transformers' modeling_rope_utils).

#include <cmath>

#include "evalmpi/base/error.h"
#include "families.h"

namespace evalmpi::model {
namespace {

void read_llama3(const ConfigReader& rope, RotarySpec& rotary) {
  rotary.low_freq_factor = rope.number("low_freq_factor", 1e-6, 1e6);
  rotary.high_freq_factor = rope.number("high_freq_factor", 1e-6, 1e6);
  if (!(rotary.high_freq_factor > rotary.low_freq_factor)) {
    fail(ExitCode::kBadInput, "{}: high_freq_factor must be greater than low_freq_factor", rope.where());
  }
}

double yarn_scale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

void read_yarn(const ConfigReader& rope, RotarySpec& rotary) {
  const double mscale = rope.number_or("mscale", 0.0, 0.0, 1e3);
  const double mscale_all = rope.number_or("mscale_all_dim", 0.0, 0.0, 1e3);
  const double inferred = mscale != 0 && mscale_all != 0
                              ? yarn_scale(rotary.factor, mscale) / yarn_scale(rotary.factor, mscale_all)
                              : yarn_scale(rotary.factor, 1.0);
  rotary.attention_factor = rope.number_or("attention_factor", inferred, 0.0, 1e3);
  if (mscale_all != 0) rotary.score_scale = std::pow(yarn_scale(rotary.factor, mscale_all), 2);
  const double fast = rope.number_or("beta_fast", 0.0, 0.0, 1e6), slow = rope.number_or("beta_slow", 0.0, 0.0, 1e6);
  rotary.beta_fast = fast == 0 ? 32.0 : fast;
  rotary.beta_slow = slow == 0 ? 1.0 : slow;
  rotary.truncate = rope.flag_or("truncate", true);
}

std::vector<double> read_factors(const ConfigReader& rope, const char* key, int64_t pairs) {
  std::vector<double> factors;
  if (rope.has(key) && rope.raw(key).is_array()) {
    for (const Json& value : rope.raw(key)) factors.push_back(value.is_number() ? value.get<double>() : 0.0);
  }
  bool is_good = static_cast<int64_t>(factors.size()) == pairs;
  for (const double factor : factors) is_good = is_good && factor > 0;
  if (!is_good) fail(ExitCode::kBadInput, "{}: \"{}\" must hold {} numbers above 0", rope.where(), key, pairs);
  return factors;
}

void read_long(const ConfigReader& config, const ConfigReader& rope, const ModelSpec& spec, RotarySpec& rotary) {
  rotary.short_factors = read_factors(rope, "short_factor", rotary.dims / 2);
  rotary.long_factors = read_factors(rope, "long_factor", rotary.dims / 2);
  double factor = rope.number_or("factor", 1.0, 1e-6, 1e6);
  const int64_t in_rope = rope.integer_or("original_max_position_embeddings", 0, 1, kMaxPositions);
  const int64_t original = config.integer_or("original_max_position_embeddings", in_rope, 0, kMaxPositions);
  rotary.original_max_positions = original == 0 ? spec.max_positions : original;
  if (original != 0) factor = static_cast<double>(spec.max_positions) / static_cast<double>(original);
  const double inferred =
      factor <= 1 ? 1.0
                  : std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(rotary.original_max_positions)));
  rotary.attention_factor = rope.number_or("attention_factor", inferred, 0.0, 1e3);
}

// `rope` is the object that holds rope_type: rope_scaling in transformers 4, rope_parameters in 5.
void read_scaling(const ConfigReader& config, const ConfigReader& rope, const ModelSpec& spec, RotarySpec& rotary) {
  const std::string type = rope.text_or("rope_type", rope.text_or("type", "default").c_str());
  // "dynamic" stretches only sequences beyond max_position_embeddings, and none is longer here.
  if (type == "default" || type == "dynamic" || type == "mrope") return;
  if (type == "longrope" || type == "su") {
    rotary.scaling = RotaryScaling::kLong;
    return read_long(config, rope, spec, rotary);
  }
  if (type != "linear" && type != "llama3" && type != "yarn") {
    fail(ExitCode::kBadInput,
         "{}: rotary positions of type \"{}\" are not supported (default, linear, dynamic, llama3, yarn, longrope are)",
         rope.where(), type);
  }
  rotary.factor = rope.number("factor", 1e-6, 1e6);
  rotary.original_max_positions =
      rope.integer_or("original_max_position_embeddings", spec.max_positions, 1, kMaxPositions);
  if (type == "linear") {
    rotary.scaling = RotaryScaling::kLinear;
  } else if (type == "llama3") {
    rotary.scaling = RotaryScaling::kLlama3;
    read_llama3(rope, rotary);
  } else {
    rotary.scaling = RotaryScaling::kYarn;
    read_yarn(rope, rotary);
  }
}

}  // namespace

RotarySpec read_rotary(const ConfigReader& config, const ModelSpec& spec, double default_portion, const char* theta_key,
                       const char* portion_key) {
  RotarySpec rotary;
  rotary.theta = config.number_or(theta_key, config.number_or("rope_theta", 10000.0, 1.0, 1e30), 1.0, 1e30);
  double portion =
      config.number_or(portion_key, config.number_or("partial_rotary_factor", default_portion, 0.0, 1.0), 0.0, 1.0);
  const char* const object = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (config.has(object)) {
    const ConfigReader rope = config.object(object);
    rotary.theta = rope.number_or("rope_theta", rotary.theta, 1.0, 1e30);
    portion = rope.number_or("partial_rotary_factor", portion, 0.0, 1.0);
    rotary.dims = static_cast<int64_t>(static_cast<double>(spec.head_dim) * portion);
    read_scaling(config, rope, spec, rotary);
  }
  rotary.dims = static_cast<int64_t>(static_cast<double>(spec.head_dim) * portion);
  if (rotary.dims < 2 || rotary.dims % 2 != 0) {
    fail(ExitCode::kBadInput,
         "{}: rotary positions on {} of {} dimensions of a head; the number must be even and at least 2",
         config.where(), rotary.dims, spec.head_dim);
  }
  return rotary;
}

}  // namespace evalmpi::model
