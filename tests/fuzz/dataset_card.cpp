#include "evalmpi/data/dataset.h"
#include "target.h"

using namespace evalmpi;

// README.md of a dataset, whose front matter says which files a split has, and one such file.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = fuzz::parts(fuzz::as_text(data, size), 2);
  fuzz::put_file("README.md", parts[0]);
  fuzz::put_file("test.jsonl", parts[1]);
  data::DatasetReference reference;
  reference.path = fuzz::folder();
  fuzz::feed([&] { data::split_names(reference, {}); });
  fuzz::feed([&] { data::load_split(reference, "test", {}); });
  return 0;
}
