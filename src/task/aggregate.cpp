#include "evalmpi/task/aggregate.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "evalmpi/base/error.h"
#include "evalmpi/task/python_random.h"
#include "evalmpi/text/python.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

constexpr double kBypassed = 999;

// Values of one metric in the form that its aggregation needs, so that resampling moves only positions.
struct Items {
  std::vector<double> first;   // the number, the log-likelihood, or gold
  std::vector<double> second;  // the weight, or the prediction
};

[[noreturn]] void misfit(std::string_view aggregation, const Json& value) {
  fail(ExitCode::kBadInput, "the aggregation {} cannot take the value {}", aggregation, py::repr(value));
}

double number(std::string_view aggregation, const Json& value) {
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (!value.is_number()) misfit(aggregation, value);
  return value.get<double>();
}

bool takes_pairs(std::string_view aggregation) {
  return aggregation == "weighted_perplexity" || aggregation == "bits_per_byte" || aggregation == "f1" ||
         aggregation == "matthews_corrcoef";
}

Items make_items(std::string_view aggregation, const std::vector<Json>& values) {
  Items items;
  for (const Json& value : values) {
    if (!takes_pairs(aggregation)) {
      items.first.push_back(number(aggregation, value));
      continue;
    }
    if (!value.is_array() || value.size() != 2) misfit(aggregation, value);
    items.first.push_back(number(aggregation, value[0]));
    items.second.push_back(number(aggregation, value[1]));
  }
  return items;
}

// The items at some positions, in that order: all of them, or a resample.
using Positions = std::vector<int32_t>;

double sum_of(const std::vector<double>& values, const Positions& positions) {
  double sum = 0;
  for (const int32_t position : positions) sum += values[static_cast<size_t>(position)];
  return sum;
}

double median(const Items& items, const Positions& positions) {
  std::vector<double> sorted;
  for (const int32_t position : positions) sorted.push_back(items.first[static_cast<size_t>(position)]);
  const auto middle = sorted.begin() + static_cast<ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

double nan_mean(const Items& items, const Positions& positions) {
  double sum = 0;
  size_t count = 0;
  for (const int32_t position : positions) {
    const double value = items.first[static_cast<size_t>(position)];
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return sum / static_cast<double>(count);
}

// F1 of the class 1 among classes 0 and 1; 0 where it is undefined.
double binary_f1(const Items& items, const Positions& positions) {
  double hits = 0;
  double misses = 0;
  for (const int32_t position : positions) {
    const double gold = items.first[static_cast<size_t>(position)];
    const double prediction = items.second[static_cast<size_t>(position)];
    if ((gold != 0 && gold != 1) || (prediction != 0 && prediction != 1)) {
      fail(ExitCode::kBadInput, "the aggregation f1 takes the classes 0 and 1 only, not {} and {}", gold, prediction);
    }
    if (gold == 1 && prediction == 1) ++hits;
    if (gold != prediction) ++misses;
  }
  return hits == 0 ? 0.0 : 2 * hits / (2 * hits + misses);
}

// Matthews' coefficient for any number of classes: covariance of gold and prediction over the root of the product of
// their variances, all in counts (Gorodkin 2004); 0 where one of them is constant.
double matthews(const Items& items, const Positions& positions) {
  std::map<double, double> golds;
  std::map<double, double> predictions;
  double right = 0;
  for (const int32_t position : positions) {
    const double gold = items.first[static_cast<size_t>(position)];
    const double prediction = items.second[static_cast<size_t>(position)];
    golds[gold] += 1;
    predictions[prediction] += 1;
    if (gold == prediction) ++right;
  }
  const auto total = static_cast<double>(positions.size());
  double both = 0;
  double gold_squares = 0;
  double prediction_squares = 0;
  for (const auto& [value, count] : golds) {
    gold_squares += count * count;
    if (const auto found = predictions.find(value); found != predictions.end()) both += count * found->second;
  }
  for (const auto& [value, count] : predictions) prediction_squares += count * count;
  const double scale = (total * total - prediction_squares) * (total * total - gold_squares);
  return scale == 0 ? 0.0 : (right * total - both) / std::sqrt(scale);
}

double aggregate_items(std::string_view aggregation, const Items& items, const Positions& positions) {
  const auto count = static_cast<double>(positions.size());
  if (aggregation == "mean") return sum_of(items.first, positions) / count;
  if (aggregation == "perplexity") return std::exp(-(sum_of(items.first, positions) / count));
  if (aggregation == "median") return median(items, positions);
  if (aggregation == "nanmean") return nan_mean(items, positions);
  if (aggregation == "f1") return binary_f1(items, positions);
  if (aggregation == "matthews_corrcoef") return matthews(items, positions);
  const double weighted = sum_of(items.first, positions) / sum_of(items.second, positions);
  if (aggregation == "weighted_perplexity") return std::exp(-weighted);
  EVALMPI_CHECK(aggregation == "bits_per_byte");
  return -weighted / std::log(2.0);
}

double brier_score(const std::vector<Json>& values) {
  double sum = 0;
  for (const Json& value : values) {
    if (!value.is_array() || value.size() != 2 || !value[0].is_number_integer() || !value[1].is_array()) {
      misfit("brier_score", value);
    }
    const int64_t gold = value[0].get<int64_t>();
    const auto n_classes = static_cast<int64_t>(value[1].size());
    if (value[1].size() != values[0][1].size() || gold >= n_classes || gold < -n_classes) misfit("brier_score", value);
    const int64_t right = gold < 0 ? gold + n_classes : gold;
    for (int64_t k = 0; k < n_classes; ++k) {
      const double distance = value[1][static_cast<size_t>(k)].get<double>() - (k == right ? 1 : 0);
      sum += distance * distance;
    }
  }
  return sum / static_cast<double>(values.size());
}

bool is_bootstrapped(std::string_view aggregation) {
  return aggregation == "median" || aggregation == "nanmean" || aggregation == "perplexity" || aggregation == "f1" ||
         aggregation == "matthews_corrcoef";
}

double sample_deviation(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) sum += value;
  const double mean = sum / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (count - 1));
}

