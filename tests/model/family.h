#pragma once

// The families' fixtures (tools/fixtures/make_family_fixtures.py) and how they are run.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "evalmpi/base/file.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/transformer.h"
#include "evalmpi/model/weights.h"
#include "tensor_values.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

inline fs::path families() { return fs::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/families"; }

struct Expected {
  explicit Expected(const fs::path& folder) {
    const std::string bytes = read_file(folder / "expected.safetensors", uint64_t{1} << 24);
    const auto tensors = parse_safetensors(bytes, folder.string());
    ids = values_of<int32_t>(tensors, "ids");
    continuation = values_of<int32_t>(tensors, "continuation");
    logits = values_of<float>(tensors, "logits");
  }
  Ids ids, continuation;
  std::vector<float> logits;
};

inline at::Tensor run_part(const Transformer& model, const Ids& ids, size_t begin, ops::KeyValueStore& store,
                           comm::Communicator& tp) {
  Segment segment;
  segment.ids.assign(ids.begin() + static_cast<int64_t>(begin), ids.end());
  for (size_t i = begin; i < ids.size(); ++i) segment.positions.push_back(static_cast<int32_t>(i));
  segment.spans.push_back({0, static_cast<int32_t>(begin), 0, static_cast<int32_t>(ids.size() - begin)});
  return model.run_layers(model.embed(segment, tp), segment, 0, model.spec().layers, store, tp);
}

struct Outcome {
  std::vector<float> logits;
  Ids continuation;
};

inline Outcome run(const Transformer& model, const Expected& expected, comm::Communicator& tp) {
  ops::KeyValueStore store = model.make_key_value_store(1);
  Ids ids = expected.ids, rows(expected.ids.size());
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
  at::Tensor logits_RV = model.logits(run_part(model, ids, 0, store, tp), rows, tp);
  Outcome outcome;
  outcome.logits.assign(logits_RV.const_data_ptr<float>(), logits_RV.const_data_ptr<float>() + logits_RV.numel());
  for (size_t i = 0; i < expected.continuation.size(); ++i) {
    const float* last = logits_RV.const_data_ptr<float>() + logits_RV.numel() - model.spec().vocab;
    ids.push_back(static_cast<int32_t>(std::max_element(last, last + model.spec().vocab) - last));
    outcome.continuation.push_back(ids.back());
    logits_RV = model.logits(run_part(model, ids, ids.size() - 1, store, tp), Ids{0}, tp);
  }
  return outcome;
}

// Logits within 1e-4 (or 1e-5 of the largest), the continuation equal.
inline void expect_equal(const Outcome& outcome, const Expected& expected) {
  ASSERT_EQ(outcome.logits.size(), expected.logits.size());
  float largest = 0, scale = 0;
  for (size_t i = 0; i < expected.logits.size(); ++i) {
    const float error = std::abs(outcome.logits[i] - expected.logits[i]);
    if (!(error <= largest)) largest = error;
    scale = std::max(scale, std::abs(expected.logits[i]));
  }
  EXPECT_LE(largest, std::max(1e-4f, 1e-5f * scale));
  EXPECT_EQ(outcome.continuation, expected.continuation);
}

}  // namespace evalmpi::model
