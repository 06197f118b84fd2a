#pragma once

// What people have that is no plain safetensors checkpoint: recognised, so that the message says what it is and what
// helps.

#include <filesystem>

#include "config_reader.h"

namespace evalmpi::model {

// FAILS: kBadInput when `folder` holds weights in a format that is not read: pickled ones (pytorch_model.bin, *.pth),
// GGUF, an adapter without its model, TensorFlow's, Flax's, ONNX. Returns when it holds nothing of the kind.
void fail_other_format(const std::filesystem::path& folder);

// FAILS: kBadInput naming the method when config.json says that the weights are quantised.
void check_plain_weights(const ConfigReader& config, bool reads_mxfp4);

}  // namespace evalmpi::model
