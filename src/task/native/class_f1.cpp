#include "class_f1.h"

#include <map>

#include "aggregations.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

struct ClassCounts {
  double golds = 0;
  double predictions = 0;
  double hits = 0;

  double f1() const { return golds + predictions == 0 ? 0 : 2 * hits / (golds + predictions); }
};

// By class, in the order of the classes.
std::map<Json, ClassCounts> count_classes(const std::vector<Json>& values) {
  std::map<Json, ClassCounts> counts;
  for (const Json& value : values) {
    if (!value.is_array() || value.size() != 2 || value[0].is_structured() || value[1].is_structured()) {
      fail(ExitCode::kBadInput, "the F1 of classes cannot take the value {}", text::python::repr(value));
    }
    counts[value[0]].golds += 1;
    counts[value[1]].predictions += 1;
    if (value[0] == value[1]) counts[value[0]].hits += 1;
  }
  return counts;
}

}  // namespace

std::vector<double> f1_of_classes(const std::vector<Json>& values) {
  std::vector<double> scores;
  for (const auto& [label, counts] : count_classes(values)) scores.push_back(counts.f1());
  return scores;
}

double macro_f1(const std::vector<Json>& values) {
  const std::vector<double> scores = f1_of_classes(values);
  return pairwise_sum(scores.data(), scores.size()) / static_cast<double>(scores.size());
}

double micro_f1(const std::vector<Json>& values) {
  ClassCounts all;
  for (const auto& [label, counts] : count_classes(values)) {
    all.golds += counts.golds;
    all.predictions += counts.predictions;
    all.hits += counts.hits;
  }
  return all.f1();
}

double weighted_f1(const std::vector<Json>& values) {
  std::vector<double> scores;
  for (const auto& [label, counts] : count_classes(values)) scores.push_back(counts.f1() * counts.golds);
  return pairwise_sum(scores.data(), scores.size()) / static_cast<double>(values.size());
}

// The mean F1 of the classes 0 and 2, whether they occur or not.
double basque_vaxx_f1(const std::vector<Json>& values) {
  const std::map<Json, ClassCounts> counts = count_classes(values);
  const auto score = [&](int label) {
    const auto found = counts.find(Json(label));
    return found == counts.end() ? 0.0 : found->second.f1();
  };
  return (score(0) + score(2)) / 2;
}

}  // namespace evalmpi::task::native
