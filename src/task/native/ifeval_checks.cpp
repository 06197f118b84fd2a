#include "ifeval_checks.h"

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "evalmpi/text/unicode.h"
#include "json_syntax.h"
#include "nltk_words.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;
using text::Regex;
using text::RegexDialect;

constexpr text::RegexFlags kEveryLine = {.multi_line = true};
constexpr text::RegexFlags kAnyCase = {.ignore_case = true};

Regex python_regex(std::string_view pattern, std::string_view where, text::RegexFlags flags = {}) {
  return Regex::compile(pattern, where, RegexDialect::kPython, flags);
}

bool is_blank(std::string_view text) { return py::strip(text).empty(); }

// The arguments of one instruction. One that is absent where a check needs it has no score that can be repeated.
class Arguments {
 public:
  Arguments(std::string_view id, const Json& given) : id_(id), given_(given) {
    if (!given.is_object()) fail(ExitCode::kBadInput, "{}: kwargs must be a mapping, not {}", id_, py::repr(given));
  }

  const std::string& id() const { return id_; }

  const Json& take(const char* key) {
    known_.insert(key);
    const auto found = given_.find(key);
    if (found == given_.end() || !py::truth(*found)) fail_random(key);
    return *found;
  }

  std::string take_text(const char* key) {
    const Json& value = take(key);
    if (!value.is_string()) fail_kind(key, "text", value);
    return value.get<std::string>();
  }

  double take_number(const char* key) {
    const Json& value = take(key);
    if (!value.is_number()) fail_kind(key, "a number", value);
    if (value.get<double>() < 0) fail_random(key);
    return value.get<double>();
  }

  std::vector<std::string> take_texts(const char* key) {
    const Json& value = take(key);
    std::vector<std::string> texts;
    for (const Json& item : value.is_array() ? value : Json::array({nullptr})) {
      if (!item.is_string()) fail_kind(key, "texts", value);
      texts.push_back(item.get<std::string>());
    }
    return texts;
  }

  // "less than" or "at least", and the bound under another key.
  std::function<bool(double)> take_bound(const char* relation_key, const char* bound_key) {
    const std::string relation = take_text(relation_key);
    const double bound = take_number(bound_key);
    if (relation == "less than") return [bound](double count) { return count < bound; };
    if (relation == "at least") return [bound](double count) { return count >= bound; };
    fail(ExitCode::kBadInput, "{}: {} must be \"less than\" or \"at least\", not {}", id_, relation_key,
         py::repr_text(relation));
  }

  [[noreturn]] void fail_random(const char* key) const {
    fail(ExitCode::kBadInput, "{}: lm-evaluation-harness draws its {} at random, so that its score cannot be repeated",
         id_, key);
  }

  void refuse_others() const {
    for (const auto& [key, value] : given_.items()) {
      if (py::truth(value) && !known_.contains(key)) fail(ExitCode::kBadInput, "{}: unknown argument {}", id_, key);
    }
  }

 private:
  [[noreturn]] void fail_kind(const char* key, const char* kind, const Json& value) const {
    fail(ExitCode::kBadInput, "{}: {} must be {}, not {}", id_, key, kind, py::repr(value));
  }

  std::string id_;
  const Json& given_;
  std::set<std::string> known_;
};

// A regular expression that copies of a check share.
std::shared_ptr<const Regex> shared(Regex regex) { return std::make_shared<const Regex>(std::move(regex)); }

InstructionCheck keywords_existence(Arguments& arguments) {
  auto keywords = std::make_shared<std::vector<Regex>>();
  for (const std::string& keyword : arguments.take_texts("keywords")) {
    keywords->push_back(python_regex(keyword, arguments.id(), kAnyCase));
  }
  return [keywords](const std::string& response) {
    return std::all_of(keywords->begin(), keywords->end(), [&](const Regex& one) { return one.search(response); });
  };
}

