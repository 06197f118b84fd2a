#include "evalmpi/task/task.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <unordered_map>

#include "builtin_functions.h"
#include "evalmpi/base/error.h"
#include "evalmpi/task/filter.h"
#include "evalmpi/task/python_random.h"
#include "evalmpi/text/python.h"
#include "fields.h"
#include "prompt.h"

namespace evalmpi::task {

// A configuration's fields, filters and metrics, ready for use. Immutable, shared by copies of the task.
struct Task::Compiled {
  Field question;
  Field target;
  Field choices;
  Field gen_prefix;
  Field description;
  Field fewshot_question;
  Field fewshot_target;
  Field fewshot_choices;
  Field fewshot_gen_prefix;
  std::vector<FilterPipeline> filters;
  std::vector<ExactMatch> exact_match;  // one, for generations
  bool multiple_input = false;          // the choices are questions, the target is what is scored
  bool multiple_target = false;
  bool mutual_information = false;
};

namespace {

namespace py = text::python;

constexpr int64_t kDefaultSeed = 1234;

std::string where_of(const TaskConfig& config) { return config.file.string() + ": task " + config.name; }

// A choice by Python's index: -1 is the last.
const std::string& choice_at(const std::vector<std::string>& choices, const Json& index, const std::string& where) {
  const int64_t given = index.is_boolean() ? (index.get<bool>() ? 1 : 0) : index.get<int64_t>();
  const auto count = static_cast<int64_t>(choices.size());
  const int64_t position = given < 0 ? given + count : given;
  if (position < 0 || position >= count) {
    fail(ExitCode::kBadInput, "{}: there is no choice {} among {}", where, given, count);
  }
  return choices[static_cast<size_t>(position)];
}

bool is_index(const Json& value) { return value.is_number_integer() || value.is_boolean(); }

// The text of an example's answer; empty where the target is empty or null.
std::string answer_text(const Json& target, const std::vector<std::string>& choices, const std::string& where) {
  if (target.is_null()) return "";
  if (is_index(target) && !choices.empty()) return choice_at(choices, target, where);
  const Json& answer = target.is_array() && !target.empty() ? target.front() : target;
  if (!answer.is_string()) fail(ExitCode::kBadInput, "{}: an answer must be text, not {}", where, py::repr(target));
  return answer.get<std::string>();
}

data::Split load_processed(const TaskConfig& config, const std::string& split, const Json& process_docs,
                           const data::DataRoots& roots) {
  data::DatasetReference reference;
  reference.path = config.dataset_path;
  reference.name = config.dataset_name;
  reference.kwargs = config.dataset_kwargs;
  reference.base_dir = config.file.parent_path();
  data::Split loaded = data::load_split(reference, split, roots);
  if (is_function(process_docs)) {
    process_documents(function_identity(process_docs), loaded.columns, loaded.rows);
  } else if (!process_docs.is_null()) {
    fail(ExitCode::kBadInput, "{}: process_docs must be a !function", where_of(config));
  }
  return loaded;
}

// The pool of examples: the split or samples that the file names, else training, validation, test.
std::vector<Json> load_pool(const TaskConfig& config, const data::DataRoots& roots) {
  const FewshotConfig& fewshot = config.fewshot;
  if (fewshot.split) return load_processed(config, *fewshot.split, fewshot.process_docs, roots).rows;
  if (fewshot.samples.is_array()) return {fewshot.samples.begin(), fewshot.samples.end()};
  for (const auto& split : {config.training_split, config.validation_split, config.test_split}) {
    if (split) return load_processed(config, *split, config.process_docs, roots).rows;
  }
  return {};
}

std::vector<int64_t> choose_rows(int64_t n_rows, const TaskOptions& options, const std::string& where) {
  std::vector<int64_t> rows = options.rows;
  if (!rows.empty()) {
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    if (options.limit) fail(ExitCode::kUsage, "{}: a limit and a list of rows exclude each other", where);
    if (rows.front() < 0 || rows.back() >= n_rows) {
      fail(ExitCode::kUsage, "{}: rows must be from 0 to {}", where, n_rows - 1);
    }
    return rows;
  }
  int64_t count = n_rows;
  if (options.limit) {
    const double limit = *options.limit;
    if (!(limit > 0)) fail(ExitCode::kUsage, "{}: the limit must be positive, not {}", where, limit);
    const double wanted = limit < 1 ? std::ceil(static_cast<double>(n_rows) * limit) : std::floor(limit);
    if (wanted < static_cast<double>(n_rows)) count = static_cast<int64_t>(wanted);
  }
  rows.resize(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

// The draws of all evaluated documents from one generator.
class Sampler {
 public:
  Sampler(const std::vector<Json>& pool, int64_t shots, int64_t seed, std::string where)
      : pool_(pool), shots_(shots), random_(seed), where_(std::move(where)) {}

  // Examples for a document that is not in the pool.
  std::vector<int32_t> draw() { return narrow(sample(static_cast<int64_t>(pool_.size()), shots_)); }

  // Examples for a document that may be: one more is drawn, copies of the document are dropped; where too few are
  // left, they are drawn again from the pool without any copy.
  std::vector<int32_t> draw_without(const Json& document) {
    std::vector<int64_t> drawn = sample(static_cast<int64_t>(pool_.size()), shots_ + 1);
    std::erase_if(drawn, [&](int64_t i) { return at(i) == document; });
    if (static_cast<int64_t>(drawn.size()) >= shots_) {
      drawn.resize(static_cast<size_t>(shots_));
      return narrow(drawn);
    }
    const std::vector<int64_t> others = positions_without(document);
    std::vector<int64_t> again = sample(static_cast<int64_t>(others.size()), shots_);
    for (int64_t& position : again) position = others[static_cast<size_t>(position)];
    return narrow(again);
  }

  // The first examples of the pool, without copies of the document where one is given.
  std::vector<int32_t> first(const Json* document) const {
    std::vector<int32_t> chosen;
    for (size_t i = 0; i < pool_.size() && static_cast<int64_t>(chosen.size()) < shots_; ++i) {
      if (document == nullptr || pool_[i] != *document) chosen.push_back(static_cast<int32_t>(i));
    }
    require(shots_, static_cast<int64_t>(chosen.size()));
    return chosen;
  }

 private:
  const Json& at(int64_t position) const { return pool_[static_cast<size_t>(position)]; }

  void require(int64_t wanted, int64_t available) const {
    if (wanted > available) {
      fail(ExitCode::kBadInput, "{}: {} examples are needed and {} can be drawn", where_, wanted, available);
    }
  }

  std::vector<int64_t> sample(int64_t population, int64_t count) {
    require(count, population);
    return random_.sample(population, count);
  }

  std::vector<int64_t> positions_without(const Json& document) const {
    std::vector<int64_t> positions;
    for (size_t i = 0; i < pool_.size(); ++i) {
      if (pool_[i] != document) positions.push_back(static_cast<int64_t>(i));
    }
    return positions;
  }

  static std::vector<int32_t> narrow(const std::vector<int64_t>& positions) {
    return {positions.begin(), positions.end()};
  }

  const std::vector<Json>& pool_;
  int64_t shots_;
  PythonRandom random_;
  std::string where_;
};

Task::Compiled compile(const TaskConfig& config, const data::Split& documents) {
  const Columns columns(documents.columns.begin(), documents.columns.end());
  const std::string where = where_of(config);
  const auto field = [&](const Json& spec, const char* key) { return Field::compile(spec, columns, where + ": " + key); };
  Task::Compiled compiled;
  compiled.question = field(config.doc_to_text, "doc_to_text");
  compiled.target = field(config.doc_to_target, "doc_to_target");
  compiled.choices = field(config.doc_to_choice, "doc_to_choice");
  compiled.gen_prefix = field(config.gen_prefix, "gen_prefix");
  compiled.description = field(config.description, "description");
  const FewshotConfig& fewshot = config.fewshot;
  compiled.fewshot_question = field(fewshot.doc_to_text, "fewshot_config: doc_to_text");
  compiled.fewshot_target = field(fewshot.doc_to_target, "fewshot_config: doc_to_target");
  compiled.fewshot_choices = field(fewshot.doc_to_choice, "fewshot_config: doc_to_choice");
  compiled.fewshot_gen_prefix = field(fewshot.gen_prefix, "fewshot_config: gen_prefix");
  for (const FilterConfig& filter : config.filters) compiled.filters.emplace_back(filter, where);
  for (const MetricConfig& metric : config.metrics) {
    if (metric.name == "acc_mutual_info") compiled.mutual_information = true;
    if (metric.name == "exact_match" && config.output_type == OutputType::kGenerateUntil) {
      compiled.exact_match.emplace_back(metric.kwargs, where);
    }
  }
  return compiled;
}

// Multiple inputs and multiple targets are properties of a task, seen on its first document.
void look_at_first_document(Task::Compiled& compiled, const TaskConfig& config, const Json& document) {
  const bool has_choices = compiled.choices.exists();
  if (!compiled.question.exists() && config.output_type != OutputType::kLoglikelihoodRolling) {
    fail(ExitCode::kBadInput, "{}: doc_to_text is missing", where_of(config));
  }
  if (!compiled.target.exists()) fail(ExitCode::kBadInput, "{}: doc_to_target is missing", where_of(config));
  if (config.output_type == OutputType::kMultipleChoice && !has_choices) {
    fail(ExitCode::kBadInput, "{}: doc_to_choice is missing", where_of(config));
  }
  compiled.multiple_target = target_of(compiled.target, document, has_choices).is_array();
  if (compiled.question.exists() && has_choices) {
    compiled.multiple_input = is_index(question_of(compiled.question, document, has_choices));
  }
}

// Runs `body` so that its failure says which row it was.
template <typename Body>
auto for_row(const TaskConfig& config, int64_t row, Body body) {
  try {
    return body();
  } catch (const Error& error) {
    fail(error.code(), "{} (task {}, row {})", error.what(), config.name, row);
  }
}

}  // namespace

// Makes the prompts of a range of documents; keeps the turns of examples that were used before.
class PromptBuilder {
 public:
  PromptBuilder(const Task& task, const Task::Compiled& compiled, const std::vector<Json>& pool,
                const TaskOptions& options)
      : task_(task), compiled_(compiled), pool_(pool), options_(options) {}

  void append(int64_t row, const std::vector<int32_t>& draw, std::vector<Instance>& instances) {
    const Json& document = task_.document(row);
    const TaskConfig& config = task_.config();
    Instance instance;
    instance.document = row;
    if (config.output_type == OutputType::kLoglikelihoodRolling) {
      instance.kind = RequestKind::kLoglikelihoodRolling;
      instance.context = empty_;
      instance.continuation = py::str(task_.target(row));
      instances.push_back(std::move(instance));
      return;
    }
    std::vector<Turn> turns = opening(document);
    for (const int32_t position : draw) {
      const std::vector<Turn>& example = example_turns(position);
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
    append_requests(std::move(instance), choices, instances);
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

  // A field that is the name of a column of this very document is that column.
  static std::string own_column_or(const Field& field, const std::string& name, const Json& document) {
    const auto column = document.find(name);
    if (column == document.end()) return field.text(document);
    return column->is_null() ? "" : py::str(*column);
  }

  const std::vector<Turn>& example_turns(int32_t position) {
    const auto [entry, is_new] = examples_.try_emplace(position);
    if (is_new) entry->second = make_example(pool_[static_cast<size_t>(position)]);
    return entry->second;
  }

  std::vector<Turn> make_example(const Json& example) const {
    const FewshotConfig& fewshot = task_.config().fewshot;
    // Digits are an index where the task has choices, whatever the examples have.
    const bool has_choices = compiled_.choices.exists();
    std::vector<std::string> choices;
    if (compiled_.fewshot_choices.exists()) choices = choices_of(compiled_.fewshot_choices, example);
    const Json question = question_of(compiled_.fewshot_question, example, has_choices);
    const Json target = target_of(compiled_.fewshot_target, example, has_choices);
    QuestionParts parts;
    if (compiled_.multiple_input && is_index(question)) {
      parts.question = choice_at(choices, question, compiled_.fewshot_question.where());
      choices.clear();
    } else if (question.is_string()) {
      parts.question = question.get<std::string>();
    } else {
      fail(ExitCode::kBadInput, "{}: must give text, not {}", compiled_.fewshot_question.where(), py::repr(question));
    }
    parts.answer = answer_text(target, choices, compiled_.fewshot_target.where());
    if (compiled_.fewshot_gen_prefix.exists() && fewshot.gen_prefix.is_string()) {
      parts.gen_prefix =
          own_column_or(compiled_.fewshot_gen_prefix, fewshot.gen_prefix.get_ref<const std::string&>(), example);
    }
    parts.target_delimiter = fewshot.target_delimiter;
    parts.fewshot_delimiter = fewshot.fewshot_delimiter;
    return question_turns(parts);
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

  void append_requests(Instance instance, const std::vector<std::string>& choices,
                       std::vector<Instance>& instances) const {
    switch (task_.config().output_type) {
      case OutputType::kGenerateUntil:
        instance.kind = RequestKind::kGenerateUntil;
        instances.push_back(std::move(instance));
        return;
      case OutputType::kLoglikelihood: {
        const Json target = task_.target(instance.document);
        if (!target.is_string()) {
          fail(ExitCode::kBadInput, "{}: must give text, not {}", compiled_.target.where(), py::repr(target));
        }
        instance.continuation = target.get<std::string>();
        instances.push_back(std::move(instance));
        return;
      }
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
  std::unordered_map<int32_t, std::vector<Turn>> examples_;
  std::shared_ptr<const std::string> empty_ = std::make_shared<const std::string>();
};

Task Task::load(TaskConfig config, const data::DataRoots& roots, TaskOptions options) {
  const std::string split = config.test_split ? *config.test_split : config.validation_split.value();
  data::Split documents = load_processed(config, split, config.process_docs, roots);
  std::vector<Json> pool;
  if (config.num_fewshot > 0) pool = load_pool(config, roots);
  return from_documents(std::move(config), std::move(documents), std::move(pool), std::move(options));
}

Task Task::from_documents(TaskConfig config, data::Split documents, std::vector<Json> pool, TaskOptions options) {
  Task task;
  task.config_ = std::move(config);
  task.documents_ = std::move(documents);
  task.pool_ = std::move(pool);
  task.options_ = std::move(options);
  if (task.documents_.rows.empty()) {
    fail(ExitCode::kBadInput, "{}: the evaluated split has no rows", where_of(task.config_));
  }
  auto compiled = std::make_shared<Compiled>(compile(task.config_, task.documents_));
  for_row(task.config_, 0, [&] { look_at_first_document(*compiled, task.config_, task.documents_.rows.front()); });
  task.compiled_ = std::move(compiled);
  task.evaluated_ = choose_rows(task.n_rows(), task.options_, where_of(task.config_));
  task.draw_examples();
  return task;
}

void Task::draw_examples() {
  if (config_.num_fewshot == 0) return;
  Sampler sampler(pool_, config_.num_fewshot, options_.fewshot_seed.value_or(kDefaultSeed), where_of(config_));
  // Both may be unset, which also counts as the same split.
  const bool may_hold_document = config_.fewshot.split == config_.test_split;
  if (config_.fewshot.sampler == "first_n" && !may_hold_document) {
    draws_.push_back(sampler.first(nullptr));
    return;
  }
  draws_.reserve(evaluated_.size());
  for (const int64_t row : evaluated_) {
    const Json& document = this->document(row);
    if (config_.fewshot.sampler == "first_n") {
      draws_.push_back(sampler.first(&document));
    } else {
      draws_.push_back(may_hold_document && !document.empty() ? sampler.draw_without(document) : sampler.draw());
    }
  }
}

const std::vector<int32_t>& Task::fewshot_draw(int64_t position) const {
  static const std::vector<int32_t> kNone;
  if (draws_.empty()) return kNone;
  return draws_.size() == 1 ? draws_.front() : draws_.at(static_cast<size_t>(position));
}

Json Task::target(int64_t row) const { return target_of(compiled_->target, document(row), compiled_->choices.exists()); }

std::vector<Instance> Task::build(int64_t first, int64_t last) const {
  EVALMPI_CHECK(first >= 0 && first <= last && last <= static_cast<int64_t>(evaluated_.size()));
  std::vector<Instance> instances;
  PromptBuilder builder(*this, *compiled_, pool_, options_);
  for (int64_t position = first; position < last; ++position) {
    const int64_t row = evaluated_[static_cast<size_t>(position)];
    for_row(config_, row, [&] { builder.append(row, fewshot_draw(position), instances); });
  }
  return instances;
}

namespace {

struct LoglikelihoodPair {
  double log_likelihood = 0;
  bool is_greedy = false;
};

LoglikelihoodPair pair_of(const Json& response) {
  if (!response.is_array() || response.size() != 2 || !response[0].is_number()) {
    fail(ExitCode::kBadInput, "the filters must leave one log-likelihood for each request, not {}", py::repr(response));
  }
  const Json& greedy = response[1];
  return {response[0].get<double>(), greedy.is_boolean() ? greedy.get<bool>() : greedy != 0};
}

// The gold text of a generation: a choice, or the target as text.
std::vector<std::string> references_of(const Task& task, const Task::Compiled& compiled, int64_t row) {
  const Json target = task.target(row);
  if (compiled.choices.exists()) {
    const std::vector<std::string> choices = choices_of(compiled.choices, task.document(row));
    if (!is_index(target)) {
      fail(ExitCode::kBadInput, "{}: must give the index of a choice, not {}", compiled.target.where(), py::repr(target));
    }
    return {choice_at(choices, target, compiled.target.where())};
  }
  if (!compiled.multiple_target) return {py::str(target)};
  std::vector<std::string> references;
  if (target.is_string()) {
    // The harness makes a list of it, as Python does: of its characters. Its scores are the measure.
    const std::string& text = target.get_ref<const std::string&>();
    for (const std::string_view character : py::code_points(text)) references.emplace_back(character);
    return references;
  }
  if (!target.is_array()) return {py::str(target)};
  for (const Json& one : target) references.push_back(py::str(one));
  return references;
}

MetricValues generation_metrics(const Task& task, const Task::Compiled& compiled, int64_t row, const Json& response) {
  MetricValues values;
  for (const MetricConfig& metric : task.config().metrics) {
    if (metric.name != "exact_match") {
      values.emplace_back(metric.name, nullptr);
      continue;
    }
    if (!response.is_string()) {
      fail(ExitCode::kBadInput, "the filters must leave one text for exact_match, not {}", py::repr(response));
    }
    const std::vector<std::string> references = references_of(task, compiled, row);
    const bool equal = std::any_of(references.begin(), references.end(), [&](const std::string& reference) {
      return compiled.exact_match.front().equal(response.get_ref<const std::string&>(), reference);
    });
    values.emplace_back(metric.name, equal ? 1.0 : 0.0);
  }
  return values;
}

MetricValues choice_metrics(const Task& task, const Task::Compiled& compiled, int64_t row,
                            const std::vector<Json>& responses) {
  ChoiceScores scores;
  scores.choices = choices_of(compiled.choices, task.document(row));
  const size_t expected = scores.choices.size() * (compiled.mutual_information ? 2 : 1);
  if (responses.size() != expected) {
    fail(ExitCode::kInternal, "{} responses for {} requests", responses.size(), expected);
  }
  for (size_t i = 0; i < responses.size(); ++i) {
    const LoglikelihoodPair pair = pair_of(responses[i]);
    if (i >= scores.choices.size()) {
      scores.unconditional.push_back(pair.log_likelihood);
      continue;
    }
    scores.log_likelihoods.push_back(pair.log_likelihood);
    scores.is_greedy.push_back(pair.is_greedy);
  }
  scores.gold = compiled.multiple_input ? question_of(compiled.question, task.document(row), true) : task.target(row);
  return multiple_choice_metrics(task.config().metrics, scores);
}

MetricValues metrics_of(const Task& task, const Task::Compiled& compiled, int64_t row,
                        const std::vector<Json>& responses) {
  if (task.config().output_type == OutputType::kMultipleChoice) return choice_metrics(task, compiled, row, responses);
  if (responses.size() != 1) fail(ExitCode::kInternal, "{} responses for one request", responses.size());
  const Json& response = responses.front();
  if (task.config().output_type == OutputType::kGenerateUntil) {
    return generation_metrics(task, compiled, row, response);
  }
  if (task.config().output_type == OutputType::kLoglikelihood) {
    const LoglikelihoodPair pair = pair_of(response);
    return loglikelihood_metrics(task.config().metrics, pair.log_likelihood, pair.is_greedy);
  }
  if (!response.is_number()) {
    fail(ExitCode::kBadInput, "the filters must leave one log-likelihood, not {}", py::repr(response));
  }
  return rolling_metrics(task.config().metrics, response.get<double>(), py::str(task.target(row)));
}

}  // namespace

std::vector<FilterScores> Task::score(int64_t row, const std::vector<std::vector<Json>>& responses) const {
  return for_row(config_, row, [&] {
    std::vector<FilterScores> all;
    for (const FilterPipeline& filter : compiled_->filters) {
      FilterScores scores;
      scores.filter = filter.name();
      for (const std::vector<Json>& repeats : responses) {
        scores.filtered_responses.push_back(filter.apply(repeats, document(row)));
      }
      scores.metrics = metrics_of(*this, *compiled_, row, scores.filtered_responses);
      all.push_back(std::move(scores));
    }
    return all;
  });
}

}  // namespace evalmpi::task
