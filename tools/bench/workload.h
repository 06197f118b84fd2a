#pragma once

// What the benchmarks compute: requests of real tasks or of their shape, and how many operations they need at least.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "evalmpi/engine/request.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/task/task.h"
#include "evalmpi/text/tokenizer.h"

namespace evalmpi::bench {

struct TaskSelection {
  std::string tasks;  // comma list
  int num_fewshot = 0;
  double limit = 0;  // documents of each task; 0: all
  std::filesystem::path data_root;
};
std::vector<task::Task> load_tasks(const TaskSelection& selection);

// The log-likelihood requests of tasks as token ids, cut on the left to what the model takes.
// FAILS: kUsage for a task that generates.
engine::ScoreTable score_requests(const std::vector<task::Task>& tasks, const text::Tokenizer& tokenizer,
                                  int64_t max_positions);

// Pseudo-random tokens in the shape of a few-shot task: `headers` shared beginnings, below each of them `documents`
// questions, for each of these `choices` answers.
struct FewShotShape {
  int64_t headers = 3;
  int64_t header_tokens = 600;
  int64_t documents = 50;
  int64_t question_tokens = 90;
  int64_t choices = 4;
  int64_t answer_tokens = 1;
};
engine::ScoreTable few_shot_requests(const FewShotShape& shape, int64_t vocabulary);

// The least that answers the requests: every distinct prefix once, the head on distinct target rows.
struct Work {
  int64_t naive_tokens = 0;
  int64_t distinct_tokens = 0;
  int64_t attended_positions = 0;  // sum over distinct tokens of the positions that they see
  int64_t target_rows = 0;
};
Work least_work(const engine::ScoreTable& requests);

// Floating-point operations, a multiply and an add being two: linears, attention's two products, head.
double linear_flops_per_token(const model::ModelSpec& spec);
double flops(const model::ModelSpec& spec, const Work& work);

}  // namespace evalmpi::bench
