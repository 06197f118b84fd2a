#include "evalmpi/task/task_config.h"

#include <algorithm>
#include <array>

#include "corpus_metrics.h"
#include "evalmpi/base/error.h"
#include "evalmpi/task/aggregate.h"
#include "evalmpi/task/filter.h"
#include "evalmpi/task/metric.h"
#include "evalmpi/text/python.h"
#include "native_functions.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

// Keys in the order in which the harness dumps them. Those of the second list name a task and go no further.
constexpr std::array kTaskKeys = {
    "task",          "task_alias",       "custom_dataset",       "dataset_path",
    "dataset_name",  "dataset_kwargs",   "training_split",       "validation_split",
    "test_split",    "fewshot_split",    "process_docs",         "doc_to_text",
    "doc_to_target", "doc_to_image",     "doc_to_audio",         "unsafe_code",
    "doc_to_choice", "process_results",  "construct_requests",   "use_prompt",
    "description",   "target_delimiter", "fewshot_delimiter",    "fewshot_config",
    "num_fewshot",   "metric_list",      "output_type",          "generation_kwargs",
    "repeats",       "filter_list",      "should_decontaminate", "doc_to_decontamination_query",
    "gen_prefix",    "metadata"};
constexpr std::array kStructuralKeys = {"tag", "group", "task_list", "include"};
constexpr std::array kFewshotKeys = {
    "sampler",       "split",         "process_docs", "fewshot_indices",   "samples",         "doc_to_text",
    "doc_to_choice", "doc_to_target", "gen_prefix",   "fewshot_delimiter", "target_delimiter"};
constexpr int kMaxRepeats = 100'000;
constexpr int kMaxShots = 10'000;

