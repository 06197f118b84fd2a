#include "evalmpi/engine/chunk.h"

#include <algorithm>

#include "evalmpi/base/bytes.h"

namespace evalmpi::engine {
namespace {

constexpr uint8_t kScoreChunk = 1;
constexpr uint8_t kGenerateChunk = 2;
constexpr uint8_t kRecord = 4;

// Prompts of a chunk, once they are whole: no message may ask for more memory than this.
constexpr size_t kMaxPromptTokens = size_t{1} << 27;

void put(ByteWriter& out, const ScoreChunk& chunk) {
  out.put(kScoreChunk).put_array(chunk.trunk).put_array(chunk.parent).put_array(chunk.token_begin);
  out.put_array(chunk.tokens).put(static_cast<uint32_t>(chunk.requests.size()));
  for (const ScoreChunk::Request& request : chunk.requests) {
    out.put(request.key).put(request.node).put(request.length).put(request.targets).put(request.last_target);
  }
}

void put(ByteWriter& out, const GenerateChunk& chunk) {
  const GenerationSettings& settings = chunk.settings;
  out.put(kGenerateChunk).put_array(settings.eos_ids).put(settings.repetition_penalty);
  out.put(settings.no_repeat_ngram_size).put(static_cast<uint8_t>(settings.is_sampling)).put(settings.temperature);
  out.put(settings.top_k).put(settings.top_p).put(settings.min_p).put(settings.seed).put_text(settings.stop);
  out.put(chunk.slots).put_array(chunk.trunk);
  out.put(static_cast<uint32_t>(chunk.requests.size()));
  std::span<const int32_t> before = chunk.trunk;
  for (const GenerateRequest& request : chunk.requests) {
    const auto shared =
        std::mismatch(before.begin(), before.end(), request.prompt.begin(), request.prompt.end()).first -
        before.begin();
    out.put(request.key).put(request.max_new_tokens).put(static_cast<uint32_t>(shared));
    out.put_array(std::span<const int32_t>(request.prompt).subspan(static_cast<size_t>(shared)));
    before = request.prompt;
  }
}

void require(bool holds) {
  if (!holds) fail(ExitCode::kBadInput, "a chunk's parts do not fit together");
}

// The path length at the end of every node; checks the tree on the way.
std::vector<int32_t> path_lengths(const ScoreChunk& chunk) {
  const size_t nodes = chunk.parent.size();
  require(chunk.token_begin.size() == nodes + 1 && chunk.token_begin.front() == 0);
  require(chunk.token_begin.back() == static_cast<int32_t>(chunk.tokens.size()));
  std::vector<int32_t> length(nodes);
  for (size_t i = 0; i < nodes; ++i) {
    require(chunk.parent[i] >= -1 && chunk.parent[i] < static_cast<int32_t>(i));
    require(chunk.token_begin[i + 1] > chunk.token_begin[i]);
    const int32_t before = chunk.parent[i] < 0 ? static_cast<int32_t>(chunk.trunk.size()) : length[chunk.parent[i]];
    length[i] = before + chunk.token_begin[i + 1] - chunk.token_begin[i];
  }
  return length;
}

ScoreChunk get_score_chunk(ByteReader& in) {
  ScoreChunk chunk;
  chunk.trunk = in.get_array<int32_t>();
  chunk.parent = in.get_array<int32_t>();
  chunk.token_begin = in.get_array<int32_t>();
  chunk.tokens = in.get_array<int32_t>();
  const std::vector<int32_t> length = path_lengths(chunk);
  const auto count = in.get<uint32_t>();
  for (uint32_t i = 0; i < count; ++i) {
    ScoreChunk::Request request;
    request.key = in.get_hash();
    request.node = in.get<int32_t>();
    request.length = in.get<int32_t>();
    request.targets = in.get<int32_t>();
    request.last_target = in.get<int32_t>();
    require(request.node >= 0 && request.node < static_cast<int32_t>(length.size()));
    require(request.length == length[request.node] && request.targets > 0);
    require(request.length - request.targets >= static_cast<int32_t>(chunk.trunk.size()));
    chunk.requests.push_back(request);
  }
  return chunk;
}

GenerateChunk get_generate_chunk(ByteReader& in) {
  GenerateChunk chunk;
  chunk.settings.eos_ids = in.get_array<int32_t>();
  chunk.settings.repetition_penalty = in.get<float>();
  chunk.settings.no_repeat_ngram_size = in.get<int32_t>();
  chunk.settings.is_sampling = in.get<uint8_t>() != 0;
  chunk.settings.temperature = in.get<float>();
  chunk.settings.top_k = in.get<int32_t>();
  chunk.settings.top_p = in.get<float>();
  chunk.settings.min_p = in.get<float>();
  chunk.settings.seed = in.get<uint64_t>();
  require(chunk.settings.temperature > 0);
  chunk.settings.stop = in.get_text();
  chunk.slots = in.get<int32_t>();
  chunk.trunk = in.get_array<int32_t>();
  require(chunk.slots >= 1);
  const auto count = in.get<uint32_t>();
  size_t tokens = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const std::vector<int32_t>& before = i == 0 ? chunk.trunk : chunk.requests.back().prompt;
    GenerateRequest request;
    request.key = in.get_hash();
    request.max_new_tokens = in.get<int32_t>();
    const auto shared = in.get<uint32_t>();
    const std::vector<int32_t> own = in.get_array<int32_t>();
    tokens += shared + own.size();
    require(shared <= before.size() && shared >= chunk.trunk.size() && tokens <= kMaxPromptTokens);
    require(shared + own.size() > chunk.trunk.size() && request.max_new_tokens >= 1);
    request.prompt.reserve(shared + own.size());
    request.prompt.assign(before.begin(), before.begin() + shared);
    request.prompt.insert(request.prompt.end(), own.begin(), own.end());
    chunk.requests.push_back(std::move(request));
  }
  return chunk;
}

}  // namespace

