#include "generation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/model/tensor_table.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/stop.h"

namespace evalmpi::eval {
namespace {

constexpr int32_t kDefaultMaxNewTokens = 256;  // the harness's backend default

// Settings that do not change the text, and those that are handled by name.
const std::set<std::string>& known_settings() {
  static const std::set<std::string> names = {"until",
                                              "max_gen_toks",
                                              "max_new_tokens",
                                              "max_tokens",
                                              "max_completion_tokens",
                                              "do_sample",
                                              "temperature",
                                              "top_p",
                                              "top_k",
                                              "min_p",
                                              "typical_p",
                                              "epsilon_cutoff",
                                              "eta_cutoff",
                                              "repetition_penalty",
                                              "no_repeat_ngram_size",
                                              "num_beams",
                                              "num_return_sequences",
                                              "eos_token_id",
                                              "bos_token_id",
                                              "pad_token_id",
                                              "transformers_version",
                                              "_from_model_config",
                                              "use_cache",
                                              "cache_implementation",
                                              "output_attentions",
                                              "output_hidden_states",
                                              "output_scores",
                                              "output_logits",
                                              "return_dict_in_generate",
                                              "early_stopping",
                                              "length_penalty",
                                              "is_stream",
                                              "stream"};
  return names;
}

// Whether a value leaves a setting without effect.
bool is_neutral(const std::string& name, const Json& value) {
  static const std::set<std::string> factors = {"guidance_scale", "encoder_repetition_penalty", "num_beam_groups"};
  return value.is_null() || value == false || value == 0 || value == 0.0 || (factors.contains(name) && value == 1) ||
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
    if (!(value >= 1) || value > 1e6)
      fail(ExitCode::kBadInput, "{}: {} = {} is not a number of tokens", where, name, value);
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
  if (number_or(settings, "num_beams", 1, where) != 1) {
    fail(ExitCode::kBadInput, "{}: num_beams above 1 (beam search) is not built", where);
  }
  if (number_or(settings, "num_return_sequences", 1, where) != 1) {
    fail(ExitCode::kBadInput, "{}: num_return_sequences above 1 is not built; a task has repeats for this", where);
  }
  for (const auto& [name, value] : settings.items()) {
    if (known_settings().contains(name) || is_neutral(name, value)) continue;
    fail(ExitCode::kBadInput, "{}: the generation setting {} = {} is not built; it would change the text", where, name,
         value.dump());
  }
}

bool asks_for_sampling(const Json& kwargs, double temperature, const std::string& where) {
  const auto found = kwargs.find("do_sample");
  if (found == kwargs.end() || found->is_null()) return temperature > 0;
  if (!found->is_boolean())
    fail(ExitCode::kBadInput, "{}: do_sample must be true or false, not {}", where, found->dump());
  return found->get<bool>();
}

// A warper's value: of the task, else of the model, else transformers' default. An explicit null turns it off.
double warper_value(const Json& kwargs, const Json& config, const char* name, double standard, double off,
                    const std::string& where) {
  for (const auto& [settings, place] :
       {std::pair(&kwargs, where), std::pair(&config, std::string("generation_config.json"))}) {
    if (settings->contains(name)) return number_or(*settings, name, off, place);
  }
  return standard;
}

void read_sampling(engine::GenerationSettings& settings, const Json& kwargs, const Json& config, double temperature,
                   const std::string& where) {
  const auto value = [&](const char* name, double standard, double off, double least, double most) {
    const double found = warper_value(kwargs, config, name, standard, off, where);
    if (found >= least && found <= most) return found;
    fail(ExitCode::kBadInput, "{}: {} = {} is outside {} .. {}", where, name, found, least, most);
  };
  if (!(temperature > 0) || !(temperature <= 1e6)) {
    fail(ExitCode::kBadInput,
         "{}: do_sample needs a temperature above 0, and it is {} (the task's, default 0); "
         "--gen-kwargs temperature=1 sets it, do_sample=false takes the most probable tokens",
         where, temperature);
  }
  settings.is_sampling = true;
  settings.temperature = static_cast<float>(temperature);
  const double top_k = value("top_k", 50, 0, 0, 1e9);
  if (top_k != std::floor(top_k)) fail(ExitCode::kBadInput, "{}: top_k = {} is not a whole number", where, top_k);
  settings.top_k = static_cast<int32_t>(top_k);
  settings.top_p = static_cast<float>(value("top_p", 1, 1, 0, 1));
  settings.min_p = static_cast<float>(value("min_p", 0, 0, 0, 1));
  for (const auto& [name, off] : {std::pair("typical_p", 1.0), {"epsilon_cutoff", 0.0}, {"eta_cutoff", 0.0}}) {
    const double found = warper_value(kwargs, config, name, off, off, where);
    if (found != off)
      fail(ExitCode::kBadInput, "{}: {} = {} is not built; it would change the text", where, name, found);
  }
}

// A token's id if the text is one in digits.
std::optional<int32_t> token_id_of(const std::string& text) {
  constexpr size_t kMaxDigits = 9;
  if (text.empty() || text.size() > kMaxDigits || text.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return std::stoi(text);
}

// text.split(mark)[-1] in Python: marks do not overlap, counted from the left.
std::string after_last(const std::string& text, const std::string& mark) {
  size_t begin = 0;
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, begin)) begin = at + mark.size();
  return text.substr(begin);
}

// Keys and values of the slots of a lane: this much, or a part of the weights where that is more.
constexpr int64_t kSlotBytes = int64_t{512} << 20;
constexpr int64_t kPartOfWeights = 4;
// A decode step reads all weights: on a device the more rows share them the better, until products take as long.
constexpr int32_t kDeviceSlots = 256;

int64_t position_bytes(const model::ModelSpec& spec, int64_t bytes_per_element) {
  return std::max<int64_t>(1, spec.layers * spec.kv_heads * (spec.head_dim + spec.value_dim()) * bytes_per_element);
}

}  // namespace