template <typename Keys>
bool contains(const Keys& keys, const std::string& key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

// One mapping of a task file, read key by key with messages that name file, task and key.
class Reader {
 public:
  Reader(const Json& mapping, std::string where) : mapping_(mapping), where_(std::move(where)) {}

  const std::string& where() const { return where_; }

  // The value, or null when the key is absent.
  const Json& get(const char* key) const {
    static const Json kNull;
    const auto found = mapping_.find(key);
    return found == mapping_.end() ? kNull : *found;
  }

  template <typename... Args>
  [[noreturn]] void fail_at(const char* key, fmt::format_string<Args...> format, Args&&... args) const {
    fail(ExitCode::kBadInput, "{}: {} {}", where_, key, fmt::format(format, std::forward<Args>(args)...));
  }

  std::string text(const char* key, const std::string& fallback) const {
    const Json& value = get(key);
    if (value.is_null()) return fallback;
    if (!value.is_string()) fail_at(key, "must be text, not {}", py::repr(value));
    return value.get<std::string>();
  }

  std::optional<std::string> optional_text(const char* key) const {
    if (get(key).is_null()) return {};
    return text(key, "");
  }

  bool boolean(const char* key, bool fallback) const {
    const Json& value = get(key);
    if (value.is_null()) return fallback;
    if (!value.is_boolean()) fail_at(key, "must be true or false, not {}", py::repr(value));
    return value.get<bool>();
  }

  std::optional<int> integer(const char* key, int lowest, int highest) const {
    const Json& value = get(key);
    if (value.is_null()) return {};
    if (!value.is_number_integer() || value.get<int64_t>() < lowest || value.get<int64_t>() > highest) {
      fail_at(key, "must be an integer from {} to {}, not {}", lowest, highest, py::repr(value));
    }
    return value.get<int>();
  }

  Json object(const char* key) const {
    const Json& value = get(key);
    if (value.is_null()) return Json::object();
    if (!value.is_object() || is_function(value)) fail_at(key, "must be a mapping, not {}", py::repr(value));
    return value;
  }

 private:
  const Json& mapping_;
  std::string where_;
};

// Python functions can sit anywhere; only those that evalmpi has itself may stay.
void refuse_functions(const Json& mapping, const std::string& where) {
  std::string names;
  for (const MissingFunction& function : missing_functions(mapping)) {
    names += (names.empty() ? "" : ", ") + fmt::format("{} ({})", function.identity, function.key);
  }
  if (names.empty()) return;
  fail(ExitCode::kBadInput,
       "{}: needs Python functions that are not built in: {}; evalmpi runs tasks of YAML and templates", where, names);
}

void refuse_unsupported(const Reader& reader, const Json& mapping) {
  if (mapping.contains("class")) {
    reader.fail_at("class", "makes this a task written in Python, which evalmpi neither runs nor has itself");
  }
  for (const auto& [key, value] : mapping.items()) {
    if (contains(kStructuralKeys, key)) continue;
    if (!contains(kTaskKeys, key)) fail(ExitCode::kBadInput, "{}: unknown key {}", reader.where(), key);
  }
  refuse_functions(mapping, reader.where());
  for (const char* key : {"doc_to_image", "doc_to_audio", "use_prompt", "custom_dataset"}) {
    if (!reader.get(key).is_null()) reader.fail_at(key, "is not supported");
  }
}

OutputType read_output_type(const Reader& reader) {
  const std::string name = reader.text("output_type", "generate_until");
  for (const OutputType type : {OutputType::kLoglikelihood, OutputType::kLoglikelihoodRolling,
                                OutputType::kMultipleChoice, OutputType::kGenerateUntil}) {
    if (name == output_type_name(type)) return type;
  }
  reader.fail_at("output_type",
                 "must be loglikelihood, loglikelihood_rolling, multiple_choice or generate_until, not {}", name);
}

// Whether a generation can be scored by this metric of one document.
bool fits(const std::string& metric, OutputType type) {
  const bool of_texts = find_corpus_metric(metric) != nullptr;
  return type == OutputType::kGenerateUntil ? of_texts || metric == "exact_match" || metric == "bypass" : !of_texts;
}

MetricConfig read_metric(const Json& entry, OutputType type, const Reader& reader) {
  if (!entry.is_object() || !entry.contains("metric") || !entry["metric"].is_string()) {
    reader.fail_at("metric_list", "must be a list of mappings that name a metric, not {}", py::repr(entry));
  }
  MetricConfig metric;
  metric.name = entry["metric"].get<std::string>();
  const std::optional<MetricDefaults> defaults = metric_defaults(metric.name);
  const Reader fields(entry, reader.where() + ": metric " + metric.name);
  // A process_results gives values under any name; then only the aggregation has to be known.
  const bool own_values = !reader.get("process_results").is_null();
  // With an aggregation of the task's own, values are [target, response].
  const bool own_aggregation = is_function(fields.get("aggregation"));
  if (!own_values && (!defaults || !(fits(metric.name, type) || own_aggregation))) {
    reader.fail_at("metric_list", "names the metric {}, which evalmpi does not have for {}", metric.name,
                   output_type_name(type));
  }
  // The harness calls a metric on texts only for generations that it scores itself.
  const bool is_called = type == OutputType::kGenerateUntil && !own_values && metric.name != "exact_match";
  if (fields.boolean("hf_evaluate", false) && is_called) {
    fields.fail_at("hf_evaluate", "asks for the Python package evaluate, which is not built in");
  }
  if (own_aggregation) {
    metric.aggregation = function_identity(fields.get("aggregation"));
    metric.own_aggregation = find_native(fields.get("aggregation"), FunctionRole::kAggregation).value().aggregation();
  } else {
    metric.aggregation = fields.text("aggregation", defaults ? defaults->aggregation : "");
    if (metric.aggregation.empty()) fields.fail_at("aggregation", "is missing");
    if (!is_aggregation(metric.aggregation)) fields.fail_at("aggregation", "{} is unknown", metric.aggregation);
  }
  metric.higher_is_better = fields.boolean("higher_is_better", !defaults || defaults->higher_is_better);
  for (const auto& [key, value] : entry.items()) {
    if (!own_values && key != "metric" && key != "aggregation" && key != "higher_is_better" && key != "hf_evaluate") {
      metric.kwargs[key] = value;
    }
  }
  return metric;
}

std::vector<MetricConfig> read_metrics(const Reader& reader, OutputType type) {
  const Json& list = reader.get("metric_list");
  std::vector<MetricConfig> metrics;
  if (list.is_null()) {
    for (const std::string& name : default_metrics(type)) {
      const MetricDefaults defaults = *metric_defaults(name);
      metrics.push_back({name, defaults.aggregation, defaults.higher_is_better, Json::object()});
    }
    return metrics;
  }
  if (!list.is_array()) reader.fail_at("metric_list", "must be a list, not {}", py::repr(list));
  for (const Json& entry : list) {
    MetricConfig metric = read_metric(entry, type, reader);
    // A metric named twice has the last entry's settings in the first one's place.
    const auto same =
        std::find_if(metrics.begin(), metrics.end(), [&](const auto& m) { return m.name == metric.name; });
    if (same == metrics.end()) {
      metrics.push_back(std::move(metric));
    } else {
      *same = std::move(metric);
    }
  }
  return metrics;
}

std::vector<FilterConfig> read_filters(const Reader& reader) {
  const Json& list = reader.get("filter_list");
  if (list.is_null()) return {{"none", {{"take_first", Json::object()}}}};
  const char* kShape = "must be a list of {{name: .., filter: [{{function: ..}}]}}, not {}";
  if (!list.is_array() || list.empty()) reader.fail_at("filter_list", fmt::runtime(kShape), py::repr(list));
  std::vector<FilterConfig> filters;
  for (const Json& entry : list) {
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() || !entry.contains("filter") ||
        !entry["filter"].is_array()) {
      reader.fail_at("filter_list", fmt::runtime(kShape), py::repr(entry));
    }
    FilterConfig filter;
    filter.name = entry["name"].get<std::string>();
    for (const Json& step : entry["filter"]) {
      const Json function = step.is_object() ? step.value("function", Json()) : Json();
      if (!function.is_string() && !is_function(function)) {
        reader.fail_at("filter_list", fmt::runtime(kShape), py::repr(entry));
      }
      Json kwargs = step;
      kwargs.erase("function");
      filter.steps.push_back({function.is_string() ? function.get<std::string>() : function_path(function), kwargs});
    }
    filters.push_back(std::move(filter));
  }
  return filters;
}

