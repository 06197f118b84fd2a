#include "evalmpi/task/filter.h"

#include <algorithm>
#include <functional>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "tagged_words.h"

namespace evalmpi::task {

struct FilterPipeline::Step {
  std::function<Json(Json value, const Json& document)> apply;
};

namespace {

namespace py = text::python;

// The arguments of one step.
class Arguments {
 public:
  Arguments(const FilterStep& step, std::string where)
      : kwargs_(step.kwargs), where_(std::move(where) + ": filter " + step.function) {}

  const std::string& where() const { return where_; }

  Json take(const char* key, Json fallback) {
    known_.insert(key);
    return kwargs_.contains(key) ? kwargs_[key] : fallback;
  }

  std::string take_text(const char* key, const std::string& fallback) {
    const Json value = take(key, fallback);
    if (!value.is_string()) fail(ExitCode::kBadInput, "{}: {} must be text", where_, key);
    return value.get<std::string>();
  }

  int64_t take_integer(const char* key, int64_t fallback) {
    const Json value = take(key, fallback);
    if (!value.is_number_integer()) fail(ExitCode::kBadInput, "{}: {} must be an integer", where_, key);
    return value.get<int64_t>();
  }

  bool take_boolean(const char* key) {
    const Json value = take(key, false);
    if (!value.is_boolean()) fail(ExitCode::kBadInput, "{}: {} must be true or false", where_, key);
    return value.get<bool>();
  }

  void refuse_others() const {
    for (const auto& [key, value] : kwargs_.items()) {
      if (!known_.contains(key)) fail(ExitCode::kBadInput, "{}: unknown argument {}", where_, key);
    }
  }

 private:
  const Json& kwargs_;
  std::string where_;
  std::set<std::string> known_;
};

using Apply = std::function<Json(Json, const Json&)>;

// A step that changes every response on its own.
template <typename Change>
Apply for_each(std::string where, Change change) {
  return [where = std::move(where), change = std::move(change)](Json value, const Json&) {
    if (!value.is_array()) fail(ExitCode::kBadInput, "{}: must come before the step that takes one response", where);
    for (Json& response : value) response = change(response);
    return value;
  };
}

// A step that changes every response, all of which must be text.
template <typename Change>
Apply for_each_text(const std::string& where, Change change) {
  return for_each(where, [where, change = std::move(change)](const Json& response) -> Json {
    if (!response.is_string()) fail(ExitCode::kBadInput, "{}: a response is {}, not text", where, py::repr(response));
    return change(response.get_ref<const std::string&>());
  });
}

// What re.findall gives at `select`: the whole match, the only group, or of several groups the first that is not
// empty. Nothing where there is no such match, or all groups are empty.
std::optional<std::string> found_text(const text::Regex& regex, const std::string& text, int64_t select) {
  const std::vector<text::RegexMatch> matches = regex.find_all(text);
  const auto count = static_cast<int64_t>(matches.size());
  const int64_t position = select < 0 ? select + count : select;
  if (position < 0 || position >= count) return {};
  const std::vector<text::ByteRange>& groups = matches[static_cast<size_t>(position)].groups;
  if (groups.size() <= 2) return std::string(groups.back().of(text));
  for (size_t i = 1; i < groups.size(); ++i) {
    if (groups[i].matched() && !groups[i].empty()) return std::string(groups[i].of(text));
  }
  return {};
}

Apply make_regex(Arguments& arguments) {
  auto regex = std::make_shared<const text::Regex>(
      text::Regex::compile(arguments.take_text("regex_pattern", "#### (\\-?[0-9\\.\\,]+)"), arguments.where()));
  const int64_t select = arguments.take_integer("group_select", 0);
  const std::string fallback = arguments.take_text("fallback", "[invalid]");
  return for_each(arguments.where(), [regex, select, fallback](const Json& response) -> Json {
    const std::string text = response.is_string() ? response.get<std::string>() : std::string();
    const std::optional<std::string> found = found_text(*regex, text, select);
    return found ? py::strip(*found) : fallback;
  });
}

// multi_choice_regex looks for a letter by the pattern, then for a choice's own text, then for a letter after a colon.
struct MultiChoice {
  text::Regex pattern;
  std::vector<text::Regex> regexes_to_ignore;
  std::optional<text::Regex> punctuation;
  int64_t select = 0;
  std::string fallback;
  bool ignore_case = false;

