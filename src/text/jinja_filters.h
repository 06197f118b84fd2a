#pragma once

// Filters, tests, methods and attributes of values in templates.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evalmpi/text/jinja.h"
#include "jinja_value.h"

namespace evalmpi::text::jinja {

// Counts the steps of one rendering.
class Budget {
 public:
  explicit Budget(const TemplateOptions& options) : options_(options) {}
  void charge(uint64_t steps) {
    steps_ += steps;
    if (steps > kMaxSteps || steps_ > kMaxSteps) throw Problem("more than 10 million steps");
  }
  const TemplateOptions& options() const { return options_; }

 private:
  const TemplateOptions& options_;
  uint64_t steps_ = 0;
};

// The arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;

  // The values of the named parameters in order, absent ones empty. Throws Problem for surplus arguments.
  std::vector<std::optional<Value>> bind(std::string_view callee, const std::vector<std::string_view>& names) const;
};

bool is_filter(const std::string& name);
bool is_test(const std::string& name);
Value apply_filter(const std::string& name, const Value& subject, const Arguments& arguments, Budget& budget);
bool apply_test(const std::string& name, const Value& subject, const Arguments& arguments, Budget& budget);

// value.name and value[key], undefined when there is none.
Value attribute_of(const Value& value, const std::string& name, const TemplateOptions& options);
Value item_of(const Value& value, const Value& key, const TemplateOptions& options);

// object.name(arguments) for a name of the methods listed in the public header.
Value call_method(const Value& object, const std::string& name, const Arguments& arguments, Budget& budget);

// Methods of text in jinja_text_methods.cpp.
bool is_other_text_method(std::string_view name);
Value call_other_text_method(const std::string& text, const std::string& name, const Arguments& arguments,
                             Budget& budget);

// Filters in jinja_text_filters.cpp: regex_replace (of the harness's environment) and wordcount.
Value filter_regex_replace(const Value& subject, const Arguments& arguments, Budget& budget);
Value filter_wordcount(const Value& subject, const Arguments& arguments, Budget& budget);

// What finding `part` in `text` may cost, in steps.
uint64_t search_steps(const std::string& text, const std::string& part);

// text.replace(from, to, count) and separator.join(items) that refuse results above the text limit.
Value replace_text(const std::string& text, const Value& from, const Value& to, int64_t count, Budget& budget);
Value join_texts(const std::vector<std::string>& pieces, const std::string& separator, Budget& budget);

}  // namespace evalmpi::text::jinja
