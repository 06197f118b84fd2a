#include "prompt_file.h"
#include "target.h"

using namespace evalmpi;

namespace {

// What a line asks travels between ranks and comes back the same.
void check_journey(const eval::FileLine& line) {
  const std::string bytes = to_bytes(line.question);
  fuzz::require(to_bytes(eval::question_from_bytes(bytes)) == bytes, "a question is the same after its journey");
  const eval::LineSettings merged = eval::merged(line.settings, line.settings);
  fuzz::require(eval::group_key(merged) == eval::group_key(line.settings), "settings over themselves stay the same");
}

}  // namespace

// The lines that `generate` and `logprobs` read: plain ones, conversations, OpenAI batches; and a question's bytes.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = fuzz::as_text(data, size);
  for (const eval::FileJob job : {eval::FileJob::kGenerate, eval::FileJob::kLogprobs}) {
    for (const bool is_plain : {false, true}) {
      fuzz::feed([&] {
        for (const eval::FileLine& line : eval::parse_prompt_file(text, is_plain, "lines.jsonl", job, {}).lines)
          check_journey(line);
      });
    }
  }
  fuzz::feed([&] { eval::question_from_bytes(text); });
  return 0;
}
