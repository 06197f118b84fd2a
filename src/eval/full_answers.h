#pragma once

// The answers of a part of a run, tokens and all, read back from the logs. Rank 0 only.

#include <cstdint>
#include <filesystem>
#include <set>
#include <vector>

#include "answers.h"
#include "evalmpi/base/hash.h"
#include "evalmpi/engine/request.h"
#include "workload.h"

namespace evalmpi::eval {

// By answer (TaskRequests::answers).
struct FullAnswers {
  std::vector<std::vector<float>> logprobs;
  std::vector<std::vector<uint8_t>> is_argmax;
  std::vector<engine::GenerateResult> generations;
  std::vector<int32_t> numerics_class;
};

// Reads every record that holds an answer once, in the order of the logs. records_of_other_classes gets the records
// (AnswerPlace::record) that are not of numerics_class. REQUIRES: every request has an answer. FAILS: kBadInput naming
// the log when a record is damaged, kIo.
FullAnswers read_answers(const TaskRequests& requests, AnswerTable& answers, const std::filesystem::path& log_directory,
                         const Hash128& numerics_class, std::set<int32_t>& records_of_other_classes);

// The log-probability of all tokens together: summed in double, in their order.
double sum_of(const std::vector<float>& logprobs);

// Whether every token was the most probable one.
bool all_of(const std::vector<uint8_t>& flags);

}  // namespace evalmpi::eval
