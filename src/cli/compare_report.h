#pragma once

// What `evalmpi compare` prints.

#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/eval/compare_runs.h"
#include "evalmpi/model/compare_models.h"

namespace evalmpi::cli {

// A comparison for people and for programs, made side by side.
struct ComparisonReport {
  std::string text;
  Json json = Json::object();
  bool differs = false;
};

// Each adds its part to `report`; of tensors, positions and documents at most `show` are listed.
void report_weights(const std::vector<model::TensorComparison>& all, int show, ComparisonReport& report);
void report_outputs(const model::OutputComparison& outputs, int show, ComparisonReport& report);
ComparisonReport report_runs(const eval::RunComparison& runs, int show);

}  // namespace evalmpi::cli
