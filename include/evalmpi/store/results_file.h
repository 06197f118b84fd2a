#pragma once

// results.h5, the numbers of a finished run, readable by h5py, h5dump, MATLAB and pandas.
//
//   /                             attributes: format = "evalmpi-results", version = 1
//   /run                          attributes only: options, versions, hosts, times (the only part that differs
//                                 between two runs of the same numbers)
//   /tasks/<name>                 attributes: what the task was (task version, number of shots, config as JSON, ...)
//     documents/                  one row per document, in the dataset's order
//       doc_id       int64[D]     index in the dataset's split
//       doc_hash     str[D]
//       target       str[D]
//     requests/                   one row per answer, in the order of documents, their requests and repeats
//       doc          int32[N]     row of documents
//       index        int32[N]     which request of its document
//       repeat       int32[N]     which repeat of this request; requests whose repeats are equal have one row
//       key          uint64[N,2]  request key, (high, low)
//       logprob      double[N]    sum of the continuation's log-probabilities, nats; NaN for generations and missing
//       is_greedy    int8[N]      1 if every token is the argmax, 0 if not, -1 unknown
//       token_count  int32[N]     continuation or generated tokens; -1 missing
//       token_offset int64[N+1]   request i owns token rows [token_offset[i], token_offset[i+1])
//       token_logprob float[T]    nats
//       token_is_argmax int8[T]   1, 0 or -1 unknown
//       text         str[N]       generated text, "" otherwise
//       prompt_tokens int32[N]    of a generation's prompt; -1 for others
//       finish       int8[N]      a generation ended with 0: a stop text, 1: an end-of-text token, 2: the length limit;
//                                 -1 for others
//       numerics_class int32[N]   row of numerics_classes; -1 missing
//     numerics_classes str[C]     what each class is
//     metrics/
//       name         str[M]
//       filter       str[M]
//       value        double[M]
//       stderr       double[M]    NaN where the metric has none
//       higher_is_better int8[M]  1, 0 or -1 unknown
//   /timings/<name>               of a task with generations, one row per generation of this file; like /run these
//                                 differ between two runs of the same numbers
//       row          int32[G]     of requests
//       first_token_seconds float[G]  from a place in the running batch to the first token
//       mean_gap_seconds    float[G]  between tokens; 0 where there is only one
//       max_gap_seconds     float[G]
//
// Strings are UTF-8 of variable length. HDF5 ends them at a NUL, so U+0000 is stored as U+2400, and bytes that are no
// UTF-8 as U+FFFD. Attributes keep their order; JSON null is an empty attribute, a bool h5py's enum, arrays and objects
// are JSON text. Objects hold no times, so equal numbers give equal bytes below /tasks. Behind the part that HDF5 reads
// the file ends with a line "evalmpi-content-hash <hash>" of all bytes before it.

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "evalmpi/base/hash.h"
#include "evalmpi/base/json.h"

namespace evalmpi::store {

// Attributes in order. Values: null, bool, integer, double, string; arrays and objects become JSON text (and are
// read back as that text).
using Attributes = std::vector<std::pair<std::string, Json>>;

struct DocumentTable {
  std::vector<int64_t> doc_id;
  std::vector<std::string> doc_hash;
  std::vector<std::string> target;
  bool operator==(const DocumentTable&) const = default;
};

struct RequestTable {
  std::vector<int32_t> doc;
  std::vector<int32_t> index;
  std::vector<int32_t> repeat;
  std::vector<Hash128> key;
  std::vector<double> logprob;
  std::vector<int8_t> is_greedy;
  std::vector<int32_t> token_count;
  std::vector<int64_t> token_offset{0};
  std::vector<float> token_logprob;
  std::vector<int8_t> token_is_argmax;
  std::vector<std::string> text;
  std::vector<int32_t> prompt_tokens;
  std::vector<int8_t> finish;
  std::vector<int32_t> numerics_class;
};

struct TimingTable {
  std::vector<int32_t> row;
  std::vector<float> first_token_seconds;
  std::vector<float> mean_gap_seconds;
  std::vector<float> max_gap_seconds;
  bool operator==(const TimingTable&) const = default;
};

struct MetricTable {
  std::vector<std::string> name;
  std::vector<std::string> filter;
  std::vector<double> value;
  std::vector<double> standard_error;  // dataset "stderr"
  std::vector<int8_t> higher_is_better;
};

struct TaskResults {
  std::string name;  // a group of /tasks: not empty, no '/', not "." or ".."
  Attributes attributes;
  DocumentTable documents;
  RequestTable requests;
  std::vector<std::string> numerics_classes;
  MetricTable metrics;
  TimingTable timings;
};

struct ResultsFile {
  Attributes run;
  std::vector<TaskResults> tasks;
};

// Publishes `results` at `path`, replacing an older file only when the new one is on disk, re-read and found equal.
// REQUIRES: columns of one table have one length. FAILS: kCannotWrite when the directory is not writable, kIo on
// anything else (a full disk); the final name is then as it was.
void write_results(const std::filesystem::path& path, const ResultsFile& results);

// FAILS: kMissingInput; kBadInput naming the file when a single bit of it is not as it was written, and naming file and
// object when it is not a results file of this version.
ResultsFile read_results(const std::filesystem::path& path);

}  // namespace evalmpi::store
