#pragma once

// lm-evaluation-harness's own command line (0.4.13), said in evalmpi's options, so that a line that people have in
// their scripts works with the program's name changed.

#include <string>
#include <vector>

#include "evalmpi/base/fields.h"
#include "option_parser.h"

namespace evalmpi::cli {

// The harness's options that evalmpi's own do not have already under the same name. Their set and get do nothing: what
// they say reaches the options through say_in_own_words().
std::vector<Field> harness_fields();

// Replaces the harness's options in `values` by evalmpi's:
//   --model hf --model_args pretrained=M,dtype=..,peft=..  ->  model M, dtype .., adapter ..
//   --output_path, --config                                ->  output, job file (in `positionals`)
// An argument that changes no number (batch sizes, devices, caches) is dropped with a note in `notes`.
// FAILS: kUsage for what would change numbers and is not supported, unknown model arguments (with the nearest), API
// models, and a setting that is given both ways.
void say_in_own_words(Values& values, std::vector<std::string>& positionals, std::vector<std::string>& notes);

}  // namespace evalmpi::cli
