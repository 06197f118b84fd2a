#include "evalmpi/task/task.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compiled.h"
#include "evalmpi/base/error.h"
#include "evalmpi/task/python_random.h"
#include "evalmpi/text/python.h"
#include "native_functions.h"

namespace evalmpi::task {

namespace {

namespace py = text::python;

constexpr int64_t kDefaultSeed = 1234;

std::string where_of(const TaskConfig& config) { return config.file.string() + ": task " + config.name; }

data::Split load_processed(const TaskConfig& config, const std::string& split, const Json& process_docs,
                           const data::DataRoots& roots) {
  data::DatasetReference reference;
  reference.path = config.dataset_path;
  reference.name = config.dataset_name;
  reference.kwargs = config.dataset_kwargs;
  reference.base_dir = config.file.parent_path();
  data::Split loaded = data::load_split(reference, split, roots);
  if (is_function(process_docs)) {
    const std::optional<BoundFunction> function = find_native(process_docs, FunctionRole::kProcessDocs);
    EVALMPI_CHECK(function.has_value());
    function->process_docs(loaded.columns, loaded.rows);
  } else if (!process_docs.is_null()) {
    fail(ExitCode::kBadInput, "{}: process_docs must be a !function", where_of(config));
  }
  return loaded;
}

// The pool of examples: the split or samples that the file names, else training, validation, test.
std::vector<Json> load_pool(const TaskConfig& config, const data::DataRoots& roots) {
  const FewshotConfig& fewshot = config.fewshot;
  if (fewshot.split) return load_processed(config, *fewshot.split, fewshot.process_docs, roots).rows;
  if (is_function(fewshot.samples)) {
    const std::optional<BoundFunction> function = find_native(fewshot.samples, FunctionRole::kSamples);
    EVALMPI_CHECK(function.has_value());
    return function->samples();
  }
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

std::shared_ptr<Task::Compiled> compile(const TaskConfig& config, const data::Split& documents) {
  const Columns columns(documents.columns.begin(), documents.columns.end());
  const std::string where = where_of(config);
  const auto field = [&](const Json& spec, const char* key) {
    return Field::compile(spec, columns, where + ": " + key);
  };
  auto made = std::make_shared<Task::Compiled>();
  Task::Compiled& compiled = *made;
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
  if (is_function(config.construct_requests)) {
    const auto function = find_native(config.construct_requests, FunctionRole::kDocumentRequests);
    compiled.document_requests = function.value().document_requests();
  }
  const bool is_scored = config.metrics.size() != 1 || config.metrics.front().name != "bypass";
  if (is_function(config.process_results) && is_scored) {
    const auto function = find_native(config.process_results, FunctionRole::kProcessResults);
    compiled.process_results = function->process_results();
    compiled.check_document = function->twin->check_document;
    return made;
  }
  for (const MetricConfig& metric : config.metrics) {
    if (metric.name == "acc_mutual_info") compiled.mutual_information = true;
    if (metric.name == "exact_match" && config.output_type == OutputType::kGenerateUntil) {
      compiled.exact_match.emplace_back(metric.kwargs, where);
    }
  }
  return made;
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
  const std::shared_ptr<Compiled> compiled = compile(task.config_, task.documents_);
  for_row(task.config_, 0, [&] { look_at_first_document(*compiled, task.config_, task.documents_.rows.front()); });
  task.compiled_ = compiled;
  task.evaluated_ = choose_rows(task.n_rows(), task.options_, where_of(task.config_));
  if (compiled->check_document != nullptr) task.check_documents();
  task.draw_examples();
  return task;
}

// Names every reason once, with the rows that have it.
void Task::check_documents() const {
  std::vector<std::pair<std::string, std::vector<int64_t>>> reasons;
  for (const int64_t row : evaluated_) {
    try {
      compiled_->check_document(document(row));
    } catch (const Error& error) {
      const auto same = [&](const auto& reason) { return reason.first == error.what(); };
      auto reason = std::find_if(reasons.begin(), reasons.end(), same);
      if (reason == reasons.end()) reason = reasons.insert(reasons.end(), {error.what(), {}});
      reason->second.push_back(row);
    }
  }
  if (reasons.empty()) return;
  std::string message;
  for (const auto& [reason, rows] : reasons) message += fmt::format("\n  {} (rows {})", reason, fmt::join(rows, ", "));
  fail(ExitCode::kBadInput,
       "{}: documents that evalmpi cannot score as lm-evaluation-harness does; choose others with --samples, or only "
       "generate with --predict-only:{}",
       where_of(config_), message);
}

void Task::draw_examples() {
  if (config_.num_fewshot == 0 || !options_.draws_examples) return;
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

Json Task::target(int64_t row) const {
  return target_of(compiled_->target, document(row), compiled_->choices.exists());
}

std::vector<Instance> Task::build(int64_t first, int64_t last) const {
  EVALMPI_CHECK(first >= 0 && first <= last && last <= static_cast<int64_t>(evaluated_.size()));
  std::vector<Instance> instances;
  for (int64_t position = first; position < last; ++position) {
    const int64_t row = evaluated_[static_cast<size_t>(position)];
    for_row(config_, row,
            [&] { append_requests(*this, *compiled_, options_, pool_, fewshot_draw(position), row, instances); });
  }
  return instances;
}

std::vector<FilterScores> Task::score(int64_t row, const std::vector<std::vector<Json>>& responses) const {
  return for_row(config_, row, [&] {
    std::vector<FilterScores> all;
    for (const FilterPipeline& filter : compiled_->filters) {
      FilterScores scores;
      scores.filter = filter.name();
      for (const std::vector<Json>& repeats : responses) {
        scores.filtered_responses.push_back(filter.apply(repeats, document(row)));
      }
      scores.metrics = document_metrics(*this, *compiled_, row, scores.filtered_responses);
      all.push_back(std::move(scores));
    }
    return all;
  });
}

}  // namespace evalmpi::task
