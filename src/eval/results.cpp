#include "results.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "full_answers.h"
#include "outputs.h"

namespace evalmpi::eval {
namespace {

namespace python = text::python;

class Reporter {
 public:
  Reporter(const task::Task& task, const TaskRequests& requests, const std::optional<GenerationPlan>& generation,
           const text::Tokenizer& tokenizer, FullAnswers answers)
      : task_(task),
        requests_(requests),
        generation_(generation),
        tokenizer_(tokenizer),
        answers_(std::move(answers)) {}

  TaskReport run(const ReportOptions& options) {
    size_t request = 0;
    for (int64_t position = 0; position < static_cast<int64_t>(task_.evaluated_rows().size()); ++position) {
      add_document(position, request);
    }
    EVALMPI_CHECK(request == requests_.size());
    report_.result = scores_.result(task_.config(), options.bootstrap_iterations, options.threads);
    for (const auto& [filter, lines] : lines_of_filter_) report_.samples += lines;
    report_.task_hash = python_task_hash();
    report_.table.name = task_.name();
    fill_metrics();
    return std::move(report_);
  }

 private:
  // What was asked for one document and what was answered.
  struct Exchange {
    Json arguments = Json::object();
    Json responses = Json::array();
    std::vector<std::vector<Json>> values;

    void add(Json asked, std::vector<Json> answers) {
      arguments[fmt::format("gen_args_{}", values.size())] = std::move(asked);
      responses.push_back(texts_of_responses(Json(answers)));
      values.push_back(std::move(answers));
    }
  };

  // Takes the requests of one document, from `request` on.
  Exchange add_requests(const std::vector<task::Instance>& instances, int64_t position, size_t& request) {
    Exchange exchange;
    for (const task::Instance& instance : instances) {
      if (instance.kind == task::RequestKind::kLoglikelihoodRolling) {
        const Json sum = add_windows(position, request);
        exchange.add({{"arg_0", instance.continuation}},
                     std::vector<Json>(static_cast<size_t>(task_.config().repeats), sum));
        continue;
      }
      EVALMPI_CHECK(requests_.position[request] == position && requests_.index[request] == instance.index);
      const bool is_generation = instance.kind == task::RequestKind::kGenerateUntil;
      const Json second = is_generation ? task_.generation_kwargs() : Json(instance.continuation);
      exchange.add({{"arg_0", *instance.context}, {"arg_1", second}}, add_answers(request, position));
      ++request;
    }
    return exchange;
  }

  void add_document(int64_t position, size_t& request) {
    const int64_t row = task_.evaluated_rows()[position];
    const std::vector<task::Instance> instances = task_.build(position, position + 1);
    const Exchange exchange = add_requests(instances, position, request);
    const Json& document = task_.document(row);
    const std::string target = python::str(task_.target(row));
    const std::string doc_hash = sha256_hex(python::json_dumps(document, {2, false, false}));
    const task::Instance& first = instances.front();
    const std::string prompt_hash =
        sha256_hex(first.kind == task::RequestKind::kLoglikelihoodRolling ? first.continuation : *first.context);
    const std::string target_hash = sha256_hex(target);
    report_.table.documents.doc_id.push_back(row);
    report_.table.documents.doc_hash.push_back(doc_hash);
    report_.table.documents.target.push_back(target);
    const std::vector<task::FilterScores> filters = task_.score(row, exchange.values);
    scores_.add(filters);
    for (size_t f = 0; f < filters.size(); ++f) {
      Json names = Json::array();
      for (const auto& [name, value] : filters[f].metrics) names.push_back(name);
      Json sample = {{"doc_id", row},
                     {"doc", document},
                     {"target", target},
                     {"arguments", exchange.arguments},
                     {"resps", exchange.responses},
                     {"filtered_resps", texts_of_responses(filters[f].filtered_responses)},
                     {"filter", filters[f].filter},
                     {"metrics", names},
                     {"doc_hash", doc_hash},
                     {"prompt_hash", prompt_hash},
                     {"target_hash", target_hash}};
      for (const auto& [name, value] : filters[f].metrics) sample[name] = value;
      if (f >= lines_of_filter_.size()) lines_of_filter_.emplace_back(filters[f].filter, "");
      lines_of_filter_[f].second += python::json_dumps(sample, {-1, false, false}) + "\n";
      if (f >= hashes_of_filter_.size()) hashes_of_filter_.emplace_back();
      hashes_of_filter_[f] += doc_hash + prompt_hash + target_hash;
    }
  }

  // The responses of one request as filters see them: the task's repeats, which are copies where answers cannot differ.
  std::vector<Json> add_answers(size_t request, int64_t position) {
    std::vector<Json> responses;
    for (int32_t repeat = 0; repeat < requests_.repeats; ++repeat)
      responses.push_back(add_answer(request, repeat, position));
    responses.resize(static_cast<size_t>(task_.config().repeats), responses.front());
    return responses;
  }

  // The sum over the windows of a document's text; 0 for none.
  Json add_windows(int64_t position, size_t& request) {
    Json sum = 0;
    for (; request < requests_.size() && requests_.position[request] == position; ++request) {
      sum = sum.get<double>() + add_answer(request, 0, position)[0].get<double>();
    }
    return sum;
  }

