#pragma once

// Generation settings: from a task's generation_kwargs and the model's generation_config.json to what the engine
// runs, and from its tokens back to text.

#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/engine/lane.h"
#include "evalmpi/engine/request.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/text/tokenizer.h"

namespace evalmpi::eval {

// For the generations that run side by side on a lane.
struct SlotRoom {
  int32_t most_slots = 16;
  int64_t positions = 0;  // that they hold together at most, for the memory's sake; 0: one slot
};

struct GenerationPlan {
  engine::GenerationSettings settings;
  int32_t max_new_tokens = 256;
  std::vector<std::string> until;  // the task's stops, then the EOS text
  int32_t draws = 1;               // answers that may differ: the task's repeats when tokens are drawn, else one
  std::string think_end;  // ends a reasoning model's thinking: a text, or a token's id in digits; empty: nothing does
  SlotRoom room;
  // Of all that decides the text of a request with so many new tokens at most.
  Hash128 digest(int32_t new_tokens) const;

  // How many prompts of at most `longest_prompt` tokens run side by side, at least one.
  int32_t slots_for(int64_t longest_prompt) const;
};

// How a task wants its answers, besides its generation_kwargs.
struct Drawing {
  int32_t repeats = 1;
  uint64_t seed = 0;
};

// kwargs: the task's (max_gen_toks and its aliases, until, do_sample, temperature, top_p, repetition_penalty, ...). As
// in the harness's model `hf`: tokens are drawn when do_sample is true, or missing and temperature above 0; a
// temperature comes from the task only. As in transformers' generate: values in kwargs beat those of
// generation_config.json, which beat the defaults (top_k 50). `where` names the task. FAILS: kBadInput for values out
// of range and for settings that evalmpi does not compute (beams, ...), named with the task.
GenerationPlan plan_generation(const Json& kwargs, const model::ModelSpec& spec, const text::Tokenizer& tokenizer,
                               const std::string& where, const Drawing& drawing = {});

// On a CPU.
SlotRoom slot_room(const model::ModelSpec& spec);
// On a device, with `bytes` of keys and values of `bytes_per_element` each.
SlotRoom device_slot_room(const model::ModelSpec& spec, int64_t bytes, int64_t bytes_per_element);

// Ends a generation when one of the stop strings in its chunk's settings (a JSON list, GenerationPlan::settings.stop)
// has appeared in its text. The tokenizer outlives the criterion.
engine::StopCriterion stop_strings(const text::Tokenizer& tokenizer);

// The harness's text of a generation: decoded without special tokens, without what stands before the last think_end and
// the spaces after it, cut at the first of each stop string in turn.
std::string generated_text(const text::Tokenizer& tokenizer, std::vector<int32_t> tokens, const GenerationPlan& plan);

}  // namespace evalmpi::eval
