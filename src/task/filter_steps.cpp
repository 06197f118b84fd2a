#include "filter_steps.h"

namespace evalmpi::task {

FilterArguments::FilterArguments(const std::string& where, const std::string& function, const Json& kwargs)
    : kwargs_(kwargs), where_(where + ": filter " + function.substr(function.rfind('/') + 1)) {}

Json FilterArguments::take(const char* key, Json fallback) {
  known_.insert(key);
  return kwargs_.contains(key) ? kwargs_[key] : fallback;
}

std::string FilterArguments::take_text(const char* key, const std::string& fallback) {
  const Json value = take(key, fallback);
  if (!value.is_string()) fail(ExitCode::kBadInput, "{}: {} must be text", where_, key);
  return value.get<std::string>();
}

int64_t FilterArguments::take_integer(const char* key, int64_t fallback) {
  const Json value = take(key, fallback);
  if (!value.is_number_integer()) fail(ExitCode::kBadInput, "{}: {} must be an integer", where_, key);
  return value.get<int64_t>();
}

bool FilterArguments::take_boolean(const char* key) {
  const Json value = take(key, false);
  if (!value.is_boolean()) fail(ExitCode::kBadInput, "{}: {} must be true or false", where_, key);
  return value.get<bool>();
}

void FilterArguments::refuse_others() const {
  for (const auto& [key, value] : kwargs_.items()) {
    if (!known_.contains(key)) fail(ExitCode::kBadInput, "{}: unknown argument {}", where_, key);
  }
}

std::string response_text(const Json& response) { return response.is_string() ? response.get<std::string>() : ""; }

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

std::string found_stripped(const text::Regex& regex, const std::string& text, int64_t select) {
  return text::python::strip(found_text(regex, text, select).value_or(""));
}

ResponseSimplifier::ResponseSimplifier(FilterArguments& arguments)
    : ignore_case_(arguments.take_boolean("ignore_case")) {
  const std::string& where = arguments.where();
  if (arguments.take_boolean("ignore_punctuation")) {
    punctuation_ = text::Regex::compile("\\p{P}", where, text::RegexDialect::kOniguruma);
  }
  for (const Json& ignored : arguments.take("regexes_to_ignore", Json::array())) {
    if (!ignored.is_string()) fail(ExitCode::kBadInput, "{}: regexes_to_ignore must be texts", where);
    regexes_to_ignore_.push_back(text::Regex::compile(ignored.get<std::string>(), where));
  }
}

std::string ResponseSimplifier::operator()(std::string text) const {
  for (const text::Regex& ignored : regexes_to_ignore_) text = ignored.replace_all(text, "");
  if (ignore_case_) text = text::python::lower(text);
  return punctuation_ ? punctuation_->replace_all(text, "") : text;
}

}  // namespace evalmpi::task
