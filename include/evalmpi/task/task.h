#pragma once

// A task with its documents: prompts to ask, and scores of the answers. Speaks text only.
//
// Every rank makes the same Task (same config, data, options); few-shot draws for all evaluated documents are made
// when the task is made, in document order from one generator, so that any slice of documents may be built on any
// rank and its prompts are those of a run on one rank.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/data/dataset.h"
#include "evalmpi/task/aggregate.h"
#include "evalmpi/task/task_config.h"

namespace evalmpi::task {

enum class RequestKind { kLoglikelihood, kLoglikelihoodRolling, kGenerateUntil };

// One thing to ask the model. The requests of a document share their context where it is equal.
struct Instance {
  int64_t document = 0;  // row of the evaluated split
  int32_t index = 0;     // position among the document's requests
  RequestKind kind = RequestKind::kLoglikelihood;
  std::shared_ptr<const std::string> context;  // never null; empty for rolling
  std::string continuation;  // kLoglikelihood: the text to score, with its delimiter; rolling: the whole text
};

// Turns [{"role": .., "content": ..}, ..] into a prompt; add_generation_prompt is false when the last message is the
// start of the assistant's answer (then it is to be continued).
using ChatTemplate = std::function<std::string(const Json& messages, bool add_generation_prompt)>;

struct TaskOptions {
  std::optional<double> limit;                 // below 1: that fraction of the documents, rounded up; else so many
  std::vector<int64_t> rows;                   // only these rows, in row order; excludes limit
  std::optional<int64_t> fewshot_seed = 1234;  // nothing: 1234, since a draw that cannot be repeated is no use
  bool draws_examples = true;                  // off: prompts cannot be built, answers can be scored
  std::string system_instruction;
  ChatTemplate chat_template;        // empty: plain text
  bool fewshot_as_multiturn = true;  // with a chat template: examples as turns, else all in one user message
};

class Task {
 public:
  // Reads the splits that are needed (the pool of examples only when shots are asked for).
  // FAILS: kMissingInput, kBadInput as data::load_split; kBadInput naming task, key and row for templates and values
  // that do not fit, too few examples in the pool, documents that the task's own metrics cannot score; kUsage for a
  // limit that is not positive, rows outside the split.
  static Task load(TaskConfig config, const data::DataRoots& roots, TaskOptions options);

  // The same on documents and examples that are already there.
  static Task from_documents(TaskConfig config, data::Split documents, std::vector<Json> pool, TaskOptions options);

  const TaskConfig& config() const { return config_; }
  const std::string& name() const { return config_.name; }
  int num_fewshot() const { return config_.num_fewshot; }

  // Rows of the evaluated split, and those that are evaluated (row numbers, ascending). A position below counts the
  // latter.
  int64_t n_rows() const { return static_cast<int64_t>(documents_.rows.size()); }
  const std::vector<int64_t>& evaluated_rows() const { return evaluated_; }

  // Rows from which examples are drawn; 0 for prompts without any.
  int64_t n_pool_rows() const { return static_cast<int64_t>(pool_.size()); }

  const Json& document(int64_t row) const { return documents_.rows[static_cast<size_t>(row)]; }

  // doc_to_target: text, index or list; its python::str is what the harness logs as `target` and hashes.
  Json target(int64_t row) const;

  // The positions of examples in the pool, for the evaluated document at `position`.
  const std::vector<int32_t>& fewshot_draw(int64_t position) const;

  // The requests of evaluated documents [first, last), documents in order, each with index 0, 1, ...
  // Const and safe from several threads. FAILS: kBadInput as load.
  std::vector<Instance> build(int64_t first, int64_t last) const;
  std::vector<Instance> build_all() const { return build(0, static_cast<int64_t>(evaluated_.size())); }

  // Settings of every generation of this task (config().generation_kwargs).
  const Json& generation_kwargs() const { return config_.generation_kwargs; }

  // Filters and metrics of one document. responses[i][r] is repeat r of the request with index i (filter.h says what
  // a response is). One entry for each filter, in the file's order. FAILS: kBadInput naming task and row.
  std::vector<FilterScores> score(int64_t row, const std::vector<std::vector<Json>>& responses) const;

  struct Compiled;

 private:
  Task() = default;
  void draw_examples();
  void check_documents() const;

  TaskConfig config_;
  TaskOptions options_;
  data::Split documents_;
  std::vector<Json> pool_;
  std::vector<int64_t> evaluated_;
  std::vector<std::vector<int32_t>> draws_;  // by position, or one for all, or none
  std::shared_ptr<const Compiled> compiled_;
};

// One JSON array [log_likelihood, is_greedy].
inline Json loglikelihood_response(double log_likelihood, bool is_greedy) {
  return Json::array({log_likelihood, is_greedy});
}

}  // namespace evalmpi::task
