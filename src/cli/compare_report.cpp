#include "compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace evalmpi::cli {
namespace {

// Cells as aligned columns, the first one left, the others right.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += i == 0 ? fmt::format("{:<{}}", row[i], widths[i]) : fmt::format("  {:>{}}", row[i], widths[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string number(double value) { return fmt::format("{:.3e}", value); }

// JSON has no infinity; a text says it.
Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(fmt::format("{}", value)); }

Json to_json(const model::Difference& difference) {
  return {{"values", difference.count},
          {"beyond_tolerance", difference.outside},
          {"max_absolute", json_number(difference.max_absolute)},
          {"mean_absolute", json_number(difference.mean_absolute())},
          {"max_relative", json_number(difference.max_relative)},
          {"mean_relative", json_number(difference.mean_relative())}};
}

std::vector<std::string> cells_of(const std::string& name, const model::Difference& difference) {
  return {name,
          number(difference.max_absolute),
          number(difference.mean_absolute()),
          number(difference.max_relative),
          number(difference.mean_relative()),
          fmt::format("{}/{}", difference.outside, difference.count)};
}

const std::vector<std::string> kDifferenceHeader = {"", "max |a-b|", "mean |a-b|", "max rel", "mean rel", "beyond"};

std::string shape_text(const std::string& dtype, const std::vector<int64_t>& shape) {
  return dtype.empty() ? "-" : fmt::format("{}{}", dtype, Json(shape).dump());
}

std::string joined(const std::vector<int64_t>& ids, int most) {
  std::string text;
  for (size_t i = 0; i < std::min(ids.size(), static_cast<size_t>(most)); ++i) text += fmt::format(" {}", ids[i]);
  return ids.size() > static_cast<size_t>(most) ? text + " ..." : text;
}

void report_unpaired(const eval::TaskComparison& task, int show, ComparisonReport& report) {
  const std::string name = task.task + ", " + task.filter;
  const auto list = [&](const char* what, const std::vector<int64_t>& ids) {
    if (!ids.empty()) report.text += fmt::format("{}: {} documents {}:{}\n", name, ids.size(), what, joined(ids, show));
  };
  list("only in A", task.only_in_a);
  list("only in B", task.only_in_b);
  list("are others under the same id and not compared", task.other_documents);
  if (task.other_prompts > 0)
    report.text += fmt::format("{}: {} of {} prompts differ\n", name, task.other_prompts, task.documents);
  if (task.other_answers > 0) {
    report.text += fmt::format("{}: {} of {} answers differ; largest difference of a log-likelihood {}\n", name,
                               task.other_answers, task.documents, number(task.max_loglikelihood_difference));
  }
}

Json to_json(const eval::MetricComparison& metric, int show) {
  Json flipped = Json::array();
  for (size_t i = 0; i < std::min(metric.flipped.size(), static_cast<size_t>(show)); ++i) {
    flipped.push_back({{"doc_id", metric.flipped[i].doc_id}, {"a", metric.flipped[i].a}, {"b", metric.flipped[i].b}});
  }
  Json json = {
      {"metric", metric.metric},
      {"documents", metric.documents},
      {"a", metric.mean_a},
      {"b", metric.mean_b},
      {"difference", metric.difference()},
      {"paired_standard_error", metric.paired_standard_error ? Json(*metric.paired_standard_error) : Json(nullptr)},
      {"differing_documents", metric.flipped.size()},
      {"flipped", flipped}};
  if (metric.is_binary) {
    json["only_a"] = metric.only_a;
    json["only_b"] = metric.only_b;
    json["mcnemar_p"] = metric.mcnemar_p;
  }
  return json;
}

}  // namespace

void report_weights(const std::vector<model::TensorComparison>& all, int show, ComparisonReport& report) {
  using Where = model::TensorComparison::Where;
  std::vector<const model::TensorComparison*> values, unlike;
  Json tensors = Json::array();
  size_t equal = 0, other_dtype = 0;
  for (const model::TensorComparison& tensor : all) {
    Json entry = {{"name", tensor.name},
                  {"in", tensor.where == Where::kBoth      ? "both"
                         : tensor.where == Where::kOnlyInA ? "a"
                                                           : "b"},
                  {"dtype_a", tensor.dtype_a},
                  {"dtype_b", tensor.dtype_b},
                  {"shape_a", tensor.shape_a},
                  {"shape_b", tensor.shape_b},
                  {"differs", tensor.differs()}};
    if (tensor.has_values()) entry["difference"] = to_json(tensor.difference);
    tensors.push_back(std::move(entry));
    other_dtype += tensor.where == Where::kBoth && tensor.dtype_a != tensor.dtype_b ? 1 : 0;
    equal += tensor.differs() ? 0 : 1;
    if (!tensor.has_values()) {
      unlike.push_back(&tensor);
    } else if (tensor.differs()) {
      values.push_back(&tensor);
    }
  }
  report.json["weights"] = std::move(tensors);
  report.differs = report.differs || equal != all.size();
  report.text +=
      fmt::format("weights: {} tensors, {} equal, {} of other values, {} without a counterpart; {} of another dtype\n",
                  all.size(), equal, values.size(), unlike.size(), other_dtype);
  std::vector<std::vector<std::string>> rows;
  const auto shown = [&](const auto& list) { return std::min(list.size(), static_cast<size_t>(show)); };
  for (size_t i = 0; i < shown(unlike); ++i) {
    rows.push_back({unlike[i]->name, "A " + shape_text(unlike[i]->dtype_a, unlike[i]->shape_a),
                    "B " + shape_text(unlike[i]->dtype_b, unlike[i]->shape_b)});
  }
  report.text += table(rows);
  std::stable_sort(values.begin(), values.end(), [](const auto* x, const auto* y) {
    return x->difference.max_absolute > y->difference.max_absolute;
  });
  rows = {kDifferenceHeader};
  for (size_t i = 0; i < shown(values); ++i) rows.push_back(cells_of(values[i]->name, values[i]->difference));
  if (rows.size() > 1) report.text += table(rows);
}

