#include "adapter_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "config_reader.h"
#include "evalmpi/base/error.h"

namespace evalmpi::model {
namespace {

constexpr int64_t kMaxRank = 1 << 16;
constexpr double kMaxAlpha = 1e9;
constexpr size_t kMaxNames = 1 << 16;
constexpr size_t kMaxPatterns = 1 << 12;

// Settings that say nothing about what is computed here, or are read below.
constexpr auto kHarmless = std::to_array<std::string_view>({"peft_type",
                                                            "task_type",
                                                            "auto_mapping",
                                                            "peft_version",
                                                            "base_model_name_or_path",
                                                            "revision",
                                                            "inference_mode",
                                                            "r",
                                                            "lora_alpha",
                                                            "lora_dropout",
                                                            "target_modules",
                                                            "exclude_modules",
                                                            "fan_in_fan_out",
                                                            "bias",
                                                            "use_rslora",
                                                            "use_dora",
                                                            "modules_to_save",
                                                            "init_lora_weights",
                                                            "layers_to_transform",
                                                            "layers_pattern",
                                                            "rank_pattern",
                                                            "alpha_pattern",
                                                            "megatron_core",
                                                            "loftq_config",
                                                            "eva_config",
                                                            "qalora_group_size",
                                                            "ensure_weight_tying",
                                                            "runtime_config",
                                                            "corda_config",
                                                            "lora_ga_config"});

// Values that switch a setting off.
bool is_off(const Json& value) {
  return value.is_null() || value == false || ((value.is_object() || value.is_array()) && value.empty());
}

[[noreturn]] void fail_setting(const std::string& where, std::string_view key, std::string_view why) {
  fail(ExitCode::kBadInput, "{}: \"{}\" {}", where, key, why);
}

void check_kind(const ConfigReader& config) {
  if (!config.has("peft_type")) {
    fail(ExitCode::kBadInput, "{}: \"peft_type\" is missing: not an adapter of PEFT{}", config.where(),
         config.has("model_class") ? " but one of the adapters library, whose formats are not supported" : "");
  }
  const std::string kind = config.text_or("peft_type", "");
  if (kind != "LORA") {
    fail(ExitCode::kBadInput, "{}: adapters of the kind {} are not supported (LORA is)", config.where(), kind);
  }
  const std::string task = config.text_or("task_type", "CAUSAL_LM");
  if (task != "CAUSAL_LM") {
    fail(ExitCode::kBadInput, "{}: the adapter is for the task {}; evalmpi evaluates language models (CAUSAL_LM)",
         config.where(), task);
  }
}

// Initialisations that change the model's own weights before training: such an adapter is a difference to weights that
// are in no file.
void check_initialisation(const ConfigReader& config) {
  if (!config.has("init_lora_weights") || config.raw("init_lora_weights").is_boolean()) return;
  const std::string kind = config.text_or("init_lora_weights", "");
  for (const char* plain : {"gaussian", "eva", "orthogonal"}) {
    if (kind == plain) return;
  }
  fail(
      ExitCode::kBadInput,
      "{}: \"init_lora_weights\" is \"{}\": the adapter was trained beside changed weights of the model. Save it as an "
      "ordinary adapter: save_pretrained(..., path_initial_model_for_weight_conversion=...) of PEFT (pissa, corda and "
      "olora), or merge it there",
      config.where(), kind);
}

void check_others(const Json& config, const std::string& where) {
  for (const auto& [key, value] : config.items()) {
    if (std::find(kHarmless.begin(), kHarmless.end(), key) != kHarmless.end() || is_off(value)) continue;
    fail_setting(where, key,
                 "is a setting that is not supported; merge the adapter into the model with PEFT "
                 "(merge_and_unload) and evaluate that");
  }
}

std::vector<std::string> texts(const ConfigReader& config, const char* key) {
  std::vector<std::string> found;
  if (!config.has(key)) return found;
  const Json& value = config.raw(key);
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array() || value.size() > kMaxNames) fail_setting(config.where(), key, "must be a list of names");
  for (const Json& item : value) {
    if (!item.is_string()) fail_setting(config.where(), key, "must be a list of names");
    found.push_back(item.get<std::string>());
  }
  return found;
}

ModuleNames module_names(const ConfigReader& config, const char* key) {
  ModuleNames names;
  if (config.has(key) && config.raw(key).is_string()) {
    const std::string pattern = config.text_or(key, "");
    if (!pattern.empty()) {
      names.regex = text::Regex::compile(pattern, fmt::format("{}, \"{}\"", config.where(), key));
    }
  } else {
    names.names = texts(config, key);
  }
  return names;
}

// peft/utils/other.py, get_pattern_key.
template <typename Add>
void read_patterns(const ConfigReader& config, const char* key, Add add) {
  if (!config.has(key)) return;
  const Json& patterns = config.raw(key);
  if (!patterns.is_object() || patterns.size() > kMaxPatterns) {
    fail_setting(config.where(), key, "must be an object of patterns and numbers");
  }
  const ConfigReader values = config.object(key);
  for (const auto& [pattern, value] : patterns.items()) {
    add(text::Regex::compile(fmt::format("(.*\\.)?({})$", pattern), fmt::format("{}, \"{}\"", config.where(), key)),
        values, pattern.c_str());
  }
}

bool is_last_part(std::string_view module, std::string_view name) {
  return module == name ||
         (module.size() > name.size() && module.ends_with(name) && module[module.size() - name.size() - 1] == '.');
}

}  // namespace

