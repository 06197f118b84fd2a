#include "generation.h"

#include <algorithm>
#include <memory>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/text/stop.h"

namespace evalmpi::eval {
namespace {

constexpr int32_t kDefaultMaxNewTokens = 256;  // the harness's backend default

// Settings that do not change greedy text, and those that are handled by name.
const std::set<std::string>& harmless_settings() {
  static const std::set<std::string> names = {
      "until", "max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens", "max_length", "do_sample",
      "temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size", "num_beams",
      "eos_token_id", "bos_token_id", "pad_token_id", "transformers_version", "_from_model_config", "use_cache",
      "cache_implementation", "output_attentions", "output_hidden_states", "output_scores", "output_logits",
      "return_dict_in_generate", "num_return_sequences", "early_stopping", "length_penalty", "is_stream", "stream"};
  return names;
}

// Values that leave a setting without effect.
bool is_neutral(const Json& value) {
  return value.is_null() || value == false || value == 0 || value == 0.0 || value == 1 || value == 1.0 ||
         (value.is_array() && value.empty()) || (value.is_object() && value.empty());
}

double number_or(const Json& settings, const char* name, double otherwise, const std::string& where) {
  const auto found = settings.find(name);
  if (found == settings.end() || found->is_null()) return otherwise;
  if (!found->is_number()) fail(ExitCode::kBadInput, "{}: {} must be a number, not {}", where, name, found->dump());
  return found->get<double>();
}

int32_t max_new_tokens(const Json& kwargs, const Json& config, const std::string& where) {
  for (const char* name : {"max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"}) {
    const double value = number_or(kwargs, name, 0, where);
    if (!kwargs.contains(name) || kwargs[name].is_null()) continue;
    if (!(value >= 1) || value > 1e6) fail(ExitCode::kBadInput, "{}: {} = {} is not a number of tokens", where, name, value);
    return static_cast<int32_t>(value);
  }
  // The model's own max_new_tokens beats the length that the harness sets, but only where the task sets none.
  return static_cast<int32_t>(number_or(config, "max_new_tokens", kDefaultMaxNewTokens, where));
}

std::vector<std::string> read_until(const Json& kwargs, const text::Tokenizer& tokenizer, const std::string& where) {
  std::vector<std::string> until;
  const Json given = kwargs.contains("until") ? kwargs["until"] : Json(nullptr);
  const Json list = given.is_array() ? given : given.is_null() ? Json::array() : Json::array({given});
  for (const Json& stop : list) {
    if (!stop.is_string()) fail(ExitCode::kBadInput, "{}: until must hold texts, not {}", where, stop.dump());
    until.push_back(stop.get<std::string>());
  }
  if (tokenizer.eos_id()) {
    const std::string eos = tokenizer.decode(std::vector<int32_t>{*tokenizer.eos_id()}, false);
    if (std::find(until.begin(), until.end(), eos) == until.end()) until.push_back(eos);
  }
  return until;
}

void refuse_unsupported(const Json& settings, const std::string& where) {
  if (!settings.is_object()) return;
  if (number_or(settings, "num_beams", 1, where) != 1) {
    fail(ExitCode::kBadInput, "{}: num_beams above 1 (beam search) is not built", where);
  }
  for (const auto& [name, value] : settings.items()) {
    if (harmless_settings().contains(name) || is_neutral(value)) continue;
    fail(ExitCode::kBadInput, "{}: the generation setting {} = {} is not built; it would change the text", where, name,
         value.dump());
  }
}

}  // namespace

Hash128 GenerationPlan::digest() const {
  Hasher hasher;
  hasher.add(uint64_t{settings.eos_ids.size()});
  for (const int32_t id : settings.eos_ids) hasher.add(static_cast<uint64_t>(id));
  hasher.add(fmt::format("{}", settings.repetition_penalty)).add(static_cast<uint64_t>(settings.no_repeat_ngram_size));
  hasher.add(static_cast<uint64_t>(max_new_tokens));
  for (const std::string& stop : until) hasher.add(stop);
  return hasher.finish();
}

GenerationPlan plan_generation(const Json& kwargs, const model::ModelSpec& spec, const text::Tokenizer& tokenizer,
                               const std::string& where) {
  const Json config = spec.generation_config.is_object() ? spec.generation_config : Json::object();
  refuse_unsupported(kwargs, where);
  refuse_unsupported(config, "generation_config.json");
  const double temperature = number_or(kwargs, "temperature", 0, where);
  const bool asks_sampling = kwargs.contains("do_sample") && kwargs["do_sample"].is_boolean()
                                 ? kwargs["do_sample"].get<bool>()
                                 : temperature > 0;
  if (asks_sampling) {
    fail(ExitCode::kBadInput, "{}: sampling (do_sample, temperature {}) is not built yet; "
         "--gen-kwargs do_sample=false,temperature=0 makes it greedy", where, temperature);
  }
  GenerationPlan plan;
  plan.until = read_until(kwargs, tokenizer, where);
  plan.settings.stop = Json(plan.until).dump();
  plan.max_new_tokens = max_new_tokens(kwargs, config, where);
  for (const int64_t id : spec.eos_ids) plan.settings.eos_ids.push_back(static_cast<int32_t>(id));
  plan.settings.repetition_penalty = static_cast<float>(
      number_or(kwargs, "repetition_penalty", number_or(config, "repetition_penalty", 1, where), where));
  plan.settings.no_repeat_ngram_size = static_cast<int32_t>(
      number_or(kwargs, "no_repeat_ngram_size", number_or(config, "no_repeat_ngram_size", 0, where), where));
  if (!(plan.settings.repetition_penalty > 0)) {
    fail(ExitCode::kBadInput, "{}: repetition_penalty must be above 0", where);
  }
  return plan;
}

engine::StopCriterion stop_strings(const text::Tokenizer& tokenizer) {
  return [&tokenizer](const engine::GenerationSettings& settings, const engine::GenerateRequest&) -> engine::StopCheck {
    std::vector<std::string> stops;
    size_t longest = 0;
    for (const Json& stop : parse_json(settings.stop, "stop strings")) {
      stops.push_back(stop.get<std::string>());
      longest = std::max(longest, stops.back().size());
    }
    std::erase(stops, "");
    auto stream = std::make_shared<text::TextStream>(tokenizer, false);
    return [stream, stops = std::move(stops), longest, searched = size_t{0}](int32_t token) mutable {
      stream->push(token);
      const std::string_view text = stream->text();
      const std::string_view fresh = text.substr(searched > longest ? searched - longest : 0);
      searched = text.size();
      return std::any_of(stops.begin(), stops.end(),
                         [&](const std::string& stop) { return fresh.find(stop) != std::string_view::npos; });
    };
  };
}

std::string generated_text(const text::Tokenizer& tokenizer, const std::vector<int32_t>& tokens,
                           const std::vector<std::string>& until) {
  std::string text = tokenizer.decode(tokens, true);
  for (const std::string& stop : until) {
    if (!stop.empty()) text = text.substr(0, text.find(stop));
  }
  return text;
}

}  // namespace evalmpi::eval
