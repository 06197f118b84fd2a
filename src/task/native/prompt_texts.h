#pragma once

// Prompts of tasks that write them in Python, as texts for str.format.

#include "native_functions.h"

namespace evalmpi::task::native {

extern const PromptText kAfrimmlu1;
extern const PromptText kAfrimmlu2;
extern const PromptText kAfrimmlu3;
extern const PromptText kAfrimmlu3Translated;
extern const PromptText kAfrimmlu4;
extern const PromptText kAfrimmlu5;
extern const PromptText kAfrimmlu5Translated;
extern const PromptText kAfrixnli;

}  // namespace evalmpi::task::native