SlotRoom slot_room(const model::ModelSpec& spec) {
  const int64_t weights = model::count_parameters(model::make_tensor_table(spec)) * 2;
  return {.positions = std::max(kSlotBytes, weights / kPartOfWeights) / position_bytes(spec, sizeof(float))};
}

SlotRoom device_slot_room(const model::ModelSpec& spec, int64_t bytes, int64_t bytes_per_element) {
  return {.most_slots = kDeviceSlots, .positions = bytes / position_bytes(spec, bytes_per_element)};
}

int32_t GenerationPlan::slots_for(int64_t longest_prompt) const {
  return static_cast<int32_t>(
      std::clamp<int64_t>(room.positions / (longest_prompt + max_new_tokens), 1, room.most_slots));
}

Hash128 GenerationPlan::digest(int32_t new_tokens) const {
  Hasher hasher;
  hasher.add(uint64_t{settings.eos_ids.size()});
  for (const int32_t id : settings.eos_ids) hasher.add(static_cast<uint64_t>(id));
  hasher.add(fmt::format("{}", settings.repetition_penalty)).add(static_cast<uint64_t>(settings.no_repeat_ngram_size));
  hasher.add(static_cast<uint64_t>(new_tokens));
  for (const std::string& stop : until) hasher.add(stop);
  if (settings.is_sampling) {
    hasher.add(fmt::format("{} {} {}", settings.temperature, settings.top_p, settings.min_p));
    hasher.add(static_cast<uint64_t>(settings.top_k)).add(settings.seed);
  }
  return hasher.finish();
}

GenerationPlan plan_generation(const Json& kwargs, const model::ModelSpec& spec, const text::Tokenizer& tokenizer,
                               const std::string& where, const Drawing& drawing) {
  const Json config = spec.generation_config.is_object() ? spec.generation_config : Json::object();
  if (!kwargs.is_object()) fail(ExitCode::kBadInput, "{}: generation_kwargs must be a mapping", where);
  refuse_unsupported(kwargs, where);
  Json of_model = config;
  of_model.erase("max_length");  // the harness sets its own
  refuse_unsupported(of_model, "generation_config.json");
  const double temperature = number_or(kwargs, "temperature", 0, where);
  GenerationPlan plan;
  if (asks_for_sampling(kwargs, temperature, where)) {
    read_sampling(plan.settings, kwargs, config, temperature, where);
    plan.settings.seed = drawing.seed;
    plan.draws = drawing.repeats;
  }
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

std::string generated_text(const text::Tokenizer& tokenizer, std::vector<int32_t> tokens, const GenerationPlan& plan) {
  const std::optional<int32_t> think_end_id = token_id_of(plan.think_end);
  if (think_end_id) {
    const auto last = std::find(tokens.rbegin(), tokens.rend(), *think_end_id);
    if (last != tokens.rend()) tokens.erase(tokens.begin(), last.base());
  }
  std::string text = tokenizer.decode(tokens, true);
  if (!plan.think_end.empty()) {
    if (!think_end_id) text = after_last(text, plan.think_end);
    text = text::python::lstrip(text);
  }
  for (const std::string& stop : plan.until) {
    if (!stop.empty()) text = text.substr(0, text.find(stop));
  }
  return text;
}

}  // namespace evalmpi::eval
