#include "evalmpi/job/attempt.h"
#include "evalmpi/store/status_file.h"
#include "target.h"

using namespace evalmpi;

// manifest.json, status.json and output.lock of a folder that is to be resumed.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = fuzz::parts(fuzz::as_text(data, size), 3);
  fuzz::put_file("manifest.json", parts[0]);
  fuzz::put_file("status.json", parts[1]);
  if (!parts[2].empty()) fuzz::put_file("output.lock", parts[2]);
  fuzz::feed([&] { store::read_status(fuzz::folder()); });
  fuzz::feed([&] { store::is_complete(fuzz::folder()); });
  fuzz::feed([&] {
    job::AttemptOptions options;
    options.directory = fuzz::folder();
    options.must_match = {{"model", "m"}, {"limit", 3}};
    options.patience.silence = {};  // another host's lock would be waited for
    job::Attempt::open(options);
  });
  return 0;
}