  // Adds one row to the table of requests; returns the response.
  Json add_answer(size_t request, int32_t repeat, int64_t position) {
    const size_t answer = request * static_cast<size_t>(requests_.repeats) + static_cast<size_t>(repeat);
    store::RequestTable& table = report_.table.requests;
    table.doc.push_back(static_cast<int32_t>(position));
    table.index.push_back(requests_.index[request]);
    table.repeat.push_back(repeat);
    table.key.push_back(requests_.answer_key(answer));
    table.numerics_class.push_back(answers_.numerics_class[answer]);
    if (requests_.targets[request] == 0) return add_generation(request, answers_.generations[answer]);
    const std::vector<float>& logprobs = answers_.logprobs[answer];
    const std::vector<uint8_t>& is_argmax = answers_.is_argmax[answer];
    const double logprob = sum_of(logprobs);
    const bool is_greedy = all_of(is_argmax);
    table.logprob.push_back(logprob);
    table.is_greedy.push_back(is_greedy);
    table.token_count.push_back(requests_.targets[request]);
    table.token_logprob.insert(table.token_logprob.end(), logprobs.begin(), logprobs.end());
    table.token_is_argmax.insert(table.token_is_argmax.end(), is_argmax.begin(), is_argmax.end());
    table.token_offset.push_back(static_cast<int64_t>(table.token_logprob.size()));
    table.text.emplace_back();
    table.prompt_tokens.push_back(-1);
    table.finish.push_back(-1);
    return task::loglikelihood_response(logprob, is_greedy);
  }

  Json add_generation(size_t request, const engine::GenerateResult& generation) {
    store::RequestTable& table = report_.table.requests;
    const std::string text = generated_text(tokenizer_, generation.tokens, generation_.value());
    table.logprob.push_back(std::numeric_limits<double>::quiet_NaN());
    table.is_greedy.push_back(-1);
    table.token_count.push_back(static_cast<int32_t>(generation.tokens.size()));
    table.token_offset.push_back(table.token_offset.back());
    table.text.push_back(text);
    table.prompt_tokens.push_back(
        static_cast<int32_t>(requests_.token_begin[request + 1] - requests_.token_begin[request]));
    table.finish.push_back(static_cast<int8_t>(generation.finish));
    store::TimingTable& timings = report_.table.timings;
    timings.row.push_back(static_cast<int32_t>(table.doc.size()) - 1);
    timings.first_token_seconds.push_back(generation.timing.first_token_seconds);
    timings.mean_gap_seconds.push_back(generation.timing.mean_gap_seconds);
    timings.max_gap_seconds.push_back(generation.timing.max_gap_seconds);
    return text;
  }

  std::string python_task_hash() const {
    std::string all;
    for (const std::string& hashes : hashes_of_filter_) all += hashes;
    return sha256_hex(all);
  }

  void fill_metrics() {
    store::MetricTable& table = report_.table.metrics;
    for (const task::MetricResult& metric : report_.result.metrics) {
      table.name.push_back(metric.metric);
      table.filter.push_back(metric.filter);
      table.value.push_back(metric.value);
      table.standard_error.push_back(metric.standard_error.value_or(std::numeric_limits<double>::quiet_NaN()));
      int8_t higher_is_better = -1;
      for (const task::MetricConfig& config : task_.config().metrics) {
        if (config.name == metric.metric) higher_is_better = config.higher_is_better;
      }
      table.higher_is_better.push_back(higher_is_better);
    }
  }

  const task::Task& task_;
  const TaskRequests& requests_;
  const std::optional<GenerationPlan>& generation_;
  const text::Tokenizer& tokenizer_;
  FullAnswers answers_;
  task::ScoreTable scores_;
  std::vector<std::pair<std::string, std::string>> lines_of_filter_;
  std::vector<std::string> hashes_of_filter_;
  TaskReport report_;
};

// Rows of numerics_classes that the table uses, numbered by first use, so that the bytes do not depend on the order in
// which classes were met.
void renumber_classes(store::TaskResults& table, const std::vector<std::string>& names) {
  std::vector<int32_t> renumbered(names.size(), -1);
  for (int32_t& numerics_class : table.requests.numerics_class) {
    if (renumbered[numerics_class] < 0) {
      renumbered[numerics_class] = static_cast<int32_t>(table.numerics_classes.size());
      table.numerics_classes.push_back(names[numerics_class]);
    }
    numerics_class = renumbered[numerics_class];
  }
}

}  // namespace

TaskReport report_task(const task::Task& task, const TaskRequests& requests,
                       const std::optional<GenerationPlan>& generation, AnswerTable& answers,
                       const text::Tokenizer& tokenizer, const ReportOptions& options) {
  std::set<int32_t> of_other_classes;
  FullAnswers full = read_answers(requests, answers, options.log_directory, options.numerics_class, of_other_classes);
  TaskReport report = Reporter(task, requests, generation, tokenizer, std::move(full)).run(options);
  report.records_of_other_classes = std::move(of_other_classes);
  renumber_classes(report.table, answers.class_names());
  return report;
}

}  // namespace evalmpi::eval
