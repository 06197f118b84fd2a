#pragma once

// What is known already: every answer of this and earlier attempts, by request key. Rank 0 only. Holds scalars; the
// tokens stay in the logs.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "evalmpi/base/hash.h"
#include "evalmpi/engine/chunk.h"
#include "evalmpi/store/record_log.h"

namespace evalmpi::eval {

// Where an answer stands and in which numerics class it was computed.
struct AnswerPlace {
  int32_t log = 0;     // index of AnswerTable::log_names()
  int32_t record = 0;  // running number of the record over all logs
  int32_t numerics_class = 0;
  store::LogPosition position;
};

// Safe from any thread.
class AnswerTable {
 public:
  // Takes the answers of a record. A key that is known keeps its answer, unless it is of another class than `current`
  // and the new one is of it.
  void add(const std::string& log_name, const store::LogPosition& position, const engine::ChunkRecord& record,
           const Hash128& current_class);

  // What a numerics class is in words, from the header of a log.
  void name_class(const Hash128& numerics_class, const std::string& description);

  // Whether the key has an answer; with `only` just one of that class counts.
  bool knows(const Hash128& key, const std::optional<Hash128>& only) const;
  std::optional<AnswerPlace> find(const Hash128& key) const;

  // Registers keys that `task` waits for; wait_for(task) returns when all are known, or false after give_up().
  void expect(int task, const std::vector<Hash128>& keys);
  // `meanwhile` is called about once a second.
  bool wait_for(int task, const std::function<void()>& meanwhile);
  void give_up();

  int64_t missing(int task) const;
  int64_t computed_tokens() const;  // of this attempt's records
  void count_computed(int64_t tokens);
  std::vector<std::string> log_names() const;
  std::vector<std::string> class_names() const;  // by AnswerPlace::numerics_class
  int class_index(const Hash128& numerics_class);

 private:
  int intern_class(const Hash128& numerics_class);

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::unordered_map<Hash128, AnswerPlace> places_;
  std::unordered_map<Hash128, std::vector<int>> expected_;
  std::unordered_map<int, int64_t> missing_;
  std::vector<std::string> log_names_;
  std::unordered_map<std::string, int32_t> log_index_;
  std::vector<Hash128> classes_;
  std::map<Hash128, std::string> class_names_;
  int32_t records_ = 0;
  int64_t computed_tokens_ = 0;
  bool given_up_ = false;
};

}  // namespace evalmpi::eval
