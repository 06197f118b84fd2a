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
extern const PromptText kKobestSentineg;
extern const PromptText kKobestWic;
extern const PromptText kNorquad0;
extern const PromptText kNorquad1;
extern const PromptText kNorquad2;
extern const PromptText kNorquad3;
extern const PromptText kNorquad4;

}  // namespace evalmpi::task::native
