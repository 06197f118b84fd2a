// Generation on a lane: slots of running sequences, refilled in order from the chunk's list.

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "decode_step.h"
#include "evalmpi/base/error.h"
#include "evalmpi/engine/lane.h"
#include "evalmpi/model/weights.h"
#include "next_token.h"
#include "segments.h"

namespace evalmpi::engine {
namespace {

using Clock = std::chrono::steady_clock;

float seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<float>(to - from).count();
}

bool is_end(const GenerationSettings& settings, int32_t token) {
  return std::find(settings.eos_ids.begin(), settings.eos_ids.end(), token) != settings.eos_ids.end();
}

// A common beginning is made the trunk of its chunk from so many tokens on: fewer are not shared between paths, and a
// trunk of its own costs a call of the model.
constexpr size_t kWorthSharing = 256;

// The chunk's trunk, or what all its prompts begin with where that is much longer. One token of each prompt stays its
// own: its row gives the first new token.
std::span<const int32_t> common_trunk(const GenerateChunk& chunk) {
  if (chunk.requests.size() < 2) return chunk.trunk;
  std::span<const int32_t> common(chunk.requests.front().prompt);
  for (const GenerateRequest& request : chunk.requests) {
    const auto end =
        std::mismatch(common.begin(), common.end(), request.prompt.begin(), request.prompt.end() - 1).first;
    common = common.first(static_cast<size_t>(end - common.begin()));
  }
  return common.size() >= chunk.trunk.size() + kWorthSharing ? common : std::span(chunk.trunk);
}

// What the model says of the token after a sequence: all logits where the settings look at them, else the most
// probable.
struct NextToken {
  std::vector<float> logits_V;
  int32_t argmax = -1;
};

// One running sequence; its keys and values are on path slot + 1 (path 0 holds the trunk).
struct Running {
  size_t request = 0;
  std::vector<int32_t> sequence;  // prompt and output
  size_t computed = 0;            // tokens whose keys and values are in the store, or on `fork`
  int32_t fork = -1;              // the path that holds them, until a token of its own is computed
  StopCheck stop;
  TokenChooser chooser;
  Clock::time_point admitted, last_token;
  float max_gap_seconds = 0;
};

// The generations of one chunk. A prompt forks off the one before it where they part, so that within a chunk every
// distinct token is computed once; a prompt that equals the one before it takes over its first logits too.
class Generations {
 public:
  // separates: prompts' tokens are computed in other segments than generated ones.
  Generations(const GenerateChunk& chunk, const StopCriterion& stop, ops::KeyValueStore& store, DecodeStep step,
              bool separates, int64_t token_budget, std::span<const int32_t> trunk, ChunkRecord& record)
      : chunk_(chunk),
        make_stop_(stop),
        store_(store),
        step_(std::move(step)),
        separates_(separates),
        token_budget_(token_budget),
        record_(record),
        trunk_(trunk),
        slots_(std::min<size_t>(chunk.slots, chunk.requests.size())) {
    record_.generations.resize(chunk.requests.size());
  }

  void run() {
    while (next_ < chunk_.requests.size() || is_any_running()) {
      fill_slots();
      // A device has other products for generated tokens than for prompts. Elsewhere all rows share one reading of the
      // weights.
      if (separates_) add_rows([this](const Running& running) { return is_in_prompt(running); }, false);
      add_rows([](const Running&) { return true; }, separates_);
    }
  }

 private:
  static int32_t path_of(size_t slot) { return static_cast<int32_t>(slot) + 1; }

  bool is_any_running() const {
    return std::any_of(slots_.begin(), slots_.end(), [](const auto& slot) { return slot.has_value(); });
  }

  bool next_is_twin() const {
    return next_ > 0 && next_ < chunk_.requests.size() &&
           chunk_.requests[next_].prompt == chunk_.requests[next_ - 1].prompt;
  }

  void fill_slots() {
    for (size_t slot = 0; slot < slots_.size() && next_ < chunk_.requests.size(); ++slot) {
      if (slots_[slot]) continue;
      const GenerateRequest& request = chunk_.requests[next_];
      const bool is_twin = next_is_twin();
      if (is_twin && !twin_) return;  // they come with this step
      const std::span<const int32_t> before = next_ == 0 ? trunk_ : std::span(chunk_.requests[next_ - 1].prompt);
      const auto shared = static_cast<size_t>(
          std::mismatch(before.begin(), before.end(), request.prompt.begin(), request.prompt.end()).first -
          before.begin());
      const size_t held = is_twin ? shared : std::min(shared, request.prompt.size() - 1);
      const auto now = Clock::now();
      slots_[slot].emplace(Running{next_, request.prompt, held, last_path_, make_stop_(chunk_.settings, request),
                                   TokenChooser(chunk_.settings, request.key), now, now, 0});
      ++next_;
      if (is_twin) {
        store_.copy_path(last_path_, path_of(slot), static_cast<int64_t>(held));
        slots_[slot]->fork = -1;
        NextToken next = *twin_;
        last_path_ = path_of(slot);
        if (!next_is_twin()) twin_.reset();
        add_token(slot, next.logits_V, next.argmax);
      } else {
        last_path_ = path_of(slot);
      }
    }
  }

  bool is_in_prompt(const Running& running) const {
    return running.computed < chunk_.requests[running.request].prompt.size();
  }

