#include "evalmpi/engine/chunk.h"

#include "target.h"

using namespace evalmpi;

namespace {

std::string example_scores() {
  engine::ScoreChunk chunk;
  chunk.trunk = {1, 2, 3};
  chunk.parent = {-1, 0, 0};
  chunk.token_begin = {0, 2, 3, 5};
  chunk.tokens = {4, 5, 6, 7, 8};
  chunk.requests = {{{1, 2}, 1, 6, 2, 9}, {{3, 4}, 2, 7, 1, 10}};
  return engine::encode(engine::Chunk(chunk));
}

std::string example_generations() {
  engine::GenerateChunk chunk;
  chunk.settings.eos_ids = {2};
  chunk.settings.stop = "\n\n";
  chunk.slots = 2;
  chunk.trunk = {1};
  chunk.requests = {{{1, 2}, {1, 5, 6}, 8}, {{3, 4}, {1, 5, 7, 8}, 4}};
  return engine::encode(engine::Chunk(chunk));
}

std::string example_record() {
  engine::ChunkRecord record;
  record.numerics_class = {5, 6};
  record.computed_tokens = 11;
  record.scores.resize(2);
  record.generations.resize(1);
  return engine::encode(record);
}

}  // namespace

// A chunk's content and its record, as they come from messages and logs: the input itself, and right ones with its
// bytes written into them.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string kScores = example_scores();
  static const std::string kGenerations = example_generations();
  static const std::string kRecord = example_record();
  const std::string_view input = fuzz::as_text(data, size);
  fuzz::feed([&] { engine::decode_chunk(input); });
  fuzz::feed([&] { engine::decode_record(input); });
  fuzz::feed([&] { engine::decode_chunk(fuzz::patched(kScores, input)); });
  fuzz::feed([&] { engine::decode_chunk(fuzz::patched(kGenerations, input)); });
  fuzz::feed([&] { engine::decode_record(fuzz::patched(kRecord, input)); });
  return 0;
}
