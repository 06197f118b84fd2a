#pragma once

// --verify: some chunks are computed a second time, on another replica where there is one, and must give the same bits.
// Arithmetic that differs between two equal machines is damaged hardware, which no other check sees.

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "evalmpi/engine/chunk.h"

namespace evalmpi::eval {

class Verification {
 public:
  // fraction: of the chunks, 0 to 1.
  explicit Verification(double fraction) : fraction_(fraction) {}

  // Whether the next chunk is one of them: evenly spread, the first among them.
  bool chooses_next();

  // The record of a chosen chunk. where: its log, for messages.
  void keep(uint64_t item, const std::string& where, const engine::ChunkRecord& record);

  // Its repetition. Records of different numerics classes are not compared.
  // FAILS: kUnavailable naming both logs and the first request that differs.
  void compare(uint64_t first_item, const std::string& where, const engine::ChunkRecord& record);

  struct Counts {
    int64_t chosen = 0;
    int64_t compared = 0;
    int64_t not_comparable = 0;  // two numerics classes
  };
  Counts counts() const;

 private:
  struct First {
    std::string where;
    engine::ChunkRecord record;
  };
  const double fraction_;
  mutable std::mutex mutex_;
  int64_t seen_ = 0;
  Counts counts_;
  std::map<uint64_t, First> firsts_;
};

}  // namespace evalmpi::eval
