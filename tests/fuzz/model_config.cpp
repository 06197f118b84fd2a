#include "evalmpi/model/spec.h"
#include "target.h"

using namespace evalmpi;

// config.json of a model.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::put_file("config.json", fuzz::as_text(data, size));
  fuzz::feed([&] { model::read_model_spec(fuzz::folder()); });
  return 0;
}
