#pragma once

// Where two finished runs differ: scores with paired errors, and the documents behind them. Reads samples_*.jsonl as
// evalmpi and lm-evaluation-harness write them.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/model/compare_models.h"

namespace evalmpi::eval {

// A document whose value of a metric differs beyond the tolerance.
struct FlippedDocument {
  int64_t doc_id = 0;
  double a = 0, b = 0;
};

// One metric of a task under one filter, over the documents that both runs have.
struct MetricComparison {
  std::string metric;
  int64_t documents = 0;
  double mean_a = 0, mean_b = 0;  // of the documents' values: for perplexity, of their log-likelihoods
  // Of mean_a - mean_b over documents: the sample deviation of the differences over sqrt(n); nothing for n < 2.
  std::optional<double> paired_standard_error;
  bool is_binary = false;  // all values are 0 or 1; then:
  int64_t only_a = 0;      // documents with 1 in A and 0 in B
  int64_t only_b = 0;
  double mcnemar_p = 1;                  // exact, two-sided
  std::vector<FlippedDocument> flipped;  // in order of doc_id

  double difference() const { return mean_a - mean_b; }
};

struct TaskComparison {
  std::string task;
  std::string filter;
  std::vector<int64_t> only_in_a, only_in_b;  // doc ids
  std::vector<int64_t> other_documents;       // the same id, another document (doc_hash): not compared
  int64_t documents = 0;                      // compared
  int64_t other_prompts = 0;                  // of them: asked with another prompt (prompt_hash)
  int64_t other_answers = 0;                  // of them: another text, or a log-likelihood beyond the tolerance
  double max_loglikelihood_difference = 0;
  std::vector<MetricComparison> metrics;

  bool differs() const;
};

struct RunComparison {
  std::vector<std::string> tasks_only_in_a, tasks_only_in_b;
  std::vector<TaskComparison> tasks;  // by task, then filter
  bool differs() const;
};

// The newest samples file of each task of a results folder; of the single folder below it where the harness made one.
// Empty when there are none.
std::map<std::string, std::filesystem::path> find_samples(const std::filesystem::path& folder);

// FAILS: kMissingInput when a folder has no samples (names the option that writes them); kBadInput naming file and line
// for damaged lines and a document that comes twice under one filter.
RunComparison compare_runs(const std::filesystem::path& a, const std::filesystem::path& b,
                           const model::Tolerance& tolerance);

// The exact two-sided test of McNemar (1947): of only_a + only_b discordant pairs, each fell on either side with
// probability 1/2. min(1, 2 P(X <= min(only_a, only_b))), X ~ Binomial(only_a + only_b, 1/2).
double mcnemar_exact_p(int64_t only_a, int64_t only_b);

// sqrt(sum (d - mean d)^2 / (n - 1) / n); nothing for n < 2.
std::optional<double> standard_error_of_mean(const std::vector<double>& differences);

}  // namespace evalmpi::eval
