#pragma once

// How results are computed, in words: equal texts, equal bits. The hash of the text is in every record.

#include <string>

#include "evalmpi/base/hash.h"
#include "evalmpi/base/json.h"
#include "evalmpi/device/devices.h"
#include "evalmpi/eval/options.h"
#include "evalmpi/model/spec.h"

namespace evalmpi::eval {

struct Arithmetic {
  model::DType product_type = model::DType::kFloat32;
  bool fast_kernels = false;  // of devices
  bool fast_reduce = false;
};

// What --dtype means for a model on such a device. FAILS: kUsage for what a CPU does not compute in.
model::DType product_type(const EvalOptions& options, const model::ModelSpec& spec, device::Kind kind);

// Of a replica of `tp` places on such devices, which are all alike. On a CPU its kernels decide, not its name; on a
// CUDA device name, multiprocessors and compute capability, kernels, library versions and the type of products.
std::string numerics_class(const device::Device& device, const Arithmetic& arithmetic, int tp, int pp);

// The class of chunks of that class that were split for lack of memory (--allow-split).
std::string class_of_split_chunks(const std::string& numerics_class);

// The class of a record in words; header: of its log.
std::string class_in_words(const Json& header, const Hash128& of_record);

}  // namespace evalmpi::eval
