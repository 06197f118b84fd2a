#include "compiled.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

// The text of an example's answer; empty where the target is empty or null.
std::string answer_text(const Json& target, const std::vector<std::string>& choices, const std::string& where) {
  if (target.is_null()) return "";
  if (is_index(target) && !choices.empty()) return choice_at(choices, target, where);
  const Json& answer = target.is_array() && !target.empty() ? target.front() : target;
  if (!answer.is_string()) fail(ExitCode::kBadInput, "{}: an answer must be text, not {}", where, py::repr(target));
  return answer.get<std::string>();
}

// A field that is the name of a column of this very document is that column.
std::string own_column_or(const Field& field, const std::string& name, const Json& document) {
  const auto column = document.find(name);
  if (column == document.end()) return field.text(document);
  return column->is_null() ? "" : py::str(*column);
}

std::vector<Turn> make_example(const Task::Compiled& compiled, const FewshotConfig& fewshot, const Json& example) {
  // Digits are an index where the task has choices, whatever the examples have.
  const bool has_choices = compiled.choices.exists();
  std::vector<std::string> choices;
  if (compiled.fewshot_choices.exists()) choices = choices_of(compiled.fewshot_choices, example);
  const Json question = question_of(compiled.fewshot_question, example, has_choices);
  const Json target = target_of(compiled.fewshot_target, example, has_choices);
  QuestionParts parts;
  if (compiled.multiple_input && is_index(question)) {
    parts.question = choice_at(choices, question, compiled.fewshot_question.where());
    choices.clear();
  } else if (question.is_string()) {
    parts.question = question.get<std::string>();
  } else {
    fail(ExitCode::kBadInput, "{}: must give text, not {}", compiled.fewshot_question.where(), py::repr(question));
  }
  parts.answer = answer_text(target, choices, compiled.fewshot_target.where());
  if (compiled.fewshot_gen_prefix.exists() && fewshot.gen_prefix.is_string()) {
    parts.gen_prefix =
        own_column_or(compiled.fewshot_gen_prefix, fewshot.gen_prefix.get_ref<const std::string&>(), example);
  }
  parts.target_delimiter = fewshot.target_delimiter;
  parts.fewshot_delimiter = fewshot.fewshot_delimiter;
  return question_turns(parts);
}

// Makes the requests of documents.
class RequestBuilder {
 public:
  RequestBuilder(const Task& task, const Task::Compiled& compiled, const std::vector<Json>& pool,
                 const TaskOptions& options)
      : task_(task), compiled_(compiled), pool_(pool), options_(options) {}

  void append(int64_t row, const std::vector<int32_t>& draw, std::vector<Instance>& instances) const {
    const Json& document = task_.document(row);
    const TaskConfig& config = task_.config();
    Instance instance;
    instance.document = row;
    if (config.output_type == OutputType::kLoglikelihoodRolling) {
      instance.kind = RequestKind::kLoglikelihoodRolling;
      instance.context = empty_;
      instance.continuation = text_target(row);
      instances.push_back(std::move(instance));
      return;
    }
    std::vector<Turn> turns = opening(document);
    for (const int32_t position : draw) {
      const std::vector<Turn>& example = compiled_.example_turns(config.fewshot, pool_, position);
      turns.insert(turns.end(), example.begin(), example.end());
    }
    const bool has_choices = compiled_.choices.exists();
    const std::vector<std::string> choices =
        has_choices ? choices_of(compiled_.choices, document) : std::vector<std::string>();
    const std::string gen_prefix = compiled_.gen_prefix.exists() ? compiled_.gen_prefix.text(document) : "";
    if (compiled_.multiple_input) {
      append_inputs(std::move(instance), turns, choices, gen_prefix, instances);
      return;
    }
    const Json question = question_of(compiled_.question, document, has_choices);
    if (!question.is_string()) {
      fail(ExitCode::kBadInput, "{}: must give text, not {}", compiled_.question.where(), py::repr(question));
    }
    instance.context = prompt(turns, question.get_ref<const std::string&>(), gen_prefix, config.target_delimiter);
    append_answers(std::move(instance), choices, instances);
  }

 private:
  // The system instruction and the description, joined.
  std::vector<Turn> opening(const Json& document) const {
    const std::string& field = task_.config().description;
    std::string description;
    if (!field.empty()) description = own_column_or(compiled_.description, field, document);
    const std::string system =
        join_delimited(options_.system_instruction, description, task_.config().fewshot_delimiter);
    if (system.empty()) return {};
    return {{Turn::Role::kSystem, system, ""}};
  }

  std::shared_ptr<const std::string> prompt(const std::vector<Turn>& opening, const std::string& question,
                                            const std::string& gen_prefix, const std::string& delimiter) const {
    std::vector<Turn> turns = opening;
    const std::vector<Turn> last = question_turns({question, "", gen_prefix, delimiter, ""});
    turns.insert(turns.end(), last.begin(), last.end());
    return std::make_shared<const std::string>(render_turns(std::move(turns), options_, !gen_prefix.empty()));
  }