  std::string simplify(std::string text) const {
    for (const text::Regex& ignored : regexes_to_ignore) text = ignored.replace_all(text, "");
    if (ignore_case) text = py::lower(text);
    return punctuation ? punctuation->replace_all(text, "") : text;
  }

  // Empty where nothing is found.
  std::string find(const text::Regex& regex, const std::string& text) const {
    return py::strip(found_text(regex, text, select).value_or(""));
  }

  Json extract(const std::string& response, const Json& document) const {
    if (std::string found = find(pattern, response); !found.empty()) return found;
    const auto choices = document.find("choices");
    if (choices == document.end() || !choices->is_array() || choices->empty() || choices->size() > 26) {
      fail(ExitCode::kBadInput, "multi_choice_regex: a document has no list of 1 to 26 choices");
    }
    std::vector<std::pair<std::string, std::string>> letters;  // escaped text, letter
    std::string alternatives;
    char letter = 'A';
    for (const Json& choice : *choices) {
      letters.emplace_back(simplify(py::strip(py::str(choice))), std::string("(") + letter + ")");
      alternatives += (alternatives.empty() ? "" : "|") + std::string(1, letter);
      ++letter;
    }
    if (std::string found = find_choice(letters, simplify(response)); !found.empty()) return found;
    const text::Regex after_colon = text::Regex::compile(":[\\s]*(" + alternatives + ")", "multi_choice_regex");
    const std::string bare = find(after_colon, response);
    return bare.empty() ? fallback : "(" + bare + ")";
  }

  // Longer texts first, so that a choice that begins another does not hide it.
  std::string find_choice(const std::vector<std::pair<std::string, std::string>>& letters,
                          const std::string& response) const {
    std::vector<std::string> patterns;
    for (const auto& [text, letter] : letters) patterns.push_back(text::escape_regex(text));
    std::stable_sort(patterns.begin(), patterns.end(),
                     [](const auto& a, const auto& b) { return py::length(a) > py::length(b); });
    const text::Regex any = text::Regex::compile(py::join(patterns, "|"), "multi_choice_regex");
    const std::string found = find(any, response);
    if (found.empty()) return found;
    for (auto entry = letters.rbegin(); entry != letters.rend(); ++entry) {
      if (entry->first == found) return entry->second;
    }
    return found;
  }
};

Apply make_multi_choice(Arguments& arguments) {
  auto rule = std::make_shared<MultiChoice>(MultiChoice{
      text::Regex::compile(arguments.take_text("regex_pattern", "#### (\\-?[0-9\\.\\,]+)"), arguments.where()),
      {},
      {},
      0,
      {},
      false});
  rule->select = arguments.take_integer("group_select", 0);
  rule->fallback = arguments.take_text("fallback", "[invalid]");
  rule->ignore_case = arguments.take_boolean("ignore_case");
  if (arguments.take_boolean("ignore_punctuation")) {
    rule->punctuation = text::Regex::compile("\\p{P}", arguments.where(), text::RegexDialect::kOniguruma);
  }
  for (const Json& ignored : arguments.take("regexes_to_ignore", Json::array())) {
    if (!ignored.is_string()) fail(ExitCode::kBadInput, "{}: regexes_to_ignore must be texts", arguments.where());
    rule->regexes_to_ignore.push_back(text::Regex::compile(ignored.get<std::string>(), arguments.where()));
  }
  return [rule, where = arguments.where()](Json value, const Json& document) {
    if (!value.is_array()) fail(ExitCode::kBadInput, "{}: must come before the step that takes one response", where);
    for (Json& response : value) {
      response = rule->extract(response.is_string() ? response.get<std::string>() : std::string(), document);
    }
    return value;
  };
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
    Arguments arguments(step, where + ": filter_list " + config.name);
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
