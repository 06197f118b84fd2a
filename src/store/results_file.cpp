#include "evalmpi/store/results_file.h"

#include <algorithm>
#include <string_view>

#include "evalmpi/base/error.h"
#include "h5.h"

namespace evalmpi::store {
namespace {

constexpr const char* kFormat = "evalmpi-results";
constexpr int64_t kVersion = 1;

std::vector<uint64_t> flatten(const std::vector<Hash128>& keys) {
  std::vector<uint64_t> words;
  words.reserve(2 * keys.size());
  for (const Hash128& key : keys) {
    words.push_back(key.high);
    words.push_back(key.low);
  }
  return words;
}

std::vector<Hash128> unflatten(const std::vector<uint64_t>& words) {
  std::vector<Hash128> keys(words.size() / 2);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = {words[2 * i], words[2 * i + 1]};
  return keys;
}

// The datasets of a task in the file's order: visit(path, column). The one list that writing and reading share.
template <typename Task, typename Visit, typename VisitKeys>
void for_each_column(Task& task, const std::string& group, Visit&& visit, VisitKeys&& visit_keys) {
  visit(group + "/documents/doc_id", task.documents.doc_id);
  visit(group + "/documents/doc_hash", task.documents.doc_hash);
  visit(group + "/documents/target", task.documents.target);
  const std::string requests = group + "/requests/";
  visit(requests + "doc", task.requests.doc);
  visit(requests + "index", task.requests.index);
  visit(requests + "repeat", task.requests.repeat);
  visit_keys(requests + "key", task.requests.key);
  visit(requests + "logprob", task.requests.logprob);
  visit(requests + "is_greedy", task.requests.is_greedy);
  visit(requests + "token_count", task.requests.token_count);
  visit(requests + "token_offset", task.requests.token_offset);
  visit(requests + "token_logprob", task.requests.token_logprob);
  visit(requests + "token_is_argmax", task.requests.token_is_argmax);
  visit(requests + "text", task.requests.text);
  visit(requests + "prompt_tokens", task.requests.prompt_tokens);
  visit(requests + "finish", task.requests.finish);
  visit(requests + "numerics_class", task.requests.numerics_class);
  visit(group + "/numerics_classes", task.numerics_classes);
  const std::string metrics = group + "/metrics/";
  visit(metrics + "name", task.metrics.name);
  visit(metrics + "filter", task.metrics.filter);
  visit(metrics + "value", task.metrics.value);
  visit(metrics + "stderr", task.metrics.standard_error);
  visit(metrics + "higher_is_better", task.metrics.higher_is_better);
}

template <typename Table, typename Visit>
void for_each_timing(Table& timings, const std::string& group, Visit&& visit) {
  visit(group + "/row", timings.row);
  visit(group + "/first_token_seconds", timings.first_token_seconds);
  visit(group + "/mean_gap_seconds", timings.mean_gap_seconds);
  visit(group + "/max_gap_seconds", timings.max_gap_seconds);
}

bool is_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

// Whether the columns of each table have one length and the token rows are covered.
bool is_consistent(const TaskResults& task) {
  const auto all_equal = [](std::initializer_list<size_t> sizes) {
    for (const size_t size : sizes) {
      if (size != *sizes.begin()) return false;
    }
    return true;
  };
  const DocumentTable& d = task.documents;
  const RequestTable& r = task.requests;
  const MetricTable& m = task.metrics;
  if (!all_equal({d.doc_id.size(), d.doc_hash.size(), d.target.size()})) return false;
  if (!all_equal({r.doc.size(), r.index.size(), r.repeat.size(), r.key.size(), r.logprob.size(), r.is_greedy.size(),
                  r.token_count.size(), r.text.size(), r.prompt_tokens.size(), r.finish.size(),
                  r.numerics_class.size()})) {
    return false;
  }
  const TimingTable& t = task.timings;
  if (!all_equal({t.row.size(), t.first_token_seconds.size(), t.mean_gap_seconds.size(), t.max_gap_seconds.size()})) {
    return false;
  }
  for (const int32_t row : t.row) {
    if (row < 0 || static_cast<size_t>(row) >= r.doc.size()) return false;
  }
  if (!all_equal(
          {m.name.size(), m.filter.size(), m.value.size(), m.standard_error.size(), m.higher_is_better.size()})) {
    return false;
  }
  if (r.token_offset.size() != r.doc.size() + 1 || r.token_offset.front() != 0) return false;
  for (size_t i = 0; i < r.doc.size(); ++i) {
    if (r.token_offset[i + 1] < r.token_offset[i]) return false;
    if (r.doc[i] < 0 || static_cast<size_t>(r.doc[i]) >= d.doc_id.size()) return false;
    if (r.numerics_class[i] < -1 || r.numerics_class[i] >= static_cast<int64_t>(task.numerics_classes.size()))
      return false;
  }
  const auto num_token_rows = static_cast<size_t>(r.token_offset.back());
  return r.token_logprob.size() == num_token_rows && r.token_is_argmax.size() == num_token_rows;
}

void write_task(h5::Writer& file, const TaskResults& task) {
  EVALMPI_CHECK(is_name(task.name));
  EVALMPI_CHECK(is_consistent(task));
  const std::string group = "/tasks/" + task.name;
  file.group(group);
  file.attributes(group, task.attributes);
  for (const char* part : {"/documents", "/requests", "/metrics"}) file.group(group + part);
  for_each_column(
      task, group, [&](const std::string& path, const auto& column) { file.dataset(path, std::span(column)); },
      [&](const std::string& path, const std::vector<Hash128>& keys) {
        const std::vector<uint64_t> words = flatten(keys);
        file.dataset(path, std::span<const uint64_t>(words), 2);
      });
}

void write_timings(h5::Writer& file, const TaskResults& task) {
  if (task.timings.row.empty()) return;
  const std::string group = "/timings/" + task.name;
  file.group(group);
  for_each_timing(task.timings, group,
                  [&](const std::string& path, const auto& column) { file.dataset(path, std::span(column)); });
}

TaskResults read_task(const h5::Reader& file, const std::string& name) {
  TaskResults task;
  task.name = name;
  const std::string group = "/tasks/" + name;
  task.attributes = file.attributes(group);
  for_each_column(
      task, group,
      [&]<typename T>(const std::string& path, std::vector<T>& column) {
        if constexpr (std::is_same_v<T, std::string>) {
          column = file.strings(path);
        } else {
          column = file.numbers<T>(path);
        }
      },
      [&](const std::string& path, std::vector<Hash128>& keys) { keys = unflatten(file.numbers<uint64_t>(path)); });
  return task;
}

}  // namespace

void write_results(const std::filesystem::path& path, const ResultsFile& results) {
  h5::Writer file(path);
  file.attributes("/", {{"format", kFormat}, {"version", kVersion}});
  file.group("/run");
  file.attributes("/run", results.run);
  file.group("/tasks");
  for (const TaskResults& task : results.tasks) write_task(file, task);
  file.group("/timings");
  for (const TaskResults& task : results.tasks) write_timings(file, task);
  file.publish();
}

ResultsFile read_results(const std::filesystem::path& path) {
  const h5::Reader file(path);
  if (file.attributes("/") != Attributes{{"format", kFormat}, {"version", kVersion}}) {
    fail(ExitCode::kBadInput, "{}: no results file of version {}", path.string(), kVersion);
  }
  ResultsFile results;
  results.run = file.attributes("/run");
  const std::vector<std::string> timed = file.children("/timings");
  for (const std::string& name : file.children("/tasks")) {
    TaskResults& task = results.tasks.emplace_back(read_task(file, name));
    if (std::find(timed.begin(), timed.end(), name) != timed.end()) {
      for_each_timing(
          task.timings, "/timings/" + name,
          [&]<typename T>(const std::string& path, std::vector<T>& column) { column = file.numbers<T>(path); });
    }
    if (!is_consistent(results.tasks.back())) {
      fail(ExitCode::kBadInput, "{}: the tables of task {} do not fit together", path.string(), name);
    }
  }
  return results;
}

}  // namespace evalmpi::store
