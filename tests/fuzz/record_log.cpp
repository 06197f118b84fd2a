#include "evalmpi/store/record_log.h"

#include <cstring>

#include "evalmpi/base/hash.h"
#include "target.h"

using namespace evalmpi;

namespace {

// A frame with right checksums (record_log.h has the grammar).
void add_frame(std::string& log, std::string_view payload) {
  struct {
    uint32_t length, payload_crc;
    uint64_t offset;
  } covered{static_cast<uint32_t>(payload.size()), crc32c(payload), log.size()};
  static_assert(sizeof(covered) == 16);
  const uint32_t frame_crc = crc32c(std::string_view(reinterpret_cast<const char*>(&covered), sizeof covered));
  for (const uint32_t word : {covered.length, frame_crc, covered.payload_crc}) {
    log.append(reinterpret_cast<const char*>(&word), 4);
  }
  log += payload;
}

void scan(std::string_view bytes) {
  const std::filesystem::path& file = fuzz::as_file(bytes);
  fuzz::feed([&] { store::read_log_header(file); });
  fuzz::feed([&] {
    std::vector<store::LogPosition> positions;
    store::scan_log(file, [&](std::string_view, const store::LogPosition& position) { positions.push_back(position); });
    for (const store::LogPosition& position : positions) store::read_record(file, position);
  });
}

}  // namespace

// The log's bytes; and a log whose frames are the parts, with right checksums.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input = fuzz::as_text(data, size);
  scan(input);
  std::string log;
  for (const std::string& payload : fuzz::parts(input, 4)) add_frame(log, payload);
  scan(log);
  return 0;
}