double bootstrap_error(std::string_view aggregation, const Items& items, int64_t iterations, int threads) {
  const auto size = static_cast<int64_t>(items.first.size());
  const int64_t chunk_size = std::min<int64_t>(1000, iterations);
  const int64_t n_chunks = iterations / chunk_size;
  std::vector<double> replicates(static_cast<size_t>(n_chunks * chunk_size));
  std::atomic<int64_t> next_chunk = 0;
  const auto work = [&] {
    Positions positions(static_cast<size_t>(size));
    for (int64_t chunk = next_chunk++; chunk < n_chunks; chunk = next_chunk++) {
      PythonRandom random(chunk);
      for (int64_t i = 0; i < chunk_size; ++i) {
        random.choices(size, positions);
        replicates[static_cast<size_t>(chunk * chunk_size + i)] = aggregate_items(aggregation, items, positions);
      }
    }
  };
  std::vector<std::jthread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  others.clear();
  return sample_deviation(replicates);
}

Positions all_positions(size_t count) {
  Positions positions(count);
  std::iota(positions.begin(), positions.end(), 0);
  return positions;
}

}  // namespace

bool is_aggregation(std::string_view name) {
  return name == "mean" || name == "weighted_perplexity" || name == "bits_per_byte" || name == "brier_score" ||
         name == "bypass" || is_bootstrapped(name);
}

double aggregate(std::string_view aggregation, const std::vector<Json>& values) {
  EVALMPI_CHECK(is_aggregation(aggregation));
  if (values.empty()) fail(ExitCode::kBadInput, "the aggregation {} has no values to take", aggregation);
  if (aggregation == "bypass") return kBypassed;
  if (aggregation == "brier_score") return brier_score(values);
  return aggregate_items(aggregation, make_items(aggregation, values), all_positions(values.size()));
}

std::optional<double> standard_error(std::string_view aggregation, const std::vector<Json>& values,
                                     int64_t bootstrap_iterations, int threads) {
  if (values.size() <= 1 || bootstrap_iterations <= 0) return {};
  if (aggregation == "mean") {
    const Items items = make_items(aggregation, values);
    return sample_deviation(items.first) / std::sqrt(static_cast<double>(values.size()));
  }
  if (!is_bootstrapped(aggregation)) return {};
  return bootstrap_error(aggregation, make_items(aggregation, values), bootstrap_iterations, threads);
}

