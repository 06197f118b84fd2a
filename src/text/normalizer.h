#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "component.h"

namespace evalmpi::text {

// The "normalizer" of tokenizer.json: steps that rewrite a valid text.
class Normalizer {
 public:
  struct Step {
    std::function<std::string(std::string_view)> apply;
    bool keeps_ascii = false;  // an all-ASCII text stays as it is
  };

  // `json` may be null. FAILS: kBadInput naming `where`.
  static Normalizer parse(const Json& json, const std::string& where);

  std::string apply(std::string_view text) const;
  // Whether apply(text) would return `text`, as far as that is cheap to see.
  bool leaves(std::string_view text) const;

 private:
  std::vector<Step> steps_;
  bool keeps_ascii_ = true;
};

}  // namespace evalmpi::text
