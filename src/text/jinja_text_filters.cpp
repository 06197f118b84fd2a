// Filters of text that use regular expressions.

#include "evalmpi/text/regex.h"
#include "jinja_filters.h"

namespace evalmpi::text::jinja {

// re.sub(pattern, repl, string, count): the filter that lm-evaluation-harness adds to its environment.
Value filter_regex_replace(const Value& subject, const Arguments& arguments, Budget& budget) {
  const auto bound = arguments.bind("regex_replace", {"pattern", "repl", "count"});
  if (!bound[0] || !bound[1]) throw Problem("regex_replace needs a pattern and what replaces it");
  for (const Value* part : {&subject, &*bound[0], &*bound[1]}) {
    require_defined(*part);
    if (!part->as_text()) throw Problem(fmt::format("regex_replace works on text, not {}", type_name(*part)));
  }
  const std::string& text = *subject.as_text();
  const std::string& replacement = *bound[1]->as_text();
  if (bound[2] && integer_of(*bound[2], "count") != 0) throw Problem("regex_replace with a count is not supported");
  budget.charge(text.size() + text.size() / 16 * replacement.size());
  const Regex regex = Regex::compile(*bound[0]->as_text(), "regex_replace");
  const std::string replaced = regex.replace_all(text, replacement);
  if (replaced.size() > kMaxTextBytes) throw Problem("text above 64 MiB");
  return Value::text(replaced);
}

// The runs of \\w in the text.
Value filter_wordcount(const Value& subject, const Arguments& arguments, Budget& budget) {
  arguments.bind("wordcount", {});
  static const Regex kWord = Regex::compile("\\w+", "wordcount");
  const std::string text = to_text(subject);
  budget.charge(text.size());
  return Value(static_cast<int64_t>(kWord.find_all(text).size()));
}

}  // namespace evalmpi::text::jinja