InstructionCheck forbidden_words(Arguments& arguments) {
  auto words = std::make_shared<std::vector<Regex>>();
  for (const std::string& word : arguments.take_texts("forbidden_words")) {
    words->push_back(python_regex("\\b" + word + "\\b", arguments.id(), kAnyCase));
  }
  return [words](const std::string& response) {
    return std::none_of(words->begin(), words->end(), [&](const Regex& one) { return one.search(response); });
  };
}

InstructionCheck keywords_frequency(Arguments& arguments) {
  const auto keyword = shared(python_regex(py::strip(arguments.take_text("keyword")), arguments.id(), kAnyCase));
  const auto fits = arguments.take_bound("relation", "frequency");
  return [=](const std::string& response) { return fits(static_cast<double>(keyword->find_all(response).size())); };
}

InstructionCheck letter_frequency(Arguments& arguments) {
  const std::string letter = py::lower(arguments.take_text("letter"));
  if (letter.size() != 1 || letter[0] < 'a' || letter[0] > 'z') arguments.fail_random("letter");
  const auto fits = arguments.take_bound("let_relation", "let_frequency");
  return [=](const std::string& response) {
    const std::string lower = py::lower(response);
    return fits(static_cast<double>(std::count(lower.begin(), lower.end(), letter[0])));
  };
}

// Paragraphs between lines of ***; a blank one counts nowhere, and only at the ends may there be one.
InstructionCheck number_paragraphs(Arguments& arguments) {
  const double wanted = arguments.take_number("num_paragraphs");
  return [wanted](const std::string& response) {
    static const Regex kDivider = python_regex(R"(\s?\*\*\*\s?)", "paragraphs");
    const std::vector<std::string> paragraphs = kDivider.split(response);
    double count = static_cast<double>(paragraphs.size());
    for (size_t i = 0; i < paragraphs.size(); ++i) {
      if (!is_blank(paragraphs[i])) continue;
      if (i != 0 && i != paragraphs.size() - 1) return false;
      --count;
    }
    return count == wanted;
  };
}

// Runs of letters, marks, digits and underscores, as NLTK's regular expressions have them since 3.10.
InstructionCheck number_words(Arguments& arguments) {
  const auto fits = arguments.take_bound("relation", "num_words");
  return [fits](const std::string& response) {
    double count = 0;
    bool inside = false;
    for (size_t position = 0; position < response.size();) {
      const bool word = text::is_word(text::next_code_point(response, &position));
      if (word && !inside) ++count;
      inside = word;
    }
    return fits(count);
  };
}

// The first word without quotes before it, up to a mark.
std::string first_word_of(const std::string& paragraph) {
  constexpr std::string_view kMarks = ".,?!'\"";
  const std::string word = py::lstrip(py::lstrip(py::split(paragraph).front(), "'"), "\"");
  std::string letters;
  for (const std::string_view letter : py::code_points(word)) {
    if (kMarks.find(letter) != kMarks.npos) break;
    letters += py::lower(letter);
  }
  return letters;
}

InstructionCheck nth_paragraph_first_word(Arguments& arguments) {
  const auto wanted = static_cast<int64_t>(arguments.take_number("num_paragraphs"));
  const auto nth = static_cast<int64_t>(arguments.take_number("nth_paragraph"));
  if (nth <= 0 || nth > wanted) arguments.fail_random("nth_paragraph");
  const std::string first_word = py::lower(arguments.take_text("first_word"));
  return [=](const std::string& response) {
    const std::vector<std::string> paragraphs = py::split(response, "\n\n");
    const auto count = std::count_if(paragraphs.begin(), paragraphs.end(), [](const auto& p) { return !is_blank(p); });
    if (nth > count) return false;
    const std::string& paragraph = paragraphs[static_cast<size_t>(nth - 1)];
    return !is_blank(paragraph) && count == wanted && first_word_of(paragraph) == first_word;
  };
}

// At least so many matches of a pattern.
InstructionCheck number_placeholders(Arguments& arguments) {
  const double wanted = arguments.take_number("num_placeholders");
  return [wanted](const std::string& response) {
    static const Regex kPlaceholder = python_regex(R"(\[.*?\])", "placeholders");
    return static_cast<double>(kPlaceholder.find_all(response).size()) >= wanted;
  };
}

