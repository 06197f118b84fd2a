#include "evalmpi/text/tokenizer.h"
#include "target.h"

using namespace evalmpi;

// tokenizer.model.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::put_file("tokenizer.model", fuzz::as_text(data, size));
  fuzz::put_file("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer"})");
  fuzz::feed([&] {
    const text::Tokenizer tokenizer = text::Tokenizer::load(fuzz::folder());
    tokenizer.decode(tokenizer.encode("The quick caf\xc3\xa9 1,234\n  x", true), false);
  });
  return 0;
}
