#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "component.h"

namespace evalmpi::text {

// The "post_processor" of tokenizer.json for a single text: ids in front of it and behind it.
struct PostProcessor {
  std::vector<int32_t> before;
  std::vector<int32_t> after;

  // `json` may be null. FAILS: kBadInput naming `where`, also for a template that holds the text not exactly once and
  // for ids of `end_id` or more.
  static PostProcessor parse(const Json& json, const std::string& where, int32_t end_id);
};

}  // namespace evalmpi::text