Json read_generation_kwargs(const Reader& reader, const TaskConfig& config, const TaskOverrides& overrides) {
  const bool generates = config.output_type == OutputType::kGenerateUntil;
  if (reader.get("generation_kwargs").is_null()) {
    if (!generates) return nullptr;
    Json kwargs = {{"temperature", 0.0}, {"do_sample", false}, {"max_gen_toks", 256}};
    kwargs["until"] = Json::array({config.fewshot_delimiter});
    kwargs.update(overrides.generation_kwargs);
    return kwargs;
  }
  Json kwargs = reader.object("generation_kwargs");
  if (kwargs.contains("temperature")) {
    Json& temperature = kwargs["temperature"];
    if (!temperature.is_number()) reader.fail_at("generation_kwargs", "temperature must be a number");
    temperature = temperature.get<double>();
  }
  if (!kwargs.contains("until")) kwargs["until"] = Json::array({config.fewshot_delimiter});
  if (generates) kwargs.update(overrides.generation_kwargs);
  return kwargs;
}

FewshotConfig read_fewshot(const Reader& reader, const TaskConfig& config) {
  const Json own = reader.object("fewshot_config");
  for (const auto& [key, value] : own.items()) {
    if (!contains(kFewshotKeys, key)) reader.fail_at("fewshot_config", "has the unknown key {}", key);
  }
  const Reader fields(own, reader.where() + ": fewshot_config");
  const auto inherit = [&](const char* key, const Json& task_value) -> Json {
    return own.contains(key) ? own[key] : task_value;
  };
  FewshotConfig fewshot;
  fewshot.sampler = fields.text("sampler", "default");
  if (fewshot.sampler != "default" && fewshot.sampler != "first_n") {
    fields.fail_at("sampler", "must be default or first_n, not {}", fewshot.sampler);
  }
  fewshot.split = own.contains("split") ? fields.optional_text("split") : reader.optional_text("fewshot_split");
  fewshot.samples = fields.get("samples");
  const Json& samples = fewshot.samples;
  const auto is_mapping = [](const Json& sample) { return sample.is_object(); };
  const bool listed = samples.is_array() && std::all_of(samples.begin(), samples.end(), is_mapping);
  if (!samples.is_null() && !listed && !is_function(samples)) fields.fail_at("samples", "must be a list of mappings");
  fewshot.process_docs = inherit("process_docs", config.process_docs);
  fewshot.doc_to_text = inherit("doc_to_text", config.doc_to_text);
  if (fewshot.doc_to_text.is_null()) fewshot.doc_to_text = config.doc_to_text;
  fewshot.doc_to_choice = inherit("doc_to_choice", config.doc_to_choice);
  fewshot.doc_to_target = inherit("doc_to_target", config.doc_to_target);
  if (fewshot.doc_to_target.is_null()) fewshot.doc_to_target = config.doc_to_target;
  fewshot.gen_prefix = inherit("gen_prefix", config.gen_prefix);
  fewshot.fewshot_delimiter = fields.text("fewshot_delimiter", config.fewshot_delimiter);
  fewshot.target_delimiter = fields.text("target_delimiter", config.target_delimiter);
  return fewshot;
}

