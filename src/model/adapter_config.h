#pragma once

// adapter_config.json of PEFT (peft/tuners/lora/config.py): which modules of a model have LoRA, of which rank and
// scale.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/text/regex.h"

namespace evalmpi::model {

// A setting that is one regular expression for whole module paths, or a list of paths or their last parts.
struct ModuleNames {
  std::optional<text::Regex> regex;
  std::vector<std::string> names;

  bool empty() const { return !regex && names.empty(); }
  bool match(std::string_view module) const;
};

enum class TrainedBias { kNone, kAll, kLoraOnly };

class AdapterConfig {
 public:
  // FAILS: kBadInput, naming the file and the setting.
  AdapterConfig(const Json& config, const std::string& where);

  // peft/tuners/tuners_utils.py, check_target_module_exists. is_linear: for "all-linear", which leaves out the head.
  bool targets(std::string_view module, bool is_linear, bool is_head) const;
  // Whether the module, or one that it is in, is trained as a whole.
  bool saves(std::string_view module) const;
  int64_t rank(std::string_view module) const;
  double scale(std::string_view module) const;
  bool use_dora() const { return use_dora_; }
  TrainedBias bias() const { return bias_; }
  bool has_modules_to_save() const { return !modules_to_save_.empty(); }

 private:
  template <typename T>
  struct Pattern {
    text::Regex regex;
    T value;
  };
  bool is_in_chosen_layer(std::string_view module) const;

  std::string where_;
  int64_t rank_ = 0;
  double alpha_ = 0;
  bool use_rslora_ = false;
  bool use_dora_ = false;
  TrainedBias bias_ = TrainedBias::kNone;
  bool all_linear_ = false;
  ModuleNames targets_;
  ModuleNames excluded_;
  std::vector<std::string> modules_to_save_;
  std::vector<text::Regex> inside_saved_;  // a module trained as a whole, or one in it
  std::vector<int64_t> layers_;
  bool has_layers_ = false;
  std::vector<text::Regex> layer_patterns_;
  std::vector<Pattern<int64_t>> rank_patterns_;
  std::vector<Pattern<double>> alpha_patterns_;
};

}  // namespace evalmpi::model
