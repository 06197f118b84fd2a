#pragma once

// IFEval's verifiable instructions: what a response must look like.

#include <functional>
#include <string>
#include <string_view>

#include "evalmpi/base/json.h"

namespace evalmpi::task::native {

// Whether a response that is not blank follows an instruction. `response` is valid UTF-8. FAILS: kBadInput for a
// pattern that needs too much work.
using InstructionCheck = std::function<bool(const std::string& response)>;

// The check of an instruction ("keywords:existence") with its arguments, an object whose null, empty and zero values
// count as absent. FAILS: kBadInput naming the instruction when it is unknown, when lm-evaluation-harness would draw an
// argument at random, when an argument is of another kind, or when what decides is not here.
InstructionCheck instruction_check(std::string_view id, const Json& arguments);

}  // namespace evalmpi::task::native
