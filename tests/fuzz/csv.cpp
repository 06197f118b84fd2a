#include "evalmpi/data/readers.h"
#include "target.h"

using namespace evalmpi;

// CSV with its header and without, and plain text in its three ways; compressed ones too.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::filesystem::path& file = fuzz::as_file(fuzz::as_text(data, size));
  fuzz::feed([&] { data::read_csv(file); });
  fuzz::feed([&] { data::read_csv(file, {'\t', {"a", "b", "c"}}); });
  for (const auto by : {data::TextSample::kLine, data::TextSample::kParagraph, data::TextSample::kDocument}) {
    fuzz::feed([&] { data::read_text(file, {by, by == data::TextSample::kLine}); });
  }
  return 0;
}