  // Computes what is new in the slots for which `takes` says so.
  template <class Takes>
  void add_rows(const Takes& takes, bool is_decoding) {
    SegmentBuilder rows(
        token_budget_, [this](const model::Segment& segment) { compute(segment); }, is_decoding);
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      if (!slots_[slot] || !takes(*slots_[slot])) continue;
      Running& running = *slots_[slot];
      // Computing a full segment may append to the sequence or end it; what is added is held here.
      fresh_.assign(running.sequence.begin() + static_cast<int64_t>(running.computed), running.sequence.end());
      rows.add(path_of(slot), static_cast<int32_t>(running.computed), fresh_, std::exchange(running.fork, -1));
    }
    rows.flush();
  }

  // One segment; the sequences whose last token is in it get one more.
  void compute(const model::Segment& segment) {
    std::vector<int32_t> rows_R;
    std::vector<size_t> slot_of_row;
    for (const ops::AttentionSpan& span : segment.spans) {
      const auto slot = static_cast<size_t>(span.path) - 1;
      Running& running = *slots_[slot];
      if (is_in_prompt(running)) record_.computed_tokens += span.length;
      running.computed += static_cast<size_t>(span.length);
      if (running.computed < running.sequence.size()) continue;
      rows_R.push_back(span.row + span.length - 1);
      slot_of_row.push_back(slot);
    }
    const StepResult result = step_.run(segment, rows_R);
    for (size_t r = 0; r < rows_R.size(); ++r) {
      if (result.logits_RV.defined()) {
        const auto vocabulary = static_cast<size_t>(result.logits_RV.size(1));
        float* const logits = result.logits_RV.mutable_data_ptr<float>();
        take_next(slot_of_row[r], std::span(logits + r * vocabulary, vocabulary), -1);
      } else {
        take_next(slot_of_row[r], {}, result.argmax_R[r]);
      }
    }
  }

  void take_next(size_t slot, std::span<float> logits_V, int32_t argmax) {
    const bool is_newest = slots_[slot]->request + 1 == next_;
    if (is_newest && next_is_twin() && !twin_) twin_ = NextToken{{logits_V.begin(), logits_V.end()}, argmax};
    add_token(slot, logits_V, argmax);
  }

  // Chooses the next token of a slot, and ends its generation where that was the last one. Writes over logits_V.
  void add_token(size_t slot, std::span<float> logits_V, int32_t argmax) {
    Running& running = *slots_[slot];
    const GenerateRequest& request = chunk_.requests[running.request];
    GenerateResult& result = record_.generations[running.request];
    const int32_t token = logits_V.empty() ? argmax : running.chooser.choose(logits_V, running.sequence);
    running.sequence.push_back(token);
    const auto made = static_cast<int32_t>(running.sequence.size() - request.prompt.size());
    const auto now = Clock::now();
    if (made == 1) {
      result.timing.first_token_seconds = seconds_between(running.admitted, now);
    } else {
      running.max_gap_seconds = std::max(running.max_gap_seconds, seconds_between(running.last_token, now));
      // So far the sum of the gaps.
      result.timing.mean_gap_seconds += seconds_between(running.last_token, now);
    }
    running.last_token = now;
    if (is_end(chunk_.settings, token)) {
      result.finish = FinishReason::kEndToken;
    } else if (running.stop(token)) {
      result.finish = FinishReason::kStop;
    } else if (made < request.max_new_tokens) {
      return;
    } else {
      result.finish = FinishReason::kLength;
    }
    result.key = request.key;
    result.tokens.assign(running.sequence.end() - made, running.sequence.end());
    if (made > 1) result.timing.mean_gap_seconds /= static_cast<float>(made - 1);
    result.timing.max_gap_seconds = running.max_gap_seconds;
    slots_[slot].reset();
  }

  const GenerateChunk& chunk_;
  const StopCriterion& make_stop_;
  ops::KeyValueStore& store_;
  DecodeStep step_;
  const bool separates_;
  int64_t token_budget_;
  ChunkRecord& record_;
  std::span<const int32_t> trunk_;  // what path 0 holds
  std::vector<std::optional<Running>> slots_;
  size_t next_ = 0;                // request that gets the next free slot
  int32_t last_path_ = 0;          // holds the prompt of the request before it (the trunk, before the first)
  std::optional<NextToken> twin_;  // after that prompt, kept when the next one is equal
  std::vector<int32_t> fresh_;
};

}  // namespace

void Lane::run_generations(const GenerateChunk& chunk, const StopCriterion& stop, ChunkRecord& record) {
  const int64_t vocabulary = transformer_->spec().vocab;
  int64_t longest = 0;
  for (const GenerateRequest& request : chunk.requests) {
    for (const int32_t id : request.prompt) {
      if (id < 0 || id >= vocabulary)
        fail(ExitCode::kBadInput, "token id {} is outside the vocabulary of {}", id, vocabulary);
    }
    longest = std::max(longest, static_cast<int64_t>(request.prompt.size()) + request.max_new_tokens);
  }
  const auto paths = static_cast<int64_t>(std::min<size_t>(chunk.slots, chunk.requests.size())) + 1;
  const std::span<const int32_t> trunk = common_trunk(chunk);
  record.computed_tokens = hold_trunk(trunk, paths, longest);
  store_.share(static_cast<int64_t>(trunk.size()));
  DecodeStep step(*transformer_, tp_, store_, {needs_logits(chunk.settings), replays_steps_, longest});
  const bool separates = replays_steps_ || !transformer_->weights().device.is_cpu();
  Generations(chunk, stop, store_, std::move(step), separates, segment_rows_, trunk, record).run();
}

}  // namespace evalmpi::engine