InstructionCheck postscript(Arguments& arguments) {
  const std::string marker = py::strip(arguments.take_text("postscript_marker"));
  std::string pattern = py::lower(marker);
  if (marker == "P.S.") pattern = R"(p\.\s?s\.)";
  if (marker == "P.P.S") pattern = R"(p\.\s?p\.\s?s)";
  const auto regex = shared(python_regex("\\s*" + pattern + ".*$", arguments.id(), kEveryLine));
  return [regex](const std::string& response) { return regex->search(py::lower(response)).has_value(); };
}

InstructionCheck number_bullet_lists(Arguments& arguments) {
  const double wanted = arguments.take_number("num_bullets");
  return [wanted](const std::string& response) {
    static const Regex kStar = python_regex(R"(^\s*\*[^\*].*$)", "bullets", kEveryLine);
    static const Regex kDash = python_regex(R"(^\s*-.*$)", "bullets", kEveryLine);
    return static_cast<double>(kStar.find_all(response).size() + kDash.find_all(response).size()) == wanted;
  };
}

InstructionCheck constrained_response(Arguments&) {
  return [](const std::string& response) {
    constexpr std::array kOptions = {"My answer is yes.", "My answer is no.", "My answer is maybe."};
    return std::any_of(kOptions.begin(), kOptions.end(),
                       [&](const char* option) { return response.find(option) != response.npos; });
  };
}

// Text between asterisks; between two of them it counts again.
InstructionCheck number_highlighted_sections(Arguments& arguments) {
  const double wanted = arguments.take_number("num_highlights");
  return [wanted](const std::string& response) {
    static const Regex kSingle = python_regex(R"(\*[^\n\*]*\*)", "highlights");
    static const Regex kDouble = python_regex(R"(\*\*([^\n\*]*)\*\*)", "highlights");
    const auto has_text = [](const std::string& found) { return !is_blank(py::strip(found, "*")); };
    const std::vector<std::string> single = kSingle.find_all_texts(response);
    const std::vector<std::string> twice = kDouble.find_all_texts(response);
    const auto count =
        std::count_if(single.begin(), single.end(), has_text) + std::count_if(twice.begin(), twice.end(), has_text);
    return static_cast<double>(count) >= wanted;
  };
}

// Pieces between headings, less one; groups in the heading's word count as pieces, as re.split gives them.
InstructionCheck multiple_sections(Arguments& arguments) {
  const std::string word = py::strip(arguments.take_text("section_spliter"));
  const auto heading = shared(python_regex(R"(\s?)" + word + R"(\s?\d+\s?)", arguments.id()));
  const double wanted = arguments.take_number("num_sections");
  return
      [=](const std::string& response) { return static_cast<double>(heading->split(response).size()) - 1 >= wanted; };
}

// The whole response, or what stands in a fenced block.
InstructionCheck json_format(Arguments&) {
  return [](const std::string& response) {
    const std::string stripped = py::strip(response);
    std::string_view text = stripped;
    for (const std::string_view fence : {"```json", "```Json", "```JSON", "```"}) {
      if (text.starts_with(fence)) text.remove_prefix(fence.size());
    }
    if (text.ends_with("```")) text.remove_suffix(3);
    return python_reads_json(py::strip(text));
  };
}

InstructionCheck title(Arguments&) {
  return [](const std::string& response) {
    static const Regex kTitle = python_regex(R"(<<[^\n]+>>)", "titles");
    const std::vector<std::string> titles = kTitle.find_all_texts(response);
    return std::any_of(titles.begin(), titles.end(),
                       [](const auto& found) { return !is_blank(py::rstrip(py::lstrip(found, "<"), ">")); });
  };
}

InstructionCheck two_responses(Arguments&) {
  return [](const std::string& response) {
    const std::vector<std::string> parts = py::split(response, "******");
    std::vector<std::string> answers;
    for (size_t i = 0; i < parts.size(); ++i) {
      std::string answer = py::strip(parts[i]);
      if (answer.empty() && i != 0 && i != parts.size() - 1) return false;
      if (!answer.empty()) answers.push_back(std::move(answer));
    }
    return answers.size() == 2 && answers[0] != answers[1];
  };
}

