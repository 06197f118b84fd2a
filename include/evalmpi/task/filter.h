#pragma once

// Filters: what is taken from a model's responses before metrics see them.
//
// The value of one request is the Json list of its responses (`repeats` of them); steps pass it on, and the last one
// (usually take_first) makes a single response of it. A response is a string for a generation, [sum, is_greedy] for a
// log-likelihood and a number for a rolling one.
//
// Steps: take_first, take_first_k (k), majority_vote, regex (regex_pattern, group_select, fallback),
// remove_whitespace, lowercase, uppercase, map (mapping_dict, default_value), multi_choice_regex, regex_pos (the tags
// of ('word', 'TAG') pairs), format_span (named entities as "per: ann $ loc: oslo").

#include <memory>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/task/task_config.h"

namespace evalmpi::task {

// A compiled pipeline; copies share it, and it may be used from several threads.
class FilterPipeline {
 public:
  // `where` names the task in messages. FAILS: kBadInput for an unknown step, unknown or wrong arguments, a pattern
  // that does not compile.
  FilterPipeline(const FilterConfig& config, const std::string& where);

  const std::string& name() const { return name_; }

  // The filtered value of one request. `document` is the row (multi_choice_regex reads its choices).
  // FAILS: kBadInput when a step does not fit the responses (take_first_k with fewer, text steps on numbers).
  Json apply(const std::vector<Json>& responses, const Json& document) const;

  struct Step;

 private:
  std::string name_;
  std::vector<std::shared_ptr<const Step>> steps_;
};

}  // namespace evalmpi::task
