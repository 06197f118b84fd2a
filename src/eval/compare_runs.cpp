#include "evalmpi/eval/compare_runs.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>
#include <utility>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"

namespace evalmpi::eval {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxLineBytes = size_t{256} << 20;

struct Sample {
  std::string doc_hash, prompt_hash;
  Json answers;                          // filtered_resps
  std::map<std::string, double> values;  // of the metrics that are one number
};

using Samples = std::map<std::string, std::map<int64_t, Sample>>;  // filter -> doc_id -> sample

std::string text_of(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_string() ? found->get<std::string>() : "";
}

std::map<std::string, double> values_of(const Json& line) {
  std::map<std::string, double> values;
  const auto names = line.find("metrics");
  if (names == line.end() || !names->is_array()) return values;
  for (const Json& name : *names) {
    if (!name.is_string()) continue;
    const auto value = line.find(name.get<std::string>());
    if (value == line.end()) continue;
    if (value->is_boolean()) values[name.get<std::string>()] = value->get<bool>() ? 1 : 0;
    if (value->is_number()) values[name.get<std::string>()] = value->get<double>();
  }
  return values;
}

void read_line(std::string_view text, const std::string& where, Samples& samples) {
  const Json line = parse_json(text, where);
  if (!line.is_object() || !line.contains("doc_id") || !line.at("doc_id").is_number_integer()) {
    fail(ExitCode::kBadInput, "{}: no sample: an object with a \"doc_id\" was expected", where);
  }
  const auto doc_id = line.at("doc_id").get<int64_t>();
  const std::string filter = line.contains("filter") ? text_of(line, "filter") : "none";
  Sample sample{text_of(line, "doc_hash"), text_of(line, "prompt_hash"), line.value("filtered_resps", Json()),
                values_of(line)};
  if (!samples[filter].emplace(doc_id, std::move(sample)).second) {
    fail(ExitCode::kBadInput, "{}: document {} comes twice under the filter {}", where, doc_id, filter);
  }
}

Samples read_samples(const fs::path& path) {
  const MappedFile file(path);
  std::string_view rest = file.bytes();
  Samples samples;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const std::string where = fmt::format("{}:{}", path.string(), number);
    if (line.size() > kMaxLineBytes)
      fail(ExitCode::kBadInput, "{}: the line is longer than {} bytes", where, kMaxLineBytes);
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.find_first_not_of(" \r\t") != std::string_view::npos) read_line(line, where, samples);
  }
  return samples;
}

// A number, or the text of one: samples hold log-likelihoods as text.
std::optional<double> number_of(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return std::nullopt;
  const std::string text = value.get<std::string>();
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (text.empty() || end != text.c_str() + text.size()) return std::nullopt;
  return number;
}

bool is_near(double a, double b, const model::Tolerance& tolerance) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return true;
  return std::isfinite(a) && std::isfinite(b) &&
         std::abs(a - b) <= tolerance.absolute + tolerance.relative * std::abs(b);
}

// A log-likelihood with its greedy flag: ["-3.5", "True"].
bool is_likelihood(const Json& answer) {
  return answer.is_array() && answer.size() == 2 && number_of(answer[0]) &&
         (answer[1].is_boolean() || answer[1] == "True" || answer[1] == "False");
}

// Whether two answers are the same within the tolerance; log-likelihoods' largest difference is noted.
bool same_answers(const Json& a, const Json& b, const model::Tolerance& tolerance, double& largest) {
  if (is_likelihood(a) && is_likelihood(b)) {
    const double x = *number_of(a[0]), y = *number_of(b[0]);
    if (x != y)
      largest = std::max(largest, std::isnan(x - y) ? std::numeric_limits<double>::infinity() : std::abs(x - y));
    return is_near(x, y, tolerance) && a[1] == b[1];
  }
  if (!a.is_array() || !b.is_array() || a.size() != b.size()) return a == b;
  bool same = true;
  for (size_t i = 0; i < a.size(); ++i) same = same_answers(a[i], b[i], tolerance, largest) && same;
  return same;
}

MetricComparison compare_metric(const std::string& metric, const std::vector<FlippedDocument>& pairs,
                                const model::Tolerance& tolerance) {
  MetricComparison result;
  result.metric = metric;
  result.documents = static_cast<int64_t>(pairs.size());
  result.is_binary = std::all_of(pairs.begin(), pairs.end(), [](const FlippedDocument& pair) {
    return (pair.a == 0 || pair.a == 1) && (pair.b == 0 || pair.b == 1);
  });
  std::vector<double> differences;
  double sum_a = 0, sum_b = 0;
  for (const FlippedDocument& pair : pairs) {
    sum_a += pair.a;
    sum_b += pair.b;
    differences.push_back(pair.a - pair.b);
    if (is_near(pair.a, pair.b, tolerance)) continue;
    result.flipped.push_back(pair);
    (pair.a > pair.b ? result.only_a : result.only_b) += 1;
  }
  result.mean_a = sum_a / static_cast<double>(pairs.size());
  result.mean_b = sum_b / static_cast<double>(pairs.size());
  result.paired_standard_error = standard_error_of_mean(differences);
  if (result.is_binary) result.mcnemar_p = mcnemar_exact_p(result.only_a, result.only_b);
  return result;
}

