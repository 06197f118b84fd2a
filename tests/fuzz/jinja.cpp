#include "evalmpi/text/jinja.h"

#include "evalmpi/base/json.h"
#include "target.h"

using namespace evalmpi;

// A template and its variables, in both environments.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = fuzz::parts(fuzz::as_text(data, size), 2);
  fuzz::feed([&] {
    Json variables = Json::object({{"question", "Why?"}, {"choices", {"a", "b"}}, {"label", 1}});
    fuzz::feed([&] {
      Json given = parse_json(parts[1], "variables");
      if (given.is_object()) variables = std::move(given);
    });
    fuzz::feed([&] { text::Template::parse(parts[0], "task").evaluate(variables); });
    text::Template::parse(parts[0], "chat", text::TemplateOptions::chat()).render(variables);
  });
  return 0;
}