bool ModuleNames::match(std::string_view module) const {
  if (regex) return regex->full_match(module).has_value();
  return std::any_of(names.begin(), names.end(), [&](const auto& name) { return is_last_part(module, name); });
}

AdapterConfig::AdapterConfig(const Json& json, const std::string& where) : where_(where) {
  const ConfigReader config(json, where);
  check_kind(config);
  check_initialisation(config);
  check_others(json, where);
  rank_ = config.integer_or("r", 8, 1, kMaxRank);
  alpha_ = config.number_or("lora_alpha", 8, -kMaxAlpha, kMaxAlpha);
  use_rslora_ = config.flag_or("use_rslora", false);
  use_dora_ = config.flag_or("use_dora", false);
  const std::string bias = config.text_or("bias", "none");
  if (bias != "none" && bias != "all" && bias != "lora_only") {
    fail_setting(where, "bias", "must be none, all or lora_only");
  }
  bias_ = bias == "all" ? TrainedBias::kAll : bias == "lora_only" ? TrainedBias::kLoraOnly : TrainedBias::kNone;

  if (!config.has("target_modules")) fail_setting(where, "target_modules", "is missing");
  std::string target = config.raw("target_modules").is_string() ? config.text_or("target_modules", "") : "";
  std::transform(target.begin(), target.end(), target.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  all_linear_ = target == "all-linear";
  if (!all_linear_) targets_ = module_names(config, "target_modules");
  excluded_ = module_names(config, "exclude_modules");

  modules_to_save_ = texts(config, "modules_to_save");
  for (const std::string& module : modules_to_save_) {
    if (module.empty()) fail_setting(where, "modules_to_save", "holds an empty name");
    inside_saved_.push_back(
        text::Regex::compile(fmt::format("(^|.*\\.){}($|\\..*)", module), where + ", \"modules_to_save\""));
  }
  if (config.has("layers_to_transform")) {
    const Json& layers = config.raw("layers_to_transform");
    for (const Json& layer : layers.is_array() ? layers : Json::array({layers})) {
      if (!layer.is_number_integer()) fail_setting(where, "layers_to_transform", "must be a list of whole numbers");
      layers_.push_back(layer.get<int64_t>());
    }
    has_layers_ = !layers_.empty();
  }
  for (const std::string& pattern : texts(config, "layers_pattern")) {
    if (pattern.empty()) continue;
    layer_patterns_.push_back(text::Regex::compile(fmt::format("(?:^|.*?\\.){}\\.(?P<idx>\\d+)\\.", pattern),
                                                   where + ", \"layers_pattern\""));
  }
  if (layer_patterns_.empty()) {
    layer_patterns_.push_back(text::Regex::compile(".*?\\.[^.]*\\.(?P<idx>\\d+)\\.", where));
  }
  read_patterns(config, "rank_pattern", [&](text::Regex regex, const ConfigReader& values, const char* key) {
    rank_patterns_.push_back({std::move(regex), values.integer(key, 1, kMaxRank)});
  });
  read_patterns(config, "alpha_pattern", [&](text::Regex regex, const ConfigReader& values, const char* key) {
    alpha_patterns_.push_back({std::move(regex), values.number(key, -kMaxAlpha, kMaxAlpha)});
  });
}

bool AdapterConfig::is_in_chosen_layer(std::string_view module) const {
  for (const text::Regex& pattern : layer_patterns_) {
    const auto match = pattern.match(module);
    if (!match) continue;
    const std::string_view digits = match->groups[*pattern.group_index("idx")].of(module);
    int64_t layer = -1;
    std::from_chars(digits.data(), digits.data() + digits.size(), layer);
    return std::find(layers_.begin(), layers_.end(), layer) != layers_.end();
  }
  return false;
}

bool AdapterConfig::targets(std::string_view module, bool is_linear, bool is_head) const {
  if (!excluded_.empty() && excluded_.match(module)) return false;
  if (std::any_of(inside_saved_.begin(), inside_saved_.end(),
                  [&](const auto& regex) { return regex.match(module).has_value(); })) {
    return false;
  }
  if (all_linear_) return is_linear && !is_head && (!has_layers_ || is_in_chosen_layer(module));
  if (!targets_.match(module)) return false;
  return targets_.regex || !has_layers_ || is_in_chosen_layer(module);
}

bool AdapterConfig::saves(std::string_view module) const {
  for (size_t end = module.size(); end != std::string_view::npos && end > 0; end = module.rfind('.', end - 1)) {
    const std::string_view part = module.substr(0, end);
    for (const std::string& name : modules_to_save_) {
      if (part.ends_with(name)) return true;
    }
  }
  return false;
}

int64_t AdapterConfig::rank(std::string_view module) const {
  for (const auto& pattern : rank_patterns_) {
    if (pattern.regex.match(module)) return pattern.value;
  }
  return rank_;
}

double AdapterConfig::scale(std::string_view module) const {
  double alpha = alpha_;
  for (const auto& pattern : alpha_patterns_) {
    if (!pattern.regex.match(module)) continue;
    alpha = pattern.value;
    break;
  }
  const auto r = static_cast<double>(rank(module));
  return alpha / (use_rslora_ ? std::sqrt(r) : r);
}

}  // namespace evalmpi::model
