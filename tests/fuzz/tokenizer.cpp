#include "evalmpi/text/tokenizer.h"

#include "target.h"

using namespace evalmpi;

// tokenizer.json, a text, and tokenizer_config.json.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = fuzz::parts(fuzz::as_text(data, size), 3);
  fuzz::put_file("tokenizer.json", parts[0]);
  fuzz::put_file("tokenizer_config.json", parts[2].empty() ? "{}" : parts[2]);
  fuzz::feed([&] {
    const text::Tokenizer tokenizer = text::Tokenizer::load(fuzz::folder());
    for (const std::string_view text :
         {std::string_view(parts[1]), std::string_view("The quick caf\xc3\xa9 1,234\n  x")}) {
      tokenizer.decode(tokenizer.encode(text, true), false);
      tokenizer.decode(tokenizer.encode(text, false), true);
    }
    tokenizer.digest();
  });
  return 0;
}
