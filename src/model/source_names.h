#pragma once

// What the families call their tensors.

#include <span>

#include "evalmpi/model/spec.h"
#include "evalmpi/model/tensor_table.h"

namespace evalmpi::model {

// How one tensor of a file holds several.
enum class Fusion {
  kNone,
  kQueryKeyValue,    // all queries, then all keys, then all values
  kPerGroup,         // the queries, the key and the value of each KV head in turn
  kKeyValuePerHead,  // the key and the value of each head in turn
  kGateUp,           // all of the gate, then all of up
  kGateUpInTurns,    // a row of the gate, a row of up, ..
};

// What the tensors of a module are called and how many there are.
enum class Naming {
  kModule,     // PATTERN.weight, PATTERN.bias
  kOwnModule,  // the same, but no linear module to PEFT
  kParameter,  // PATTERN, PATTERN_bias
};

// A family's spelling of a module: the first "{}" stands for the layer, the second for the expert or the head. Experts
// without a second "{}" are stacked in one tensor.
struct SourceModule {
  Slot slot;
  const char* pattern;
  const char* adapter_target = "";
  Fusion fusion = Fusion::kNone;
  bool is_transposed = false;  // the file holds [in, out]
  Naming naming = Naming::kModule;
};

// The modules of the family; those that this model does not have among them.
std::span<const SourceModule> source_modules(const ModelSpec& spec);

}  // namespace evalmpi::model