std::string encode(const Chunk& chunk) {
  ByteWriter out;
  std::visit([&](const auto& kind) { put(out, kind); }, chunk);
  return out.take();
}

Chunk decode_chunk(std::string_view bytes) {
  ByteReader in(bytes, "chunk");
  const auto kind = in.get<uint8_t>();
  if (kind != kScoreChunk && kind != kGenerateChunk) fail(ExitCode::kBadInput, "chunk of unknown kind {}", kind);
  Chunk chunk = kind == kScoreChunk ? Chunk(get_score_chunk(in)) : Chunk(get_generate_chunk(in));
  in.finish();
  return chunk;
}

std::string encode(const ChunkRecord& record) {
  ByteWriter out;
  out.put(kRecord).put(record.numerics_class).put(record.computed_tokens);
  out.put(static_cast<uint32_t>(record.scores.size()));
  for (const ScoreResult& score : record.scores) {
    out.put(score.key).put_array(score.logprobs).put_array(score.is_argmax);
  }
  out.put(static_cast<uint32_t>(record.generations.size()));
  for (const GenerateResult& generation : record.generations) {
    out.put(generation.key).put_array(generation.tokens).put(static_cast<uint8_t>(generation.finish));
    out.put(generation.timing.first_token_seconds).put(generation.timing.mean_gap_seconds);
    out.put(generation.timing.max_gap_seconds);
  }
  return out.take();
}

ChunkRecord decode_record(std::string_view bytes) {
  ByteReader in(bytes, "record");
  const auto kind = in.get<uint8_t>();
  if (kind != kRecord) fail(ExitCode::kBadInput, "record of unknown kind {}", kind);
  ChunkRecord record;
  record.numerics_class = in.get_hash();
  record.computed_tokens = in.get<int64_t>();
  for (auto left = in.get<uint32_t>(); left > 0; --left) {
    ScoreResult score;
    score.key = in.get_hash();
    score.logprobs = in.get_array<float>();
    score.is_argmax = in.get_array<uint8_t>();
    if (score.logprobs.size() != score.is_argmax.size()) fail(ExitCode::kBadInput, "record: arrays of unequal length");
    record.scores.push_back(std::move(score));
  }
  for (auto left = in.get<uint32_t>(); left > 0; --left) {
    GenerateResult generation;
    generation.key = in.get_hash();
    generation.tokens = in.get_array<int32_t>();
    const auto finish = in.get<uint8_t>();
    if (finish > static_cast<uint8_t>(FinishReason::kLength))
      fail(ExitCode::kBadInput, "record: no such end of a generation: {}", finish);
    generation.finish = static_cast<FinishReason>(finish);
    generation.timing.first_token_seconds = in.get<float>();
    generation.timing.mean_gap_seconds = in.get<float>();
    generation.timing.max_gap_seconds = in.get<float>();
    record.generations.push_back(std::move(generation));
  }
  in.finish();
  return record;
}

}  // namespace evalmpi::engine