Json without_marks(const Json& value) {
  if (is_function(value)) return "!function " + function_identity(value);
  if (!value.is_structured()) return value;
  Json plain = value;
  for (auto& item : plain) item = without_marks(item);
  return plain;
}

Json dump_of(const Json& mapping, const TaskConfig& config) {
  Json full = {{"unsafe_code", false},
               {"description", ""},
               {"target_delimiter", " "},
               {"fewshot_delimiter", "\n\n"},
               {"output_type", "generate_until"},
               {"repeats", 1},
               {"should_decontaminate", false}};
  full.update(mapping);
  full["num_fewshot"] = config.num_fewshot;
  full["generation_kwargs"] = config.generation_kwargs;
  full["metadata"] = config.metadata;
  const FewshotConfig& fewshot = config.fewshot;
  full["fewshot_config"] = {{"sampler", fewshot.sampler},
                            {"split", fewshot.split ? Json(*fewshot.split) : Json()},
                            {"process_docs", fewshot.process_docs},
                            {"fewshot_indices", nullptr},
                            {"samples", fewshot.samples},
                            {"doc_to_text", fewshot.doc_to_text},
                            {"doc_to_choice", fewshot.doc_to_choice},
                            {"doc_to_target", fewshot.doc_to_target},
                            {"gen_prefix", fewshot.gen_prefix},
                            {"fewshot_delimiter", fewshot.fewshot_delimiter},
                            {"target_delimiter", fewshot.target_delimiter}};
  Json dump = Json::object();
  for (const char* key : kTaskKeys) {
    const auto found = full.find(key);
    if (found != full.end() && !found->is_null()) dump[key] = without_marks(*found);
  }
  return dump;
}

// metadata as a mapping that says where the task was written.
Json read_metadata(const Reader& reader, const std::filesystem::path& file) {
  const Json& value = reader.get("metadata");
  Json metadata = Json::object();
  if (value.is_object()) {
    metadata = value;
  } else if (!value.is_null()) {
    metadata["_metadata"] = value;
  }
  metadata["config_source"] = file.string();
  return metadata;
}

int resolve_shots(const Reader& reader, const TaskOverrides& overrides) {
  const std::optional<int> own = reader.integer("num_fewshot", 0, kMaxShots);
  if (!overrides.num_fewshot || own == 0) return own.value_or(0);
  if (*overrides.num_fewshot < 0 || *overrides.num_fewshot > kMaxShots) {
    fail(ExitCode::kUsage, "the number of examples must be from 0 to {}, not {}", kMaxShots, *overrides.num_fewshot);
  }
  return *overrides.num_fewshot;
}

