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

struct GenerationPlan {
  engine::GenerationSettings settings;
  int32_t max_new_tokens = 256;
  std::vector<std::string> until;  // the task's stops, then the EOS text
  Hash128 digest() const;          // of all that decides the text
};

// kwargs: the task's (max_gen_toks and its aliases, until, do_sample, temperature, repetition_penalty, ...); values in
// them beat those of generation_config.json, as in transformers' generate. `where` names the task.
// FAILS: kBadInput for settings that evalmpi does not compute (sampling, beams, ...), named with the task.
GenerationPlan plan_generation(const Json& kwargs, const model::ModelSpec& spec, const text::Tokenizer& tokenizer,
                               const std::string& where);

// Ends a generation when one of the stop strings in its chunk's settings (a JSON list, GenerationPlan::settings.stop)
// has appeared in its text. The tokenizer outlives the criterion.
engine::StopCriterion stop_strings(const text::Tokenizer& tokenizer);

// The harness's text of a generation: decoded without special tokens, cut at the first of each stop string in turn.
std::string generated_text(const text::Tokenizer& tokenizer, const std::vector<int32_t>& tokens,
                           const std::vector<std::string>& until);

}  // namespace evalmpi::eval
