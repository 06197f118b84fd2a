#include "python_source.h"

#include <algorithm>
#include <array>
#include <set>

namespace evalmpi::task {
namespace {

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         (static_cast<unsigned char>(c) & 0x80U) != 0;
}

// A module's text line by line without comments; a line that goes on (in brackets, in a text of three quotes, after a
// backslash) is one with the next.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : text_(text) {}

  // Without spaces at the end; empty lines inside a text are kept.
  std::optional<std::string> next() {
    if (at_ >= text_.size()) return {};
    std::string line;
    int depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"' || c == '\'') {
        line += take_text(c);
        continue;
      }
      ++at_;
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == '\\' && at_ < text_.size() && text_[at_] == '\n') {
        line += "\\\n";
        ++at_;
      } else if (c == '\n') {
        trim(line);
        if (depth <= 0) return line;
        if (!line.ends_with('\n')) line += '\n';
      } else {
        depth += c == '(' || c == '[' || c == '{' ? 1 : c == ')' || c == ']' || c == '}' ? -1 : 0;
        if (c != '\r') line += c;
      }
    }
    trim(line);
    return line;
  }

 private:
  static void trim(std::string& line) {
    const size_t last = line.find_last_not_of(" \t\f");
    line.erase(last == line.npos ? 0 : last + 1);
  }

  // A text with its quotes. One without an end goes to the end of its line, or with three quotes of the module.
  std::string_view take_text(char quote) {
    const size_t begin = at_;
    const std::string three(3, quote);
    const bool is_long = text_.substr(at_, 3) == three;
    at_ += is_long ? 3 : 1;
    while (at_ < text_.size()) {
      if (text_[at_] == '\\') {
        at_ = std::min(at_ + 2, text_.size());
      } else if (is_long ? text_.substr(at_, 3) == three : text_[at_] == quote) {
        at_ += is_long ? 3 : 1;
        break;
      } else if (!is_long && text_[at_] == '\n') {
        break;
      } else {
        ++at_;
      }
    }
    return text_.substr(begin, at_ - begin);
  }

  std::string_view text_;
  size_t at_ = 0;
};

// Python's own words, which stand for nothing in a module.
bool is_keyword(std::string_view word) {
  constexpr std::array kKeywords = {"False",  "None",   "True",    "and",      "as",       "assert", "async",
                                    "await",  "break",  "class",   "continue", "def",      "del",    "elif",
                                    "else",   "except", "finally", "for",      "from",     "global", "if",
                                    "import", "in",     "is",      "lambda",   "nonlocal", "not",    "or",
                                    "pass",   "raise",  "return",  "try",      "while",    "with",   "yield"};
  return std::find(kKeywords.begin(), kKeywords.end(), word) != kKeywords.end();
}

std::vector<std::string> words_of(std::string_view text) {
  std::set<std::string> words;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && is_word(text[end])) ++end;
    const std::string_view word = text.substr(i, end - i);
    if (!word.empty() && !is_keyword(word)) words.emplace(word);
    i = end + 1;
  }
  return {words.begin(), words.end()};
}

std::string word_at(std::string_view text, size_t begin) {
  size_t end = begin;
  while (end < text.size() && is_word(text[end])) ++end;
  return std::string(text.substr(begin, end - begin));
}

// The names to which a statement gives a meaning. Of those that are neither a definition nor an assignment (imports,
// `if`, `try`, `for`) any word may be one.
std::vector<std::string> given_names(std::string_view text, const std::vector<std::string>& words) {
  for (size_t line = 0; line < text.size(); line = std::min(text.find('\n', line), text.size() - 1) + 1) {
    if (text[line] == '@' || text[line] == ' ' || text[line] == '\t' || text[line] == ')') continue;  // decorators
    const std::string_view rest = text.substr(line);
    for (const std::string_view keyword : {"def ", "class ", "async def "}) {
      if (rest.starts_with(keyword)) return {word_at(rest, keyword.size())};
    }
    const std::string first = word_at(rest, 0);
    constexpr std::array kOpen = {"import", "from", "if", "try", "for", "while", "with"};
    if (first.empty() || std::find(kOpen.begin(), kOpen.end(), first) != kOpen.end()) return words;
    const size_t after = rest.find_first_not_of(' ', first.size());
    if (after != rest.npos && (rest[after] == '=' || rest[after] == ':')) return {first};
    return words;
  }
  return words;
}

// Lines that belong to the statement above although they stand at the margin.
bool continues(std::string_view line) {
  for (const std::string_view keyword : {"else", "elif", "except", "finally"}) {
    if (line.starts_with(keyword) && (line.size() == keyword.size() || !is_word(line[keyword.size()]))) return true;
  }
  return false;
}

}  // namespace

PythonModule PythonModule::read(std::string_view text) {
  PythonModule module;
  bool is_decorated = false;
  LineReader reader(text);
  while (const std::optional<std::string> line = reader.next()) {
    if (line->empty()) continue;
    const bool at_margin = line->front() != ' ' && line->front() != '\t' && !continues(*line);
    if (module.statements_.empty() || (at_margin && !is_decorated)) module.statements_.emplace_back();
    module.statements_.back().text += *line + "\n";
    if (at_margin) is_decorated = line->front() == '@';
  }
  for (size_t i = 0; i < module.statements_.size(); ++i) {
    Statement& statement = module.statements_[i];
    statement.names = words_of(statement.text);
    for (const std::string& name : given_names(statement.text, statement.names)) module.givers_[name].push_back(i);
  }
  return module;
}

std::string PythonModule::all() const {
  std::string text;
  for (const Statement& statement : statements_) text += statement.text;
  return text;
}

std::optional<std::string> PythonModule::meaning_of(const std::string& name) const {
  std::vector<bool> is_used(statements_.size(), false);
  std::vector<size_t> open;
  const auto use = [&](const std::string& one) {
    const auto found = givers_.find(one);
    if (found == givers_.end()) return;
    for (const size_t i : found->second) {
      if (!is_used[i]) open.push_back(i);
      is_used[i] = true;
    }
  };
  use(name);
  if (open.empty()) return {};
  while (!open.empty()) {
    const size_t i = open.back();
    open.pop_back();
    for (const std::string& one : statements_[i].names) use(one);
  }
  std::string text;
  for (size_t i = 0; i < statements_.size(); ++i) {
    if (is_used[i]) text += statements_[i].text;
  }
  return text;
}

}  // namespace evalmpi::task
