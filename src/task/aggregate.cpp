#include "evalmpi/task/aggregate.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <thread>

#include "aggregations.h"
#include "corpus_metrics.h"
#include "evalmpi/base/error.h"
#include "evalmpi/task/python_random.h"

namespace evalmpi::task {
namespace {

// sacrebleu's metrics are resampled less often than others.
constexpr int64_t kMaxCorpusIterations = 100;
constexpr int64_t kResamplesPerSeed = 1000;

double sample_deviation(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) sum += value;
  const double mean = sum / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (count - 1));
}

double bootstrap_error(const Aggregation& aggregation, const std::vector<Json>& values, int64_t iterations,
                       int threads) {
  const auto size = static_cast<int64_t>(values.size());
  const auto aggregate_positions = aggregation.prepare(values);
  const int64_t chunk_size = std::min(kResamplesPerSeed, iterations);
  const int64_t n_chunks = iterations / chunk_size;
  std::vector<double> replicates(static_cast<size_t>(n_chunks * chunk_size));
  std::atomic<int64_t> next_chunk = 0;
  const auto work = [&] {
    Positions positions(static_cast<size_t>(size));
    for (int64_t chunk = next_chunk++; chunk < n_chunks; chunk = next_chunk++) {
      PythonRandom random(chunk);
      for (int64_t i = 0; i < chunk_size; ++i) {
        random.choices(size, positions);
        replicates[static_cast<size_t>(chunk * chunk_size + i)] = aggregate_positions(positions);
      }
    }
  };
  std::vector<std::jthread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  others.clear();
  return sample_deviation(replicates);
}

}  // namespace

bool is_aggregation(std::string_view name) { return find_aggregation(name) != nullptr; }

double aggregate(std::string_view aggregation, const std::vector<Json>& values) {
  const Aggregation* row = find_aggregation(aggregation);
  EVALMPI_CHECK(row != nullptr);
  if (values.empty()) fail(ExitCode::kBadInput, "the aggregation {} has no values to take", aggregation);
  return row->prepare(values)(all_positions(values.size()));
}

std::optional<double> standard_error(std::string_view aggregation, const std::vector<Json>& values,
                                     int64_t bootstrap_iterations, int threads) {
  const Aggregation* row = find_aggregation(aggregation);
  if (values.size() <= 1 || bootstrap_iterations <= 0 || row == nullptr) return {};
  switch (row->error) {
    case Aggregation::Error::kNone: return {};
    case Aggregation::Error::kBootstrap: return bootstrap_error(*row, values, bootstrap_iterations, threads);
    case Aggregation::Error::kOfMean: break;
  }
  std::vector<double> numbers;
  for (const Json& value : values) numbers.push_back(number_of(aggregation, value));
  return sample_deviation(numbers) / std::sqrt(static_cast<double>(values.size()));
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
      const int64_t iterations = find_corpus_metric(column.metric) != nullptr
                                     ? std::min(bootstrap_iterations, kMaxCorpusIterations)
                                     : bootstrap_iterations;
      MetricResult row;
      row.metric = column.metric;
      row.filter = column.filter;
      if (metric != config.metrics.end() && metric->own_aggregation != nullptr) {
        row.value = metric->own_aggregation(column.values);
      } else {
        row.value = aggregate(aggregation, column.values);
        row.standard_error = standard_error(aggregation, column.values, iterations, threads);
      }
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
