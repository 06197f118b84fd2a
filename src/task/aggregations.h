#pragma once

// The aggregations of aggregate.h, one row each: how the values of a metric become one number.

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::task {

// The documents that are aggregated, in order: all of them, or a resample.
using Positions = std::vector<int32_t>;

struct Aggregation {
  enum class Error { kNone, kOfMean, kBootstrap };
  const char* name;
  Error error;
  // Reads the values once; the result aggregates those at some positions. It may be called from several threads.
  // FAILS: kBadInput for a value that does not fit.
  std::function<double(const Positions&)> (*prepare)(const std::vector<Json>& values);
};

// Nothing for an unknown name.
const Aggregation* find_aggregation(std::string_view name);

// All positions of `count` values.
Positions all_positions(size_t count);

// numpy.sum of doubles: in pairs of halves above 128 values, eight sums side by side below.
double pairwise_sum(const double* values, size_t count);

// A number, or a boolean as 0 or 1. FAILS: kBadInput naming the aggregation.
double number_of(std::string_view aggregation, const Json& value);

}  // namespace evalmpi::task