const MetricResult* TaskResult::find(std::string_view metric, std::string_view filter) const {
  for (const MetricResult& result : metrics) {
    if (result.metric == metric && result.filter == filter) return &result;
  }
  return nullptr;
}

void ScoreTable::add(const std::vector<FilterScores>& document) {
  for (const FilterScores& scores : document) {
    for (const auto& [metric, value] : scores.metrics) {
      auto column = std::find_if(columns_.begin(), columns_.end(), [&](const Column& existing) {
        return existing.metric == metric && existing.filter == scores.filter;
      });
      if (column == columns_.end()) column = columns_.insert(columns_.end(), {metric, scores.filter, {}});
      column->values.push_back(value);
    }
  }
}

TaskResult ScoreTable::result(const TaskConfig& config, int64_t bootstrap_iterations, int threads) const {
  TaskResult result;
  result.name = config.name;
  result.alias = config.alias;
  // By filter as the file lists them, whatever order a document's first values came in.
  for (const FilterConfig& filter : config.filters) {
    for (const Column& column : columns_) {
      if (column.filter != filter.name) continue;
      const auto metric = std::find_if(config.metrics.begin(), config.metrics.end(),
                                       [&](const MetricConfig& known) { return known.name == column.metric; });
      const std::string aggregation = metric == config.metrics.end() ? "mean" : metric->aggregation;
      MetricResult row;
      row.metric = column.metric;
      row.filter = column.filter;
      row.value = aggregate(aggregation, column.values);
      row.standard_error = standard_error(aggregation, column.values, bootstrap_iterations, threads);
      row.n_values = static_cast<int64_t>(column.values.size());
      result.n_documents = std::max(result.n_documents, row.n_values);
      result.metrics.push_back(std::move(row));
    }
  }
  return result;
}

namespace {

// One metric and filter over the tasks that have it.
std::optional<MetricResult> pool(const GroupMetric& metric, const std::string& filter,
                                 const std::vector<const TaskResult*>& tasks) {
  MetricResult row;
  row.metric = metric.metric;
  row.filter = filter;
  double weighted = 0;
  double weights = 0;
  double pooled = 0;
  double squares = 0;
  int64_t n_tasks = 0;
  bool all_have_errors = true;
  for (const TaskResult* task : tasks) {
    const MetricResult* part = task->find(metric.metric, filter);
    if (part == nullptr) continue;
    const auto size = static_cast<double>(task->n_documents);
    const double weight = metric.weight_by_size ? size : 1;
    weighted += part->value * weight;
    weights += weight;
    row.n_values += task->n_documents;
    ++n_tasks;
    all_have_errors = all_have_errors && part->standard_error.has_value();
    const double error = part->standard_error.value_or(0);
    pooled += (size - 1) * (error * error) * size;
    squares += error * error;
  }
  if (n_tasks == 0) return {};
  row.value = weighted / weights;
  const auto total = static_cast<double>(row.n_values);
  if (all_have_errors && metric.weight_by_size) {
    row.standard_error = std::sqrt(pooled / (total - static_cast<double>(n_tasks)) / total);
  } else if (all_have_errors) {
    row.standard_error = std::sqrt(squares) / static_cast<double>(n_tasks);
  }
  return row;
}

std::vector<std::string> filters_of(const std::string& metric, const std::vector<const TaskResult*>& tasks) {
  std::set<std::string> names;
  for (const TaskResult* task : tasks) {
    for (const MetricResult& result : task->metrics) {
      if (result.metric == metric) names.insert(result.filter);
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace

TaskResult aggregate_group(const GroupConfig& group, const std::vector<TaskResult>& tasks) {
  TaskResult result;
  result.name = group.name;
  result.alias = group.alias;
  result.is_group = true;
  std::vector<const TaskResult*> members;
  for (const std::string& name : group.tasks) {
    const auto task =
        std::find_if(tasks.begin(), tasks.end(), [&](const auto& t) { return t.name == name && !t.is_group; });
    if (task == tasks.end()) continue;
    members.push_back(&*task);
    result.n_documents += task->n_documents;
  }
  for (const GroupMetric& metric : group.metrics) {
    for (const std::string& filter : metric.filters.value_or(filters_of(metric.metric, members))) {
      if (const std::optional<MetricResult> row = pool(metric, filter, members)) result.metrics.push_back(*row);
    }
  }
  return result;
}

}  // namespace evalmpi::task
