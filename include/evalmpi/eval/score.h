#pragma once

// Scores again what models answered, without a model: from the samples files of a run, evalmpi's or
// lm-evaluation-harness's (--log_samples), with the task files as they are now.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "evalmpi/base/fields.h"

namespace evalmpi::eval {

struct ScoreOptions {
  // Looked through with its folders for samples_<task>_<time>.jsonl, the newest of each task.
  std::filesystem::path directory;
  std::vector<std::string> tasks;  // names, groups, tags, globs; none: all that have samples
  std::vector<std::string> include_paths;
  int bootstrap_iterations = 100'000;
  std::string output;  // folder of the new files; empty: none are written
};

std::vector<Field> fields(ScoreOptions& options);

// The table in the harness's look. Documents, targets, choices and metrics come from the task files' templates, applied
// to the documents in the samples; responses come from the samples. With `output` writes samples_<task>_<time>.jsonl
// with the new filtered responses and metrics, and results_<time>.json with what the old one says of the model. FAILS:
// kMissingInput without samples for a task that is asked for; kBadInput naming file and line for a line that is no
// sample, responses that do not fit the task's output type; as task::TaskIndex::select and task::Task::score.
std::string score(const ScoreOptions& options);

}  // namespace evalmpi::eval
