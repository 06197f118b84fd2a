#include "nccl_watch.h"

#include <algorithm>
#include <exception>

#include "evalmpi/base/error.h"
#include "evalmpi/base/process.h"

namespace evalmpi::comm {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatienceAtEnd{2000};
constexpr int kLooksBeforeGone = 2;  // a process that ends as planned has done its part before

double seconds_of(milliseconds time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

std::string describe(const MemberHome& home) {
  return fmt::format("rank {} on {} (process {})", home.world_rank, home.host, home.pid);
}

NcclWatch::NcclWatch(NcclLibrary& library, NcclLibrary::Link link, std::vector<MemberHome> homes, int own_rank,
                     const NcclGroup::Options& options)
    : library_(library), homes_(std::move(homes)), own_rank_(own_rank), options_(options), link_(link) {
  const MemberHome& own = homes_[own_rank_];
  for (size_t member = 0; member < homes_.size(); ++member) {
    const MemberHome& home = homes_[member];
    if (home.host == own.host && home.pid_namespace == own.pid_namespace && home.pid != own.pid &&
        !home.start.empty() && process_start(home.pid) == home.start) {
      visible_.push_back(static_cast<int>(member));
    }
  }
  thread_ = std::jthread([this](const std::stop_token& token) { watch(token); });
}

NcclWatch::~NcclWatch() {
  thread_.request_stop();
  thread_.join();
  if (aborted_) return;
  if (std::uncaught_exceptions() > 0 || !failure_.empty()) {
    library_.abort(link_);
  } else {
    library_.finish(link_, kPatienceAtEnd);
  }
}

void NcclWatch::run(const std::string& verb, const std::function<void(NcclLibrary::Link)>& enqueue) {
  throw_failure();
  {
    const std::lock_guard lock(link_mutex_);
    if (!aborted_) enqueue(link_);
  }
  settle(verb);
  std::unique_ptr<NcclLibrary::Mark> mark = library_.mark();
  if (mark) expect(verb, std::move(mark));
}

// NCCL is ready at once but for the first verbs, which connect.
void NcclWatch::settle(const std::string& verb) {
  const auto begin = Clock::now();
  for (int64_t look = 0;; ++look) {
    throw_failure();
    NcclLibrary::State state;
    {
      const std::lock_guard lock(link_mutex_);
      if (!aborted_) state = library_.state(link_);
    }
    if (state.progress == NcclLibrary::Progress::kDone) break;
    {
      const std::lock_guard lock(mutex_);
      settling_ = verb;
    }
    if (state.progress == NcclLibrary::Progress::kFailed) {
      give_up(failed(verb, state.why));
    } else if (is_late(begin)) {
      give_up(late(verb));
    } else if (look > 100) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
  const std::lock_guard lock(mutex_);
  settling_.clear();
}

void NcclWatch::expect(const std::string& verb, std::unique_ptr<NcclLibrary::Mark> mark) {
  const std::lock_guard lock(mutex_);
  if (expected_.empty()) since_ = Clock::now();
  expected_.push_back({verb, std::move(mark)});
}

void NcclWatch::throw_failure() {
  const std::lock_guard lock(mutex_);
  if (!failure_.empty()) throw Error(ExitCode::kUnavailable, failure_);
}

void NcclWatch::watch(const std::stop_token& token) {
  while (!token.stop_requested()) {
    if (const auto why = problem()) {
      give_up(*why);
      return;
    }
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, token, options_.period, [] { return false; });
  }
}

// The verb that is awaited, after those that have come to their end were forgotten.
std::optional<std::string> NcclWatch::awaited_verb() {
  const std::lock_guard lock(mutex_);
  const auto last = std::find_if(expected_.rbegin(), expected_.rend(),
                                 [](const Expected& expected) { return expected.mark->reached(); });
  if (last != expected_.rend()) {
    expected_.erase(expected_.begin(), last.base());
    since_ = Clock::now();
  }
  if (!expected_.empty()) return expected_.front().verb;
  return settling_.empty() ? std::nullopt : std::optional(settling_);
}

std::optional<std::string> NcclWatch::problem() {
  const auto verb = awaited_verb();
  if (!verb) {
    looks_at_gone_ = 0;
    return std::nullopt;
  }
  if (const std::vector<int> members = gone(); members.empty()) {
    looks_at_gone_ = 0;
  } else if (++looks_at_gone_ >= kLooksBeforeGone) {
    std::vector<std::string> names;
    for (const int member : members) names.push_back(describe(homes_[member]));
    return fmt::format("{} {} gone while others wait for it in {}; what is finished is kept, start the job again",
                       fmt::join(names, " and "), members.size() == 1 ? "is" : "are", *verb);
  }
  {
    const std::lock_guard lock(link_mutex_);
    const NcclLibrary::State state = aborted_ ? NcclLibrary::State{} : library_.state(link_);
    if (state.progress == NcclLibrary::Progress::kFailed) return failed(*verb, state.why);
  }
  const std::lock_guard lock(mutex_);
  if (!expected_.empty() && is_late(since_)) return late(expected_.front().verb);
  return std::nullopt;
}

std::vector<int> NcclWatch::gone() const {
  std::vector<int> members;
  for (const int member : visible_) {
    if (process_start(homes_[member].pid) != homes_[member].start) members.push_back(member);
  }
  return members;
}

bool NcclWatch::is_late(Clock::time_point since) const {
  return options_.deadline.count() > 0 && Clock::now() - since > options_.deadline;
}

std::string NcclWatch::late(const std::string& verb) const {
  return fmt::format(
      "{} did not end within {} s; it needs {}: is one of them frozen, or its device, or the network between them "
      "(NCCL_DEBUG=INFO tells more)? What is finished is kept, start the job again",
      verb, seconds_of(options_.deadline), others());
}

std::string NcclWatch::failed(const std::string& verb, const std::string& why) const {
  return fmt::format(
      "NCCL failed in {}, which needs {}: {}. Is one of them gone? What is finished is kept, start the job again; "
      "--host-staged works without NCCL",
      verb, others(), why);
}

std::string NcclWatch::others() const {
  std::vector<std::string> names;
  for (size_t member = 0; member < homes_.size(); ++member) {
    if (static_cast<int>(member) != own_rank_) names.push_back(describe(homes_[member]));
  }
  return fmt::format("{}", fmt::join(names, " and "));
}

void NcclWatch::give_up(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) return;
    failure_ = why;
  }
  const std::vector<int> dead = gone();
  const auto before = std::count_if(dead.begin(), dead.end(), [this](int member) { return member < own_rank_; });
  options_.on_failure(why, own_rank_ - static_cast<int>(before));
  const std::lock_guard lock(link_mutex_);
  library_.abort(link_);
  aborted_ = true;
}

}  // namespace evalmpi::comm