TaskComparison compare_filter(const std::map<int64_t, Sample>& a, const std::map<int64_t, Sample>& b,
                              const model::Tolerance& tolerance) {
  TaskComparison result;
  std::map<std::string, std::vector<FlippedDocument>> pairs_of;
  for (const auto& [doc_id, sample] : b) {
    if (!a.contains(doc_id)) result.only_in_b.push_back(doc_id);
  }
  for (const auto& [doc_id, in_a] : a) {
    const auto found = b.find(doc_id);
    if (found == b.end()) {
      result.only_in_a.push_back(doc_id);
      continue;
    }
    const Sample& in_b = found->second;
    if (in_a.doc_hash != in_b.doc_hash) {
      result.other_documents.push_back(doc_id);
      continue;
    }
    ++result.documents;
    result.other_prompts += in_a.prompt_hash != in_b.prompt_hash ? 1 : 0;
    const bool same = same_answers(in_a.answers, in_b.answers, tolerance, result.max_loglikelihood_difference);
    result.other_answers += same ? 0 : 1;
    for (const auto& [metric, value] : in_a.values) {
      const auto other = in_b.values.find(metric);
      if (other != in_b.values.end()) pairs_of[metric].push_back({doc_id, value, other->second});
    }
  }
  for (const auto& [metric, pairs] : pairs_of) result.metrics.push_back(compare_metric(metric, pairs, tolerance));
  return result;
}

// "samples_TASK_2026-01-02T03-04-05.678901.jsonl" as task and time; nothing for other names.
std::optional<std::pair<std::string, std::string>> task_and_time(const std::string& name) {
  const std::string prefix = "samples_", suffix = ".jsonl";
  if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() < prefix.size() + suffix.size())
    return std::nullopt;
  const std::string middle = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  const size_t border = middle.rfind('_');
  if (border == std::string::npos || border == 0) return std::nullopt;
  const std::string time = middle.substr(border + 1);
  const bool is_time = time.size() >= 19 && time[4] == '-' && time[10] == 'T' &&
                       time.find_first_not_of("0123456789-T.") == std::string::npos;
  if (!is_time) return std::nullopt;
  return std::pair(middle.substr(0, border), time);
}

std::map<std::string, fs::path> samples_in(const fs::path& folder) {
  std::map<std::string, std::string> newest;
  std::map<std::string, fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto parts = task_and_time(entry.path().filename().string());
    if (!parts) continue;
    const auto& [task, time] = *parts;
    if (newest.contains(task) && newest[task] > time) continue;
    newest[task] = time;
    files[task] = entry.path();
  }
  return files;
}

std::map<std::string, fs::path> needed_samples(const fs::path& folder) {
  std::map<std::string, fs::path> files = find_samples(folder);
  if (files.empty()) {
    fail(ExitCode::kMissingInput,
         "{}: no samples_TASK_TIME.jsonl; run evalmpi eval without --no-log-samples (lm_eval: with --log_samples)",
         folder.string());
  }
  return files;
}

}  // namespace

bool TaskComparison::differs() const {
  return !only_in_a.empty() || !only_in_b.empty() || !other_documents.empty() || other_prompts > 0 ||
         other_answers > 0 || std::any_of(metrics.begin(), metrics.end(), [](const MetricComparison& metric) {
           return !metric.flipped.empty();
         });
}

bool RunComparison::differs() const {
  return !tasks_only_in_a.empty() || !tasks_only_in_b.empty() ||
         std::any_of(tasks.begin(), tasks.end(), [](const TaskComparison& task) { return task.differs(); });
}

std::map<std::string, fs::path> find_samples(const fs::path& folder) {
  if (!fs::is_directory(folder)) return {};
  std::map<std::string, fs::path> files = samples_in(folder);
  if (!files.empty()) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.is_directory()) continue;
    std::map<std::string, fs::path> below = samples_in(entry.path());
    if (!below.empty() && !files.empty()) {
      fail(ExitCode::kUsage, "{}: several folders below it hold samples; name one of them", folder.string());
    }
    if (!below.empty()) files = std::move(below);
  }
  return files;
}

RunComparison compare_runs(const fs::path& a, const fs::path& b, const model::Tolerance& tolerance) {
  const auto files_a = needed_samples(a), files_b = needed_samples(b);
  RunComparison result;
  for (const auto& [task, path] : files_b) {
    if (!files_a.contains(task)) result.tasks_only_in_b.push_back(task);
  }
  for (const auto& [task, path] : files_a) {
    if (!files_b.contains(task)) {
      result.tasks_only_in_a.push_back(task);
      continue;
    }
    Samples in_a = read_samples(path), in_b = read_samples(files_b.at(task));
    std::set<std::string> filters;
    for (const auto& [filter, samples] : in_a) filters.insert(filter);
    for (const auto& [filter, samples] : in_b) filters.insert(filter);
    for (const std::string& filter : filters) {
      TaskComparison compared = compare_filter(in_a[filter], in_b[filter], tolerance);
      compared.task = task;
      compared.filter = filter;
      result.tasks.push_back(std::move(compared));
    }
  }
  return result;
}

double mcnemar_exact_p(int64_t only_a, int64_t only_b) {
  const int64_t n = only_a + only_b;
  const double log_half_n = static_cast<double>(n) * std::log(0.5);
  double tail = 0;
  for (int64_t k = 0; k <= std::min(only_a, only_b); ++k) {
    const auto at = [](int64_t x) { return std::lgamma(static_cast<double>(x) + 1); };
    tail += std::exp(at(n) - at(k) - at(n - k) + log_half_n);
  }
  return std::min(1.0, 2 * tail);
}

std::optional<double> standard_error_of_mean(const std::vector<double>& differences) {
  const auto n = static_cast<double>(differences.size());
  if (differences.size() < 2) return std::nullopt;
  double mean = 0, squares = 0;
  for (const double difference : differences) mean += difference / n;
  for (const double difference : differences) squares += (difference - mean) * (difference - mean);
  return std::sqrt(squares / (n - 1) / n);
}

}  // namespace evalmpi::eval
