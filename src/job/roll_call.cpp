#include "evalmpi/job/roll_call.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "evalmpi/base/json.h"
#include "evalmpi/comm/communicator.h"
#include "evalmpi/comm/message_port.h"
#include "evalmpi/comm/together.h"
#include "wire.h"

namespace evalmpi::job {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::duration<double> kSayEvery{1};
// Rank 1 speaks first when rank 0 is silent; one of them is enough.
constexpr std::chrono::duration<double> kAfterRank1{1};
constexpr uint64_t kNoChunk = UINT64_MAX;

// sign := version:u8 leaves:u8 thread:text phase:text chunk:u64 still_seconds:f64      the answer is empty
std::string encode(const ThreadSign& sign, bool leaves) {
  ByteWriter message;
  message.put(wire::kVersion).put(static_cast<uint8_t>(leaves)).put_text(sign.thread).put_text(sign.phase);
  message.put(sign.chunk.value_or(kNoChunk)).put(sign.still_seconds);
  return message.take();
}

std::pair<ThreadSign, bool> decode(const std::string& bytes) {
  ByteReader message(bytes, "a sign of life");
  if (message.get<uint8_t>() != wire::kVersion) {
    fail(ExitCode::kBadInput, "a rank runs another build of evalmpi (signs of life of another version)");
  }
  const bool leaves = message.get<uint8_t>() != 0;
  ThreadSign sign;
  sign.thread = message.get_text();
  sign.phase = message.get_text();
  const auto chunk = message.get<uint64_t>();
  if (chunk != kNoChunk) sign.chunk = chunk;
  sign.still_seconds = message.get<double>();
  message.finish();
  return {std::move(sign), leaves};
}

}  // namespace

std::string describe(int rank, const RankHome& home) {
  return fmt::format("rank {} on {} (process {})", rank, home.host, home.pid);
}

std::vector<RankHome> find_homes(comm::Communicator& world, const std::string& host) {
  std::vector<RankHome> homes;
  for (const std::string& home : world.all_gather(Json{host, ::getpid()}.dump())) {
    const Json parsed = parse_json(home, "a rank's home");
    homes.push_back({parsed.at(0), parsed.at(1)});
  }
  return homes;
}

RollCall::RollCall(comm::MessagePort& port, Watchdog& watchdog, std::vector<RankHome> homes)
    : RollCall(port, watchdog, std::move(homes), Stepped{}) {
  if (watchdog.options().hang_timeout.count() > 0 && port.size() > 1) thread_ = std::thread([this] { run(); });
}

RollCall::RollCall(comm::MessagePort& port, Watchdog& watchdog, std::vector<RankHome> homes, Stepped)
    : port_(port),
      watchdog_(watchdog),
      homes_(std::move(homes)),
      say_every_(std::min<Seconds>(kSayEvery, watchdog.options().hang_timeout / 4)) {
  EVALMPI_CHECK(homes_.size() == static_cast<size_t>(port.size()));
  peers_.resize(port.rank() == 0 ? homes_.size() : 1);
  for (Peer& peer : peers_) peer.last = {"main", "start", std::nullopt, 0};
}

RollCall::~RollCall() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void RollCall::finish() {
  if (!thread_.joinable()) return;
  leave();
  wake_.notify_all();
  thread_.join();
}

void RollCall::leave() {
  const std::lock_guard lock(mutex_);
  leaves_ = true;
}

bool RollCall::is_over() const {
  const std::lock_guard lock(mutex_);
  if (port_.rank() != 0) return has_said_leave_ && !awaits_answer_;
  return leaves_ && std::all_of(peers_.begin() + 1, peers_.end(), [](const Peer& peer) { return peer.has_left; });
}

// Rank 0: takes what has come, and answers it.
void RollCall::serve_ranks() {
  while (const std::optional<comm::Message> message = port_.receive(wire::kToRollCall, milliseconds(0))) {
    auto [sign, leaves] = decode(message->bytes);
    port_.post(message->source, wire::kFromRollCall, "");
    const std::lock_guard lock(mutex_);
    Peer& peer = peers_.at(static_cast<size_t>(message->source));
    peer.last = std::move(sign);
    peer.silent = Seconds(0);
    peer.has_left = leaves;
  }
}

// A rank that has no answer says nothing more, so that at most one message waits for a rank that is stopped.
void RollCall::hear_rank_0(Clock::time_point now) {
  const bool is_answered = port_.receive(wire::kFromRollCall, milliseconds(0)).has_value();
  const ThreadSign sign = watchdog_.sign();
  bool leaves = false;
  {
    const std::lock_guard lock(mutex_);
    if (is_answered) {
      awaits_answer_ = false;
      peers_.front().silent = Seconds(0);
    }
    const bool is_due = !last_said_ || now - *last_said_ >= say_every_ || leaves_;
    if (awaits_answer_ || has_said_leave_ || !is_due) return;
    leaves = has_said_leave_ = leaves_;
    awaits_answer_ = true;
    last_said_ = now;
  }
  port_.post(0, wire::kToRollCall, encode(sign, leaves));
}

std::optional<std::string> RollCall::silence(Seconds passed) {
  const std::lock_guard lock(mutex_);
  const bool is_root = port_.rank() == 0;
  const Seconds limit = watchdog_.options().hang_timeout;
  if (!is_root && !awaits_answer_) return std::nullopt;
  for (size_t rank = is_root ? 1 : 0; rank < peers_.size(); ++rank) {
    Peer& peer = peers_[rank];
    if (peer.has_left) continue;
    peer.silent += passed;
    if (peer.silent <= limit + (port_.rank() > 1 ? kAfterRank1 : Seconds(0))) continue;
    return fmt::format("{}: no sign of life for {:.1f} s (--hang-timeout {}){}",
                       describe(static_cast<int>(rank), homes_[rank]), peer.silent.count(), limit.count(),
                       is_root ? "; it was last " + describe(peer.last) : "; it is the rank that hands out the work");
  }
  return std::nullopt;
}

std::optional<std::string> RollCall::step(Clock::time_point now) {
  if (port_.rank() == 0) {
    serve_ranks();
  } else {
    hear_rank_0(now);
  }
  constexpr int kPeriodsAtOnce = 4;
  const Seconds passed = std::min<Seconds>(now - last_step_.value_or(now), kPeriodsAtOnce * watchdog_.options().period);
  last_step_ = now;
  return silence(passed);
}

std::vector<RankSign> RollCall::ranks() {
  std::vector<RankSign> all;
  {
    const std::lock_guard lock(mutex_);
    for (size_t rank = 0; rank < peers_.size(); ++rank) {
      const Peer& peer = peers_[rank];
      all.push_back({homes_[rank], peer.last, peer.silent.count()});
      all.back().thread.still_seconds += peer.silent.count();
    }
  }
  if (port_.rank() == 0) all.front().thread = watchdog_.sign();
  return all;
}

void RollCall::run() {
  const std::shared_ptr<Heartbeat> heartbeat = watchdog_.watch("roll call");
  heartbeat->enter("exchanging signs of life", Judged::kStrict);
  try {
    while (!is_over()) {
      if (const std::optional<std::string> line = step(Clock::now())) watchdog_.end_job(*line);
      heartbeat->beat();
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, watchdog_.options().period / 2, [this] { return done_; });
      if (done_) return;
    }
  } catch (...) {
    const comm::Failure failure = comm::current_failure();
    const int rank = port_.rank();
    watchdog_.end_job(fmt::format("{}: {}", describe(rank, homes_[static_cast<size_t>(rank)]), failure.message),
                      failure.code);
  }
}

}  // namespace evalmpi::job
