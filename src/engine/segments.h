#pragma once

// Cuts runs of tokens, in depth-first order, into segments of bounded size.

#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "evalmpi/model/transformer.h"

namespace evalmpi::engine {

// Collects runs; calls `compute(segment)` whenever `budget` rows are full and at flush(). A run may be cut anywhere,
// since its first part is in the key-value store when its second part is computed.
class SegmentBuilder {
 public:
  // is_decoding: all tokens are generated ones (model::Segment).
  SegmentBuilder(int64_t budget, std::function<void(const model::Segment&)> compute, bool is_decoding = false)
      : budget_(budget), compute_(std::move(compute)) {
    segment_.is_decoding = is_decoding;
  }

  // Tokens that continue `path` at absolute position `start`; `fork`: the path that holds what is before it (-1:
  // `path`).
  void add(int32_t path, int32_t start, std::span<const int32_t> tokens, int32_t fork = -1) {
    while (!tokens.empty()) {
      const auto room = static_cast<size_t>(budget_) - segment_.ids.size();
      const auto part = tokens.first(std::min(room, tokens.size()));
      const auto row = static_cast<int32_t>(segment_.ids.size());
      segment_.spans.push_back({path, start, row, static_cast<int32_t>(part.size()), std::exchange(fork, -1)});
      for (size_t i = 0; i < part.size(); ++i) {
        segment_.ids.push_back(part[i]);
        segment_.positions.push_back(start + static_cast<int32_t>(i));
      }
      start += static_cast<int32_t>(part.size());
      tokens = tokens.subspan(part.size());
      if (segment_.ids.size() == static_cast<size_t>(budget_)) flush();
    }
  }

  void flush() {
    if (segment_.ids.empty()) return;
    compute_(segment_);
    const bool is_decoding = segment_.is_decoding;
    segment_ = {};
    segment_.is_decoding = is_decoding;
  }

 private:
  int64_t budget_;
  std::function<void(const model::Segment&)> compute_;
  model::Segment segment_;
};

}  // namespace evalmpi::engine
