#pragma once

// What a model is and what it would take to run it, from its files' headers alone: no weights are read, no MPI.

#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/base/fields.h"
#include "evalmpi/base/json.h"

namespace evalmpi::eval {

struct InspectOptions {
  std::string model;            // folder or hub id
  std::vector<std::string> tp;  // empty: 1, 2, 3, 4, 8
  bool tensors = false;         // every tensor
  bool json = false;            // for programs
};

// The options that have names; the model stands without one.
std::vector<Field> fields(InspectOptions& options);

// facts: model, folder, architecture, family, sizes, details, layers, parameters, files, tokenizer, generation,
// adapters, tp, and tensors where asked for; sizes in bytes say so in their names. problem: why the model cannot be run
// although config.json can be read (a tensor is missing, or has another dtype or shape; no tokenizer that can be read).
struct Inspection {
  Json facts;
  std::optional<Error> problem;
};

// FAILS: kUsage for a tp that cannot be; kMissingInput, kBadInput as model::resolve_model_folder,
// model::read_model_spec and model::Checkpoint.
Inspection inspect(const InspectOptions& options);

// The same for people.
std::string inspection_text(const Json& facts);

}  // namespace evalmpi::eval