InstructionCheck repeat_prompt(Arguments& arguments) {
  const std::string prompt = py::lower(py::strip(arguments.take_text("prompt_to_repeat")));
  return [prompt](const std::string& response) { return py::lower(py::strip(response)).starts_with(prompt); };
}

InstructionCheck end_checker(Arguments& arguments) {
  const std::string ending = py::lower(py::strip(arguments.take_text("end_phrase")));
  return [ending](const std::string& response) {
    return py::lower(py::strip(py::strip(response), "\"")).ends_with(ending);
  };
}

InstructionCheck no_comma(Arguments&) {
  return [](const std::string& response) { return response.find(',') == response.npos; };
}

InstructionCheck quotation(Arguments&) {
  return [](const std::string& response) {
    const std::string text = py::strip(response);
    return text.size() > 1 && text.front() == '"' && text.back() == '"';
  };
}

InstructionCheck capital_word_frequency(Arguments& arguments) {
  const auto fits = arguments.take_bound("capital_relation", "capital_frequency");
  return [fits, id = arguments.id()](const std::string& response) {
    const CapitalWords count = count_capital_words(response);
    const bool verdict = fits(static_cast<double>(count.at_least));
    if (verdict != fits(static_cast<double>(count.at_most))) {
      fail(ExitCode::kBadInput, "{}: whether {} or {} words count is decided by NLTK's trained sentence tokenizer", id,
           count.at_least, count.at_most);
    }
    return verdict;
  };
}

InstructionCheck needs_langdetect(Arguments& arguments) {
  fail(ExitCode::kBadInput, "{}: is decided by the Python package langdetect, which evalmpi does not have",
       arguments.id());
}

InstructionCheck needs_nltk(Arguments& arguments) {
  fail(ExitCode::kBadInput, "{}: is decided by NLTK's trained sentence tokenizer, which evalmpi does not have",
       arguments.id());
}

struct Instruction {
  std::string_view id;
  InstructionCheck (*make)(Arguments& arguments);
};

constexpr Instruction kInstructions[] = {
    {"change_case:capital_word_frequency", capital_word_frequency},
    {"change_case:english_capital", needs_langdetect},
    {"change_case:english_lowercase", needs_langdetect},
    {"combination:repeat_prompt", repeat_prompt},
    {"combination:two_responses", two_responses},
    {"detectable_content:number_placeholders", number_placeholders},
    {"detectable_content:postscript", postscript},
    {"detectable_format:constrained_response", constrained_response},
    {"detectable_format:json_format", json_format},
    {"detectable_format:multiple_sections", multiple_sections},
    {"detectable_format:number_bullet_lists", number_bullet_lists},
    {"detectable_format:number_highlighted_sections", number_highlighted_sections},
    {"detectable_format:title", title},
    {"keywords:existence", keywords_existence},
    {"keywords:forbidden_words", forbidden_words},
    {"keywords:frequency", keywords_frequency},
    {"keywords:letter_frequency", letter_frequency},
    {"language:response_language", needs_langdetect},
    {"length_constraints:nth_paragraph_first_word", nth_paragraph_first_word},
    {"length_constraints:number_paragraphs", number_paragraphs},
    {"length_constraints:number_sentences", needs_nltk},
    {"length_constraints:number_words", number_words},
    {"punctuation:no_comma", no_comma},
    {"startend:end_checker", end_checker},
    {"startend:quotation", quotation},
};

}  // namespace

InstructionCheck instruction_check(std::string_view id, const Json& given) {
  for (const Instruction& row : kInstructions) {
    if (row.id != id) continue;
    Arguments arguments(id, given);
    InstructionCheck check = row.make(arguments);
    arguments.refuse_others();
    return check;
  }
  fail(ExitCode::kBadInput, "{}: an unknown instruction; evalmpi has those of lm-evaluation-harness 0.4.13", id);
}

}  // namespace evalmpi::task::native