  // Between prompt and scored text. A chat template ends the question itself.
  std::string answer_delimiter() const {
    const TaskConfig& config = task_.config();
    if (!options_.chat_template) return config.target_delimiter;
    const bool continues = config.gen_prefix.is_string() && !config.gen_prefix.get_ref<const std::string&>().empty();
    if (continues && !ends_with_space(config.gen_prefix.get_ref<const std::string&>())) return config.target_delimiter;
    return "";
  }

  // What is scored as it stands has to be text.
  std::string text_target(int64_t row) const {
    const Json target = task_.target(row);
    if (!target.is_string()) {
      fail(ExitCode::kBadInput, "{}: must give text, not {}", compiled_.target.where(), py::repr(target));
    }
    return target.get<std::string>();
  }

  void append_answers(Instance instance, const std::vector<std::string>& choices,
                      std::vector<Instance>& instances) const {
    if (compiled_.document_requests != nullptr) {
      for (Asked& asked : compiled_.document_requests(task_.document(instance.document))) {
        instance.kind = asked.kind;
        instance.continuation = std::move(asked.continuation);
        instances.push_back(instance);
        ++instance.index;
      }
      return;
    }
    switch (task_.config().output_type) {
      case OutputType::kGenerateUntil:
        instance.kind = RequestKind::kGenerateUntil;
        instances.push_back(std::move(instance));
        return;
      case OutputType::kLoglikelihood:
        instance.continuation = text_target(instance.document);
        instances.push_back(std::move(instance));
        return;
      case OutputType::kMultipleChoice: break;
      case OutputType::kLoglikelihoodRolling: return;
    }
    if (choices.empty()) fail(ExitCode::kBadInput, "{}: there are no choices", compiled_.choices.where());
    const std::string delimiter = answer_delimiter();
    for (const std::string& choice : choices) {
      instance.continuation = delimiter + choice;
      instances.push_back(instance);
      ++instance.index;
    }
    append_unconditional(std::move(instance), choices, delimiter, instances);
  }

  // What acc_mutual_info compares with: the bare choices.
  void append_unconditional(Instance instance, const std::vector<std::string>& choices, const std::string& delimiter,
                            std::vector<Instance>& instances) const {
    if (!compiled_.mutual_information) return;
    instance.context = empty_;
    for (const std::string& choice : choices) {
      instance.continuation = delimiter + choice;
      instances.push_back(instance);
      ++instance.index;
    }
  }

  // Each choice is a question of its own, and the target is what is scored after it.
  void append_inputs(Instance instance, const std::vector<Turn>& turns, const std::vector<std::string>& choices,
                     const std::string& gen_prefix, std::vector<Instance>& instances) const {
    const std::string delimiter = answer_delimiter();
    const std::string target = py::str(task_.target(instance.document));
    for (const std::string& choice : choices) {
      instance.context = prompt(turns, choice, gen_prefix, "");
      instance.continuation = delimiter + target;
      instances.push_back(instance);
      ++instance.index;
    }
    append_unconditional(std::move(instance), choices, delimiter, instances);
  }

  const Task& task_;
  const Task::Compiled& compiled_;
  const std::vector<Json>& pool_;
  const TaskOptions& options_;
  std::shared_ptr<const std::string> empty_ = std::make_shared<const std::string>();
};

}  // namespace

bool is_index(const Json& value) { return value.is_number_integer() || value.is_boolean(); }

const std::string& choice_at(const std::vector<std::string>& choices, const Json& index, const std::string& where) {
  const int64_t given = index.is_boolean() ? (index.get<bool>() ? 1 : 0) : index.get<int64_t>();
  const auto count = static_cast<int64_t>(choices.size());
  const int64_t position = given < 0 ? given + count : given;
  if (position < 0 || position >= count) {
    fail(ExitCode::kBadInput, "{}: there is no choice {} among {}", where, given, count);
  }
  return choices[static_cast<size_t>(position)];
}

const std::vector<Turn>& Task::Compiled::example_turns(const FewshotConfig& fewshot, const std::vector<Json>& pool,
                                                       int32_t position) const {
  const std::lock_guard lock(mutex_);
  const auto known = examples_.find(position);
  if (known != examples_.end()) return known->second;
  return examples_.emplace(position, make_example(*this, fewshot, pool[static_cast<size_t>(position)])).first->second;
}

void append_requests(const Task& task, const Task::Compiled& compiled, const TaskOptions& options,
                     const std::vector<Json>& pool, const std::vector<int32_t>& draw, int64_t row,
                     std::vector<Instance>& instances) {
  RequestBuilder(task, compiled, pool, options).append(row, draw, instances);
}

}  // namespace evalmpi::task