// What is asked of the model, and nothing that a score needs.
Json without_scores(Json mapping) {
  if (!mapping.is_object()) return mapping;
  mapping.erase("process_results");
  mapping["metric_list"] = Json::array({{{"metric", "bypass"}}});
  if (mapping.contains("filter_list") && !missing_functions(mapping["filter_list"]).empty()) {
    mapping.erase("filter_list");
  }
  return mapping;
}

void refuse_odd_requests(const Reader& reader, const TaskConfig& config) {
  if (config.construct_requests.is_null()) return;
  if (!is_function(config.construct_requests)) reader.fail_at("construct_requests", "must be a !function");
  if (config.output_type != OutputType::kGenerateUntil || config.repeats != 1) {
    reader.fail_at("construct_requests", "needs the output type generate_until and asks once, without repeats");
  }
  const bool is_scored = config.metrics.size() != 1 || config.metrics.front().name != "bypass";
  if (is_scored && config.process_results.is_null()) reader.fail_at("construct_requests", "needs process_results");
}

}  // namespace

const char* output_type_name(OutputType type) {
  switch (type) {
    case OutputType::kLoglikelihood: return "loglikelihood";
    case OutputType::kLoglikelihoodRolling: return "loglikelihood_rolling";
    case OutputType::kMultipleChoice: return "multiple_choice";
    case OutputType::kGenerateUntil: return "generate_until";
  }
  return "";
}

TaskConfig make_task_config(const Json& given, const std::filesystem::path& file, const TaskOverrides& overrides) {
  const Json mapping = with_class_written_out(given);
  if (overrides.predict_only) {
    TaskOverrides others = overrides;
    others.predict_only = false;
    TaskConfig config = make_task_config(without_scores(mapping), file, others);
    config.dump = dump_of(mapping, config);
    return config;
  }
  const std::string name =
      mapping.contains("task") && mapping["task"].is_string() ? mapping["task"].get<std::string>() : std::string("?");
  const Reader reader(mapping, fmt::format("{}: task {}", file.string(), name));
  if (name == "?") reader.fail_at("task", "must be the task's name");
  refuse_unsupported(reader, mapping);

  TaskConfig config;
  config.name = name;
  config.alias = reader.text("task_alias", name);
  config.file = file;
  config.dataset_path = reader.text("dataset_path", "");
  if (config.dataset_path.empty()) reader.fail_at("dataset_path", "is missing");
  if (!reader.get("dataset_name").is_null()) config.dataset_name = py::str(reader.get("dataset_name"));
  config.dataset_kwargs = reader.object("dataset_kwargs");
  config.dataset_kwargs.erase("trust_remote_code");
  config.training_split = reader.optional_text("training_split");
  config.validation_split = reader.optional_text("validation_split");
  config.test_split = reader.optional_text("test_split");
  if (!config.test_split && !config.validation_split) reader.fail_at("test_split", "or validation_split must be set");
  config.process_docs = reader.get("process_docs");
  config.doc_to_text = reader.get("doc_to_text");
  config.doc_to_target = reader.get("doc_to_target");
  config.doc_to_choice = reader.get("doc_to_choice");
  config.gen_prefix = reader.get("gen_prefix");
  config.process_results = reader.get("process_results");
  config.construct_requests = reader.get("construct_requests");
  config.description = reader.text("description", "");
  config.target_delimiter = reader.text("target_delimiter", " ");
  config.fewshot_delimiter = reader.text("fewshot_delimiter", "\n\n");
  config.fewshot = read_fewshot(reader, config);
  config.num_fewshot = resolve_shots(reader, overrides);
  config.output_type = read_output_type(reader);
  config.generation_kwargs = read_generation_kwargs(reader, config, overrides);
  config.repeats = reader.integer("repeats", 1, kMaxRepeats).value_or(1);
  config.metrics = read_metrics(reader, config.output_type);
  refuse_odd_requests(reader, config);
  config.filters = read_filters(reader);
  for (const FilterConfig& filter : config.filters) FilterPipeline(filter, reader.where());
  config.metadata = read_metadata(reader, file);
  config.version = config.metadata.value("version", Json("Yaml"));
  config.dump = dump_of(mapping, config);
  return config;
}

}  // namespace evalmpi::task
