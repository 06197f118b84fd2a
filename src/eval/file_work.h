#pragma once

// Answering, or scoring, the lines of a user's file. A part is the lines whose settings are equal.

#include <memory>
#include <string>
#include <vector>

#include "evalmpi/eval/file_options.h"
#include "evalmpi/text/chat_template.h"
#include "full_answers.h"
#include "prompt_file.h"
#include "question.h"
#include "work.h"

namespace evalmpi::eval {

class FileWork final : public Work {
 public:
  // options outlive this.
  explicit FileWork(const FileOptions& options) : options_(options) {}

  Json options() const override;
  Json identity() const override { return {{"command", name_of(options_.job)}}; }
  void read(comm::Communicator& world) override;
  size_t parts() const override { return part_sizes_.size(); }
  std::string name(size_t part) const override;
  void load(size_t part) override {
    if (part < groups_.size() && groups_[part].plan) groups_[part].plan->room = setup_.slot_room;
  }
  int64_t documents(size_t part) const override { return part_sizes_[part]; }
  std::string first_prompt(size_t) const override { return {}; }
  TaskRequests encode(comm::Communicator& world, size_t part, const Hash128& model_id, int threads) override;
  const std::optional<GenerationPlan>& generation(size_t part) const override { return groups_[part].plan; }
  int64_t document_bytes(size_t part) const override;
  void report(size_t part, const TaskRequests& requests, AnswerTable& answers, const ReportOptions& options,
              Published& published) override;
  void publish(Published& published, const RunFacts& facts) override;

 private:
  struct Group {
    std::vector<size_t> lines;
    LineSettings settings;
    std::optional<GenerationPlan> plan;
    std::shared_ptr<const std::vector<int32_t>> tokens;  // of its requests, where they are to be shown
  };
  struct Totals {
    int64_t answered = 0, refused = 0;                                    // lines
    int64_t prompt_tokens = 0, new_tokens = 0, ended = 0, cut_short = 0;  // of answers
    int64_t continuations = 0, continuation_tokens = 0;
    int64_t texts = 0, text_tokens = 0, text_bytes = 0;
    double text_logprob = 0, byte_logprob = 0;  // the latter: of texts whose bytes are known
  };

  void read_file();
  void group_lines();
  void refuse(size_t line, const std::string& why);
  std::string questions_of(size_t part, Slice slice) const;
  QuestionRules rules() const;
  std::vector<Question> share_questions(comm::Communicator& world, size_t part) const;
  void tell_draws_apart(size_t part, TaskRequests& requests) const;
  void report_answers(size_t part, const TaskRequests& requests, const FullAnswers& full);
  void report_scores(size_t part, const TaskRequests& requests, const FullAnswers& full);
  Json summary(const Published& published, const RunFacts& facts) const;
  void print_summary(const Published& published, const RunFacts& facts) const;

  const FileOptions& options_;
  TooLong too_long_ = TooLong::kSkip;
  std::optional<text::ChatTemplate> chat_template_;
  std::vector<int64_t> part_sizes_;
  // Rank 0:
  PromptFile file_;
  std::vector<Group> groups_;
  std::vector<std::string> outputs_;  // by line
  Totals totals_;
};

}  // namespace evalmpi::eval
