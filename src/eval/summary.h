#pragma once

// The combinations of a job beside each other: comparison.csv, comparison.md, and the same table on stdout.
//
//   comparison.csv: one line for each task, metric, filter and combination: task,filter,metric,higher_is_better,
//   combination,model,adapter,num_fewshot,documents,value,stderr,compared_with,difference,paired_stderr,mcnemar_p
//
// difference: from the first combination that has the task. paired_stderr: of the difference of the documents' means,
// where both have samples of the same documents (compare_runs.h); mcnemar_p: where documents are right or wrong. Empty:
// not known.

#include <filesystem>
#include <string>
#include <vector>

#include "evalmpi/eval/combinations.h"

namespace evalmpi::eval {

inline constexpr const char* kSummaryCsv = "comparison.csv";
inline constexpr const char* kSummaryMarkdown = "comparison.md";

// What results.h5 in a run's folder says: the keys of results_<time>.json that come from the tasks, and "run": /run's
// attributes. FAILS: kMissingInput; kBadInput naming the file when a bit of it is not as it was written.
Json read_published(const std::filesystem::path& folder);

struct SummarisedRun {
  std::string name;
  std::filesystem::path folder;  // its samples are read for paired standard errors
  Json results;                  // read_published()
};

struct Summary {
  std::string csv, markdown;
};
// FAILS: as compare_runs.
Summary summarise(const std::vector<SummarisedRun>& runs);

// Of folder/<name> of every combination. FAILS: as read_published.
std::vector<SummarisedRun> read_combinations(const std::filesystem::path& folder,
                                             const std::vector<Combination>& combinations);

// Writes both files; returns what is to be printed. FAILS: as summarise; kCannotWrite, kIo.
std::string publish_summary(const std::filesystem::path& folder, const std::vector<Combination>& combinations);

// What the manifest of a folder with several runs says, in place of one model's digests; and whether a folder's does.
Json one_folder_each();
bool holds_combinations(const std::filesystem::path& folder);

}  // namespace evalmpi::eval
