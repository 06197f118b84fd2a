#pragma once

// `evalmpi report`: the table of a run that is over, from its files; and all of these files again, from its logs.

#include <filesystem>
#include <string>
#include <vector>

#include "evalmpi/base/fields.h"

namespace evalmpi::eval {

struct ReportedRun {
  std::filesystem::path directory;  // of a run, or of a job of several combinations
  std::string format = "text";      // text, markdown, csv, json
  bool rebuild = false;
};

std::vector<Field> fields(ReportedRun& run);

// What the format shows, for stdout.
//   text      the run in a line, the table, and a warning where status.json says that a later attempt is not complete
//   markdown  the table alone        csv   task,filter,metric,higher_is_better,num_fewshot,documents,value,stderr
//   json      the keys of results_<time>.json that come from the tasks, and "run": the attributes of /run
// All of them come from results.h5, whose every bit is checked. For several combinations: their comparison (summary.h);
// json has each one's object under its name. With `rebuild` results.h5, results_*.json and samples_*.jsonl are first
// made anew from log/ and manifest.json, as the run publishes them, with the options of its last attempt; status.json
// then says "complete". That reads the tasks' data, the model's config.json and tokenizer, and no weights; it computes
// nothing and needs no ranks. FAILS: kMissingInput when the run is not complete (saying what is missing), has no
// results yet, or data are not there; kBadInput naming a damaged file; kCannotWrite when a run is at work in the
// directory; kMismatch when tokenizer or data are others than those of the run; kUsage for another format.
std::string report(const ReportedRun& run);

}  // namespace evalmpi::eval
