#include "live_scores.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "full_answers.h"
#include "time_spent.h"

namespace evalmpi::eval {
namespace {

Json response_of(const engine::ScoreResult& score) {
  return task::loglikelihood_response(sum_of(score.logprobs), all_of(score.is_argmax));
}

}  // namespace

void LiveScores::add(const task::Task* task, const TaskRequests& requests,
                     const std::optional<GenerationPlan>& generation) {
  TaskScores scores;
  scores.task = task;
  scores.is_finished = task == nullptr;
  scores.requests = &requests;
  scores.generation = &generation;
  const size_t documents = task == nullptr ? 0 : task->evaluated_rows().size();
  scores.begin.assign(documents + 1, 0);
  for (const int32_t position : documents > 0 ? requests.position : std::vector<int32_t>())
    ++scores.begin[static_cast<size_t>(position) + 1];
  std::partial_sum(scores.begin.begin(), scores.begin.end(), scores.begin.begin());
  for (size_t position = 0; position < documents; ++position) {
    if (scores.begin[position] < scores.begin[position + 1]) scores.unscored.push_back(static_cast<int64_t>(position));
  }
  tasks_.push_back(std::move(scores));
}

std::vector<size_t> LiveScores::update(const AnswerTable& answers, const std::filesystem::path& log_directory,
                                       double cpu_seconds) {
  std::vector<size_t> changed;
  const double start = thread_cpu_seconds(), until = start + cpu_seconds - used_;
  AnswerReader reader(log_directory, answers.log_names());
  for (size_t i = 0; i < tasks_.size() && thread_cpu_seconds() < until; ++i) {
    if (!tasks_[i].is_finished && update_task(tasks_[i], answers, reader, until)) changed.push_back(i);
  }
  used_ += thread_cpu_seconds() - start;
  return changed;
}

bool LiveScores::update_task(TaskScores& task, const AnswerTable& answers, AnswerReader& reader, double until) {
  // Documents whose answers are all in, in the order in which these stand in the logs.
  std::vector<std::tuple<int32_t, uint64_t, int64_t>> ready;
  const auto repeats = static_cast<size_t>(task.requests->repeats);
  for (const int64_t position : task.unscored) {
    std::optional<AnswerPlace> place;
    bool are_all_in = true;
    for (size_t a = task.begin[position] * repeats; are_all_in && a < task.begin[position + 1] * repeats; ++a) {
      place = answers.find(task.requests->answer_key(a));
      are_all_in = place.has_value();
    }
    if (are_all_in) ready.emplace_back(place->log, place->position.offset, position);
  }
  std::sort(ready.begin(), ready.end());
  std::vector<int64_t> scored;
  for (const auto& [log, offset, position] : ready) {
    if (!scored.empty() && thread_cpu_seconds() >= until) break;
    score(task, position, answers, reader);
    scored.push_back(position);
  }
  if (scored.empty()) return false;
  std::sort(scored.begin(), scored.end());
  std::erase_if(task.unscored,
                [&](int64_t position) { return std::binary_search(scored.begin(), scored.end(), position); });
  task.scored += static_cast<int64_t>(scored.size());
  constexpr int64_t kResamples = 20;  // for errors without a closed form: what these cost counts like all else
  task.metrics = task.scores.result(task.task->config(), kResamples).metrics;
  return true;
}

void LiveScores::score(TaskScores& task, int64_t position, const AnswerTable& answers, AnswerReader& reader) const {
  const TaskRequests& requests = *task.requests;
  const int64_t row = task.task->evaluated_rows()[position];
  const bool is_rolling = task.task->config().output_type == task::OutputType::kLoglikelihoodRolling;
  std::vector<std::vector<Json>> responses;
  for (size_t request = task.begin[position]; request < task.begin[position + 1]; ++request) {
    std::vector<Json> of_request;
    for (size_t repeat = 0; repeat < static_cast<size_t>(requests.repeats); ++repeat) {
      const size_t answer = request * static_cast<size_t>(requests.repeats) + repeat;
      const Hash128 key = requests.answer_key(answer);
      const AnswerPlace place = *answers.find(key);
      of_request.push_back(
          requests.targets[request] == 0
              ? Json(generated_text(tokenizer_, reader.generation(place, key).tokens, **task.generation))
              : response_of(reader.score(place, key)));
    }
    of_request.resize(static_cast<size_t>(task.task->config().repeats), of_request.front());
    responses.push_back(std::move(of_request));
  }
  if (is_rolling) {
    double sum = 0;
    for (const std::vector<Json>& window : responses) sum += window.front()[0].get<double>();
    responses = {std::vector<Json>(static_cast<size_t>(task.task->config().repeats), Json(sum))};
  }
  task.scores.add(task.task->score(row, responses));
}

LiveScores::Row LiveScores::row(size_t task) const {
  const TaskScores& scores = tasks_[task];
  return {static_cast<int64_t>(scores.begin.size()) - 1, scores.scored, scores.metrics};
}

}  // namespace evalmpi::eval
