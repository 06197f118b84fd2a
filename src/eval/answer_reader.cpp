#include "answer_reader.h"

namespace evalmpi::eval {

void AnswerReader::load(const AnswerPlace& place) {
  if (log_ == place.log && position_ == place.position) return;
  log_ = -1;
  record_ = engine::decode_record(store::read_record(log_directory_ / log_names_.at(place.log), place.position));
  scores_.clear();
  generations_.clear();
  for (size_t i = 0; i < record_.scores.size(); ++i) scores_[record_.scores[i].key] = i;
  for (size_t i = 0; i < record_.generations.size(); ++i) generations_[record_.generations[i].key] = i;
  log_ = place.log;
  position_ = place.position;
}

const engine::ScoreResult& AnswerReader::score(const AnswerPlace& place, const Hash128& key) {
  load(place);
  return record_.scores[scores_.at(key)];
}

const engine::GenerateResult& AnswerReader::generation(const AnswerPlace& place, const Hash128& key) {
  load(place);
  return record_.generations[generations_.at(key)];
}

}  // namespace evalmpi::eval
