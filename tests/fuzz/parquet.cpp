#include "evalmpi/data/readers.h"
#include "target.h"

using namespace evalmpi;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::feed([&] { data::read_parquet(fuzz::as_file(fuzz::as_text(data, size))); });
  return 0;
}
