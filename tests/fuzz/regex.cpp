#include "evalmpi/text/regex.h"

#include "evalmpi/task/filter.h"
#include "target.h"

using namespace evalmpi;

// A pattern, a text and a replacement: as tasks and as tokenizers use them.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = fuzz::parts(fuzz::as_text(data, size), 3);
  for (const auto dialect : {text::RegexDialect::kPython, text::RegexDialect::kOniguruma}) {
    fuzz::feed([&] {
      const text::Regex regex = text::Regex::compile(parts[0], "input", dialect);
      fuzz::feed([&] { regex.search(parts[1]); });
      fuzz::feed([&] { regex.full_match(parts[1]); });
      fuzz::feed([&] { regex.split(parts[1]); });
      fuzz::feed([&] { regex.replace_all(parts[1], parts[2]); });
      regex.find_all_texts(parts[1]);
    });
  }
  fuzz::feed([&] {
    const task::FilterConfig config{"f", {{"regex", {{"regex_pattern", parts[0]}, {"group_select", -1}}}}};
    task::FilterPipeline(config, "input").apply({parts[1]}, Json::object());
  });
  return 0;
}
