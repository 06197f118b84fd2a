#include "tagged_words.h"

#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

struct Label {
  const char* word;
  const char* name;
};

// In the order in which the harness replaces them.
constexpr Label kLabels[] = {{"person", "PER"},  {"location", "LOC"},  {"organization", "ORG"}, {"counties", "LOC"},
                             {"places", "LOC"},  {"people", "PER"},    {"persons", "PER"},      {"company", "ORG"},
                             {"country", "LOC"}, {"continent", "LOC"}, {"time", "DATE"},        {"date", "DATE"},
                             {"per", "PER"},     {"loc", "LOC"},       {"org", "ORG"}};

std::string short_labels(std::string text) {
  static const std::vector<text::Regex> kPatterns = [] {
    std::vector<text::Regex> patterns;
    for (const Label& label : kLabels) {
      patterns.push_back(text::Regex::compile(std::string("\\b") + label.word + "\\s*:", "format_span"));
    }
    return patterns;
  }();
  for (size_t i = 0; i < kPatterns.size(); ++i) {
    text = kPatterns[i].replace_all(text, std::string(kLabels[i].name) + ":");
  }
  return py::rstrip(py::replace(text, "$$", "$"), "$");
}

}  // namespace

Json part_of_speech_tags(const std::string& text) {
  static const text::Regex kPair = text::Regex::compile("\\('([^']*)', '([^']*)'\\)", "regex_pos");
  Json tags = Json::array();
  for (const text::RegexMatch& match : kPair.find_all(text)) tags.push_back(std::string(match.groups[2].of(text)));
  return tags;
}

std::string format_spans(const std::string& text) {
  static const text::Regex kEntities = text::Regex::compile("\\b(PER|LOC|ORG|DATE):\\s*([^$]+)", "format_span");
  const std::string labelled = py::strip(py::replace(short_labels(py::lower(py::lower(text))), "\n", "$"));
  std::vector<std::string> spans;
  for (const text::RegexMatch& match : kEntities.find_all(labelled)) {
    const std::string label = py::lower(match.groups[1].of(labelled));
    for (const std::string& piece : py::split(match.groups[2].of(labelled), ",")) {
      const std::string entity = py::strip(piece);
      if (py::lower(entity) != "none") spans.push_back(label + ": " + entity);
    }
  }
  return py::join(spans, " $ ");
}

}  // namespace evalmpi::task
