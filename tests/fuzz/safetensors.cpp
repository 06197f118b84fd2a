#include "evalmpi/model/safetensors.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "target.h"

using namespace evalmpi;

// The file as it is, or the header's text and, in the second part, the number of bytes behind it.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input = fuzz::as_text(data, size);
  fuzz::feed([&] { model::parse_safetensors(input, "input"); });
  const std::vector<std::string> parts = fuzz::parts(input, 2);
  const uint64_t header_bytes = parts[0].size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &header_bytes, 8);
  file += parts[0];
  file.append(std::min<unsigned long>(std::strtoul(parts[1].c_str(), nullptr, 10), 100'000), '\0');
  fuzz::feed([&] {
    for (const auto& [name, entry] : model::parse_safetensors(file, "input")) {
      fuzz::require(entry.bytes.empty() || (entry.bytes.data() >= file.data() + 8 + header_bytes &&
                                            entry.bytes.data() + entry.bytes.size() <= file.data() + file.size()),
                    "a tensor's bytes lie in the file");
    }
  });
  return 0;
}
