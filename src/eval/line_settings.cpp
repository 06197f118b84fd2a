#include "line_settings.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "evalmpi/base/error.h"
#include "evalmpi/base/fields.h"

namespace evalmpi::eval {
namespace {

constexpr double kMostTokens = 1e6;
constexpr size_t kMostStops = 1000;

[[noreturn]] void refuse(const std::string& key, const Json& value, std::string_view expected) {
  std::string shown = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (shown.size() > 100) shown = shown.substr(0, 100) + "...";
  fail(ExitCode::kBadInput, "{} {}: expected {}", key, shown, expected);
}

double number(const std::string& key, const Json& value, double least, double most) {
  if (!value.is_number() || !(value.get<double>() >= least && value.get<double>() <= most)) {
    refuse(key, value, fmt::format("a number from {} to {}", least, most));
  }
  return value.get<double>();
}

int64_t integer(const std::string& key, const Json& value, int64_t least, int64_t most) {
  const bool fits =
      value.is_number_integer() && !(value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{1} << 62);
  if (!fits || value.get<int64_t>() < least || value.get<int64_t>() > most) {
    refuse(key, value, fmt::format("a whole number from {} to {}", least, most));
  }
  return value.get<int64_t>();
}

bool boolean(const std::string& key, const Json& value) {
  if (!value.is_boolean()) refuse(key, value, "true or false");
  return value.get<bool>();
}

std::vector<std::string> texts(const std::string& key, const Json& value) {
  const Json list = value.is_array() ? value : Json::array({value});
  std::vector<std::string> found;
  for (const Json& item : list) {
    if (!item.is_string() || list.size() > kMostStops) refuse(key, value, "a text, or a list of at most 1000");
    if (!item.get_ref<const std::string&>().empty()) found.push_back(item.get<std::string>());
  }
  return found;
}

std::vector<int32_t> ids(const std::string& key, const Json& value) {
  if (!value.is_array() || value.size() > kMostStops) refuse(key, value, "a list of at most 1000 token ids");
  std::vector<int32_t> found;
  for (const Json& item : value)
    found.push_back(static_cast<int32_t>(integer(key, item, 0, std::numeric_limits<int32_t>::max())));
  return found;
}

struct Setting {
  const char* name;
  void (*set)(LineSettings&, const std::string& key, const Json& value);
};

void set_max_tokens(LineSettings& s, const std::string& key, const Json& value) {
  s.max_tokens = static_cast<int32_t>(integer(key, value, 1, static_cast<int64_t>(kMostTokens)));
}

void set_stop(LineSettings& s, const std::string& key, const Json& value) { s.stop = texts(key, value); }

constexpr Setting kSettings[] = {
    {"max_tokens", set_max_tokens},
    {"max_new_tokens", set_max_tokens},
    {"max_gen_toks", set_max_tokens},
    {"max_completion_tokens", set_max_tokens},
    {"temperature",
     [](LineSettings& s, const std::string& key, const Json& value) { s.temperature = number(key, value, 0, 1e6); }},
    {"top_p", [](LineSettings& s, const std::string& key, const Json& value) { s.top_p = number(key, value, 0, 1); }},
    {"min_p", [](LineSettings& s, const std::string& key, const Json& value) { s.min_p = number(key, value, 0, 1); }},
    {"top_k",
     [](LineSettings& s, const std::string& key, const Json& value) {
       s.top_k = static_cast<int32_t>(std::max<int64_t>(0, integer(key, value, -1, 1'000'000'000)));
     }},
    {"repetition_penalty", [](LineSettings& s, const std::string& key,
                              const Json& value) { s.repetition_penalty = number(key, value, 1e-6, 1e6); }},
    {"no_repeat_ngram_size",
     [](LineSettings& s, const std::string& key, const Json& value) {
       s.no_repeat_ngram_size = static_cast<int32_t>(integer(key, value, 0, 1'000'000));
     }},
    {"do_sample",
     [](LineSettings& s, const std::string& key, const Json& value) { s.do_sample = boolean(key, value); }},
    {"stop", set_stop},
    {"until", set_stop},
    {"stop_token_ids",
     [](LineSettings& s, const std::string& key, const Json& value) { s.stop_token_ids = ids(key, value); }},
    {"ignore_eos",
     [](LineSettings& s, const std::string& key, const Json& value) { s.ignore_eos = boolean(key, value); }},
    {"n", [](LineSettings& s, const std::string& key,
             const Json& value) { s.n = static_cast<int32_t>(integer(key, value, 1, 10'000)); }},
    {"seed",
     [](LineSettings& s, const std::string& key, const Json& value) {
       s.seed = integer(key, value, std::numeric_limits<int64_t>::min(), int64_t{1} << 62);
     }},
};

// The value, besides null, that leaves the answer as it is; of "null" rows false, 0, "" and empty lists and objects.
struct Unsupported {
  const char* name;
  const char* neutral = "null";
};
constexpr Unsupported kUnsupported[] = {
    {"allowed_token_ids"},
    {"audio"},
    {"bad_words"},
    {"bad_words_ids"},
    {"best_of", "1"},
    {"chat_template"},
    {"chat_template_kwargs"},
    {"documents"},
    {"echo"},
    {"epsilon_cutoff"},
    {"eta_cutoff"},
    {"frequency_penalty"},
    {"function_call", "\"none\""},
    {"functions"},
    {"guidance_scale", "1"},
    {"guided_choice"},
    {"guided_grammar"},
    {"guided_json"},
    {"guided_regex"},
    {"include_stop_str_in_output"},
    {"length_penalty", "1"},
    {"logit_bias"},
    {"logits_processors"},
    {"logprobs"},
    {"min_new_tokens"},
    {"min_tokens"},
    {"modalities", "[\"text\"]"},
    {"num_beams", "1"},
    {"num_return_sequences", "1"},
    {"prediction"},
    {"presence_penalty"},
    {"prompt_embeds"},
    {"prompt_logprobs"},
    {"reasoning_effort"},
    {"response_format", "{\"type\":\"text\"}"},
    {"skip_special_tokens", "true"},
    {"spaces_between_special_tokens", "true"},
    {"stream"},
    {"structured_outputs"},
    {"suffix"},
    {"tool_choice", "\"none\""},
    {"tools"},
    {"top_logprobs"},
    {"truncate_prompt_tokens"},
    {"typical_p", "1"},
    {"use_beam_search"},
    {"web_search_options"},
};
constexpr const char* kNoEffect[] = {
    "cache_salt", "metadata",          "parallel_tool_calls", "priority", "prompt_cache_key",
    "request_id", "safety_identifier", "service_tier",        "store",    "stream_options",
    "user"};

const Setting* find_setting(const std::string& key) {
  const auto* found =
      std::find_if(std::begin(kSettings), std::end(kSettings), [&](const Setting& s) { return key == s.name; });
  return found == std::end(kSettings) ? nullptr : found;
}

const Unsupported* find_unsupported(const std::string& key) {
  const auto* found = std::find_if(std::begin(kUnsupported), std::end(kUnsupported),
                                   [&](const Unsupported& u) { return key == u.name; });
  return found == std::end(kUnsupported) ? nullptr : found;
}

bool is_neutral(const Json& value, const Unsupported& row) {
  if (value.is_null() || value == Json::parse(row.neutral)) return true;
  if (std::string_view(row.neutral) != "null") return false;
  return value == false || value == 0 || value == "" || (value.is_structured() && value.empty());
}

template <class T>
void prefer(std::optional<T>& value, const std::optional<T>& otherwise) {
  if (!value) value = otherwise;
}

template <class T>
Json optional_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

}  // namespace

SettingKind setting_kind(const std::string& key) {
  if (find_setting(key) != nullptr) return SettingKind::kSetting;
  if (find_unsupported(key) != nullptr) return SettingKind::kUnsupported;
  const bool has_no_effect = std::find(std::begin(kNoEffect), std::end(kNoEffect), key) != std::end(kNoEffect);
  return has_no_effect ? SettingKind::kNoEffect : SettingKind::kUnknown;
}

void set_setting(LineSettings& settings, const std::string& key, const Json& value) {
  if (const Unsupported* row = find_unsupported(key); row != nullptr && !is_neutral(value, *row)) {
    refuse(key, value, "nothing: evalmpi does not compute it, and the answer would be another");
  }
  const Setting* setting = find_setting(key);
  if (setting != nullptr && !value.is_null()) setting->set(settings, key, value);
}

std::optional<std::string> nearest_setting(const std::string& key) {
  std::vector<std::string> names;
  for (const Setting& setting : kSettings) names.emplace_back(setting.name);
  for (const Unsupported& row : kUnsupported) names.emplace_back(row.name);
  return nearest_name(key, names);
}

LineSettings merged(const LineSettings& over, const LineSettings& under) {
  LineSettings settings = over;
  prefer(settings.max_tokens, under.max_tokens);
  prefer(settings.temperature, under.temperature);
  prefer(settings.top_p, under.top_p);
  prefer(settings.min_p, under.min_p);
  prefer(settings.repetition_penalty, under.repetition_penalty);
  prefer(settings.top_k, under.top_k);
  prefer(settings.no_repeat_ngram_size, under.no_repeat_ngram_size);
  prefer(settings.n, under.n);
  prefer(settings.seed, under.seed);
  prefer(settings.do_sample, under.do_sample);
  prefer(settings.ignore_eos, under.ignore_eos);
  prefer(settings.stop, under.stop);
  prefer(settings.stop_token_ids, under.stop_token_ids);
  return settings;
}

std::string group_key(const LineSettings& s) {
  return Json{optional_json(s.temperature),
              optional_json(s.top_p),
              optional_json(s.min_p),
              optional_json(s.repetition_penalty),
              optional_json(s.top_k),
              optional_json(s.no_repeat_ngram_size),
              s.n.value_or(1),
              s.seed.has_value(),
              optional_json(s.do_sample),
              s.ignore_eos.value_or(false),
              Json(s.stop.value_or(std::vector<std::string>{})),
              Json(s.stop_token_ids.value_or(std::vector<int32_t>{}))}
      .dump();
}

GenerationPlan plan_line(const LineSettings& s, const model::ModelSpec& spec, const text::Tokenizer& tokenizer,
                         uint64_t seed) {
  const Json& config = spec.generation_config;
  const auto config_says = [&](const char* name) {
    return config.is_object() && config.contains(name) && !config[name].is_null();
  };
  const bool draws = s.do_sample.value_or(true) && s.temperature.value_or(0) > 0;
  if (s.do_sample.value_or(false) && !draws) {
    fail(ExitCode::kBadInput, "do_sample true needs a temperature above 0");
  }
  const int32_t n = s.n.value_or(1);
  if (n > 1 && !draws) fail(ExitCode::kBadInput, "n {}: answers only differ with a temperature above 0", n);
  Json kwargs = {{"do_sample", draws}};
  if (draws) {
    kwargs["temperature"] = *s.temperature;
    if (s.top_p) kwargs["top_p"] = *s.top_p;
    if (s.min_p) kwargs["min_p"] = *s.min_p;
    if (s.top_k || !config_says("top_k")) kwargs["top_k"] = s.top_k.value_or(0);
  }
  if (s.repetition_penalty) kwargs["repetition_penalty"] = *s.repetition_penalty;
  if (s.no_repeat_ngram_size) kwargs["no_repeat_ngram_size"] = *s.no_repeat_ngram_size;
  GenerationPlan plan = plan_generation(kwargs, spec, tokenizer, "generation settings", {n, seed});
  // Of a task the end token's text is a stop too; here only what was asked for.
  plan.until = s.stop.value_or(std::vector<std::string>{});
  plan.settings.stop = Json(plan.until).dump();
  if (s.ignore_eos.value_or(false)) plan.settings.eos_ids.clear();
  for (const int32_t id : s.stop_token_ids.value_or(std::vector<int32_t>{})) {
    if (id >= spec.vocab)
      fail(ExitCode::kBadInput, "stop_token_ids {}: the model's vocabulary has {} tokens", id, spec.vocab);
    plan.settings.eos_ids.push_back(id);
  }
  plan.room = slot_room(spec);
  plan.max_new_tokens = s.max_tokens.value_or(plan.max_new_tokens);
  return plan;
}

}  // namespace evalmpi::eval