void report_outputs(const model::OutputComparison& outputs, int show, ComparisonReport& report) {
  Json json = {{"positions", outputs.positions}, {"hidden", Json::array()}};
  std::vector<std::vector<std::string>> rows = {kDifferenceHeader};
  for (size_t layer = 0; layer < outputs.hidden.size(); ++layer) {
    rows.push_back(cells_of(layer == 0 ? "embedding" : fmt::format("layer {}", layer - 1), outputs.hidden[layer]));
    json["hidden"].push_back(to_json(outputs.hidden[layer]));
  }
  if (outputs.has_logits) rows.push_back(cells_of("logits", outputs.logits));
  report.text += "\noutputs:\n" + table(rows);
  if (!outputs.has_hidden) report.text += "hidden states are not compared: the models' layers or widths differ\n";
  if (!outputs.has_logits) report.text += "logits are not compared: the models' vocabularies differ\n";
  if (outputs.has_logits) {
    json["logits"] = to_json(outputs.logits);
    json["mean_kl"] = outputs.mean_kl;
    json["max_kl"] = outputs.max_kl;
    json["argmax_flips"] = outputs.flips.size();
    json["flips"] = Json::array();
    report.text +=
        fmt::format("KL(A || B): mean {}, max {} nats; argmax differs at {} of {} positions\n", number(outputs.mean_kl),
                    number(outputs.max_kl), outputs.flips.size(), outputs.positions);
  }
  for (size_t i = 0; i < std::min(outputs.flips.size(), static_cast<size_t>(show)); ++i) {
    const model::ArgmaxFlip& flip = outputs.flips[i];
    json["flips"].push_back({{"sequence", flip.sequence},
                             {"position", flip.position},
                             {"token_a", flip.token_a},
                             {"token_b", flip.token_b},
                             {"margin_a", flip.margin_a},
                             {"margin_b", flip.margin_b}});
    report.text += fmt::format("  sequence {}, position {}: A {} (by {}), B {} (by {})\n", flip.sequence, flip.position,
                               flip.token_a, number(flip.margin_a), flip.token_b, number(flip.margin_b));
  }
  report.json["outputs"] = std::move(json);
  report.differs = report.differs || outputs.differs();
}

ComparisonReport report_runs(const eval::RunComparison& runs, int show) {
  ComparisonReport report;
  report.differs = runs.differs();
  report.json = {{"kind", "runs"},
                 {"tasks_only_in_a", runs.tasks_only_in_a},
                 {"tasks_only_in_b", runs.tasks_only_in_b},
                 {"tasks", Json::array()}};
  std::vector<std::vector<std::string>> rows = {
      {"task, filter", "metric", "n", "A", "B", "A-B", "paired stderr", "A>B", "B>A", "McNemar p"}};
  std::string flipped;
  for (const eval::TaskComparison& task : runs.tasks) {
    Json metrics = Json::array();
    for (const eval::MetricComparison& metric : task.metrics) {
      metrics.push_back(to_json(metric, show));
      rows.push_back({task.task + ", " + task.filter, metric.metric, fmt::format("{}", metric.documents),
                      fmt::format("{:.4f}", metric.mean_a), fmt::format("{:.4f}", metric.mean_b),
                      fmt::format("{:+.4f}", metric.difference()),
                      metric.paired_standard_error ? fmt::format("{:.4f}", *metric.paired_standard_error) : "N/A",
                      fmt::format("{}", metric.only_a), fmt::format("{}", metric.only_b),
                      metric.is_binary ? fmt::format("{:.4g}", metric.mcnemar_p) : "N/A"});
      for (size_t i = 0; i < std::min(metric.flipped.size(), static_cast<size_t>(show)); ++i) {
        flipped += fmt::format("  {}, {}, {}: document {}: A {} B {}\n", task.task, task.filter, metric.metric,
                               metric.flipped[i].doc_id, metric.flipped[i].a, metric.flipped[i].b);
      }
    }
    report.json["tasks"].push_back({{"task", task.task},
                                    {"filter", task.filter},
                                    {"documents", task.documents},
                                    {"only_in_a", task.only_in_a},
                                    {"only_in_b", task.only_in_b},
                                    {"other_documents", task.other_documents},
                                    {"other_prompts", task.other_prompts},
                                    {"other_answers", task.other_answers},
                                    {"max_loglikelihood_difference", json_number(task.max_loglikelihood_difference)},
                                    {"metrics", metrics}});
  }
  report.text = table(rows);
  for (const std::string& task : runs.tasks_only_in_a) report.text += fmt::format("{}: only in A\n", task);
  for (const std::string& task : runs.tasks_only_in_b) report.text += fmt::format("{}: only in B\n", task);
  for (const eval::TaskComparison& task : runs.tasks) report_unpaired(task, show, report);
  if (!flipped.empty()) report.text += "documents that differ:\n" + flipped;
  return report;
}

}  // namespace evalmpi::cli
