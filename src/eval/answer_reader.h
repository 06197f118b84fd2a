#pragma once

// Answers read back from the logs of a run. Neighbours of one record cost one read, so ask in the order of the logs.

#include <filesystem>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "answers.h"
#include "evalmpi/base/hash.h"
#include "evalmpi/engine/chunk.h"

namespace evalmpi::eval {

class AnswerReader {
 public:
  // log_names: AnswerTable::log_names().
  AnswerReader(std::filesystem::path log_directory, std::vector<std::string> log_names)
      : log_directory_(std::move(log_directory)), log_names_(std::move(log_names)) {}

  // The answer to `key`, which stands at `place`; valid until the next call.
  // FAILS: kBadInput naming the log when the record is damaged, kIo.
  const engine::ScoreResult& score(const AnswerPlace& place, const Hash128& key);
  const engine::GenerateResult& generation(const AnswerPlace& place, const Hash128& key);

 private:
  void load(const AnswerPlace& place);

  std::filesystem::path log_directory_;
  std::vector<std::string> log_names_;
  int32_t log_ = -1;
  store::LogPosition position_;
  engine::ChunkRecord record_;
  std::unordered_map<Hash128, size_t> scores_, generations_;
};

}  // namespace evalmpi::eval
