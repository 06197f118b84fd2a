#pragma once

// The combinations of a job beside each other: comparison.csv, comparison.md, and the same table on stdout.
//
//   comparison.csv: one line for each task, metric, filter and combination: task,filter,metric,higher_is_better,
//   combination,model,adapter,num_fewshot,documents,value,stderr,compared_with,difference,paired_stderr,mcnemar_p
//
// difference: from the first combination that has the task. paired_stderr: of the difference of the documents' means, where
// both have samples of the same documents (compare_runs.h); mcnemar_p: where documents are right or wrong. Empty: not known.

#include <filesystem>
#include <vector>

#include "evalmpi/eval/combinations.h"

namespace evalmpi::eval {

inline constexpr const char* kSummaryCsv = "comparison.csv";
inline constexpr const char* kSummaryMarkdown = "comparison.md";

// Reads the newest results_*.json and samples_*.jsonl of folder/<name> of every combination.
// FAILS: kMissingInput, kBadInput naming the file; kCannotWrite, kIo.
void publish_summary(const std::filesystem::path& folder, const std::vector<Combination>& combinations);

}  // namespace evalmpi::eval
