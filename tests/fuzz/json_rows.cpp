#include "evalmpi/data/readers.h"
#include "target.h"

using namespace evalmpi;

// JSON lines, JSON, and a field of JSON; compressed ones too.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::filesystem::path& file = fuzz::as_file(fuzz::as_text(data, size));
  fuzz::feed([&] { data::read_jsonl(file); });
  fuzz::feed([&] { data::read_json(file); });
  fuzz::feed([&] { data::read_json(file, "data"); });
  return 0;
}
