#include "text_cleaning.h"

#include <cctype>

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

std::string end_titles(std::string_view text) { return py::replace(py::strip(text), " [title]", ". "); }

const std::string& text_in(const Json& value) {
  if (!value.is_string()) fail(ExitCode::kBadInput, "a text is needed, not {}", py::repr(value));
  return value.get_ref<const std::string&>();
}

}  // namespace

std::string clean_brackets(std::string_view text) {
  static const text::Regex kBrackets = text::Regex::compile("\\[.*?\\]", "marks in brackets");
  return py::replace(kBrackets.replace_all(end_titles(text), ""), "  ", " ");
}

std::string clean_brackets_or_space(const Json& value) {
  return value.is_null() ? " " : clean_brackets(text_in(value));
}

std::string clean_titles_or_space(const Json& value) {
  return value.is_null() ? " " : py::replace(end_titles(text_in(value)), "  ", " ");
}

std::string general_detokenize(std::string_view text) {
  std::string result = py::replace(text, " n't", "n't");
  result = py::replace(result, " )", ")");
  result = py::replace(result, "( ", "(");
  result = py::replace(result, "\" ", "\"");
  result = py::replace(result, " \"", "\"");
  static const text::Regex kSpaced = text::Regex::compile(" (['.,])", "spaces before marks");
  return kSpaced.replace_all(result, "\\1");
}

std::string normalise_answer(std::string_view text) {
  std::string letters;
  for (const char c : py::lower(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 128 || std::ispunct(byte) == 0) letters += c;
  }
  static const text::Regex kArticles = text::Regex::compile("\\b(a|an|the)\\b", "articles");
  return py::join(py::split(kArticles.replace_all(letters, " ")), " ");
}

}  // namespace evalmpi::task::native
