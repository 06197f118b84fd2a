#pragma once

// The adapters' fixtures (tools/fixtures/make_adapter_fixtures.py) and how they are run.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "evalmpi/base/file.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/transformer.h"
#include "tensor_values.h"

namespace evalmpi::model {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

inline fs::path fixtures() { return fs::path(EVALMPI_SOURCE_DIR) / "tests/fixtures"; }

inline fs::path base_of(const fs::path& adapter) {
  std::string name = read_file(adapter / "base.txt");
  name.pop_back();
  return fixtures() / name;
}

struct Expected {
  explicit Expected(const fs::path& folder) {
    const std::string bytes = read_file(folder / "expected.safetensors");
    const auto tensors = parse_safetensors(bytes, folder.string());
    ids = values_of<int32_t>(tensors, "ids");
    logits = values_of<float>(tensors, "logits");
    rows = tensors.at("logits").shape[0];
  }
  Ids ids;
  std::vector<float> logits;
  int64_t rows = 0;
};

inline std::vector<float> logits_of(const Transformer& model, const Expected& expected, comm::Communicator& tp) {
  Segment segment;
  segment.ids = expected.ids;
  const auto tokens = static_cast<int32_t>(expected.ids.size());
  for (int32_t i = 0; i < tokens; ++i) segment.positions.push_back(i);
  segment.spans.push_back({0, 0, 0, tokens});
  ops::KeyValueStore store = model.make_key_value_store(1);
  Ids rows;
  for (int64_t row = tokens - expected.rows; row < tokens; ++row) rows.push_back(static_cast<int32_t>(row));
  const at::Tensor hidden_TD = model.run_layers(model.embed(segment, tp), segment, 0, model.spec().layers, store, tp);
  const at::Tensor logits_RV = model.logits(hidden_TD, rows, tp);
  return {logits_RV.const_data_ptr<float>(), logits_RV.const_data_ptr<float>() + logits_RV.numel()};
}

inline float largest_error(const std::vector<float>& found, const std::vector<float>& expected) {
  EXPECT_EQ(found.size(), expected.size());
  float largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const float error = std::abs(found.at(i) - expected[i]);
    if (!(error <= largest)) largest = error;
  }
  return largest;
}

inline float limit_of(const Expected& expected) {
  float scale = 0;
  for (const float logit : expected.logits) scale = std::max(scale, std::abs(logit));
  return std::max(1e-4f, 1e-5f * scale);
}

inline std::vector<std::string> adapter_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(fixtures() / "adapters")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace evalmpi::model
