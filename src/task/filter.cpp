#include "evalmpi/task/filter.h"

#include <algorithm>
#include <functional>
#include <set>

#include "evalmpi/base/error.h"
#include "filter_steps.h"
#include "native/filter_classes.h"
#include "tagged_words.h"

namespace evalmpi::task {

struct FilterPipeline::Step {
  std::function<Json(Json value, const Json& document)> apply;
};

namespace {

namespace py = text::python;

using Apply = FilterApply;
using Arguments = FilterArguments;

// A step that changes every response on its own.
template <typename Change>
Apply for_each(std::string where, Change change) {
  return for_each_response(
      std::move(where), [change = std::move(change)](const Json& response, const Json&) { return change(response); });
}

// A step that changes every response, all of which must be text.
template <typename Change>
Apply for_each_text(const std::string& where, Change change) {
  return for_each(where, [where, change = std::move(change)](const Json& response) -> Json {
    if (!response.is_string()) fail(ExitCode::kBadInput, "{}: a response is {}, not text", where, py::repr(response));
    return change(response.get_ref<const std::string&>());
  });
}

Apply make_regex(Arguments& arguments) {
  auto regex = std::make_shared<const text::Regex>(
      text::Regex::compile(arguments.take_text("regex_pattern", "#### (\\-?[0-9\\.\\,]+)"), arguments.where()));
  const int64_t select = arguments.take_integer("group_select", 0);
  const std::string fallback = arguments.take_text("fallback", "[invalid]");
  return for_each(arguments.where(), [regex, select, fallback](const Json& response) -> Json {
    const std::optional<std::string> found = found_text(*regex, response_text(response), select);
    return found ? py::strip(*found) : fallback;
  });
}

Apply make_map(Arguments& arguments) {
  const Json mapping = arguments.take("mapping_dict", Json::object());
  if (!mapping.is_object()) fail(ExitCode::kBadInput, "{}: mapping_dict must be a mapping", arguments.where());
  const Json fallback = arguments.take("default_value", Json());
  return for_each(arguments.where(), [mapping, fallback](const Json& response) -> Json {
    if (!response.is_string()) return fallback;
    const auto found = mapping.find(response.get_ref<const std::string&>());
    return found == mapping.end() ? fallback : *found;
  });
}

// The pattern and the choice of a match are taken, as in the harness, and used for nothing.
Apply make_tags(Arguments& arguments) {
  text::Regex::compile(arguments.take_text("regex_pattern", "\\['(.*?)'\\]"), arguments.where());
  arguments.take_integer("group_select", 0);
  Json fallback = arguments.take("fallback", Json());
  if (fallback.is_null()) fallback = Json::array({"invalid"});
  return for_each_text(arguments.where(), [fallback](const std::string& text) {
    Json tags = part_of_speech_tags(text);
    return tags.empty() ? fallback : tags;
  });
}

Json most_common(const Json& responses) {
  const Json* winner = &responses.front();
  ptrdiff_t most = 0;
  for (const Json& response : responses) {
    const ptrdiff_t count = std::count(responses.begin(), responses.end(), response);
    if (count > most) {
      most = count;
      winner = &response;
    }
  }
  return *winner;
}

Apply make_selection(const std::string& function, Arguments& arguments) {
  const int64_t count = function == "take_first_k" ? arguments.take_integer("k", 0) : 1;
  const std::string where = arguments.where();
  if (count < 1) fail(ExitCode::kBadInput, "{}: k must be at least 1", where);
  return [function, count, where](Json value, const Json&) -> Json {
    if (!value.is_array() || value.empty()) fail(ExitCode::kBadInput, "{}: there is no list of responses", where);
    if (function == "take_first") return value.front();
    if (function == "majority_vote") return Json::array({most_common(value)});
    if (value.size() < static_cast<size_t>(count)) {
      fail(ExitCode::kBadInput, "{}: needs {} responses and has {}; raise `repeats`", where, count, value.size());
    }
    value.erase(value.begin() + count, value.end());
    return value;
  };
}

Apply make_step(const std::string& function, Arguments& arguments) {
  if (function.find('/') != function.npos) {
    const native::FilterClass* row = native::find_filter_class(function);
    if (row == nullptr) fail(ExitCode::kBadInput, "{}: a Python class that is not built in", arguments.where());
    return row->make(arguments);
  }
  if (function == "regex") return make_regex(arguments);
  if (function == "multi_choice_regex") return make_multi_choice(arguments);
  if (function == "map") return make_map(arguments);
  if (function == "take_first" || function == "take_first_k" || function == "majority_vote") {
    return make_selection(function, arguments);
  }
  if (function == "lowercase") return for_each_text(arguments.where(), [](const auto& t) { return py::lower(t); });
  if (function == "uppercase") return for_each_text(arguments.where(), [](const auto& t) { return py::upper(t); });
  if (function == "remove_whitespace") {
    return for_each_text(arguments.where(), [](const auto& t) { return py::strip(t); });
  }
  if (function == "regex_pos") return make_tags(arguments);
  if (function == "format_span") return for_each_text(arguments.where(), [](const auto& t) { return format_spans(t); });
  if (function == "custom") {
    fail(ExitCode::kBadInput, "{}: calls a Python function, which evalmpi does not run", arguments.where());
  }
  fail(ExitCode::kBadInput,
       "{}: unknown; there are regex, multi_choice_regex, regex_pos, format_span, take_first, take_first_k, "
       "majority_vote, remove_whitespace, lowercase, uppercase, map",
       arguments.where());
}

}  // namespace

FilterPipeline::FilterPipeline(const FilterConfig& config, const std::string& where) : name_(config.name) {
  for (const FilterStep& step : config.steps) {
    Arguments arguments(where + ": filter_list " + config.name, step.function, step.kwargs);
    auto made = std::make_shared<Step>();
    made->apply = make_step(step.function, arguments);
    arguments.refuse_others();
    steps_.push_back(std::move(made));
  }
}

Json FilterPipeline::apply(const std::vector<Json>& responses, const Json& document) const {
  Json value = Json::array();
  for (const Json& response : responses) value.push_back(response);
  for (const auto& step : steps_) value = step->apply(std::move(value), document);
  return value;
}

}  // namespace evalmpi::task
