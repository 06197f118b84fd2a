// Places of one process: they show each other their memory between two barriers.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "backend.h"
#include "evalmpi/base/error.h"
#include "evalmpi/device/cpu.h"
#include "mailboxes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace evalmpi::comm {
namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Spinning only pays where every member has a core; about 20 us, longer waits sleep.
int spins_for(int size) {
  static const int cores = device::usable_cores();
  return size <= cores ? 500 : 0;
}

class ThreadGroup {
 public:
  explicit ThreadGroup(int size) : slots(size), size_(size), spins_(spins_for(size)) {}

  // What a member shows to the others from one barrier to the next.
  struct Slot {
    const void* data = nullptr;
    void* out = nullptr;
    size_t length = 0;
    SplitWish wish = {};
    std::shared_ptr<ThreadGroup> child = nullptr;
  };
  std::vector<Slot> slots;
  Mailboxes mail;

  int size() const { return size_; }

  void barrier() {
    const uint64_t generation = generation_.load();
    if (arrived_.fetch_add(1) + 1 == size_) {
      arrived_.store(0);
      {
        const std::lock_guard lock(mutex_);
        generation_.fetch_add(1);
      }
      opened_.notify_all();
      return;
    }
    for (int i = 0; i < spins_ && generation_.load() == generation && !closed_.load(); ++i) {
      relax();
    }
    if (generation_.load() != generation) {
      return;
    }
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [&] { return generation_.load() != generation || closed_.load(); });
    // A barrier that everyone reached stays passed, even if somebody has left right after it.
    if (generation_.load() == generation) {
      throw Error(ExitCode::kUnavailable, reason_);
    }
  }

  void close(std::string_view reason) {
    {
      const std::lock_guard lock(mutex_);
      if (reason_.empty()) {
        reason_ = reason;
      }
      closed_.store(true);
    }
    mail.close(reason);
    opened_.notify_all();
  }

 private:
  const int size_;
  const int spins_;
  std::atomic<int> arrived_{0};
  std::atomic<uint64_t> generation_{0};
  std::atomic<bool> closed_{false};
  std::mutex mutex_;
  std::condition_variable opened_;
  std::string reason_;
};

class ThreadBackend final : public Backend {
 public:
  ThreadBackend(std::shared_ptr<ThreadGroup> group, int rank) : group_(std::move(group)), rank_(rank) {}
  ~ThreadBackend() override {
    group_->close(fmt::format("place {} of {} in this process has left the group that another place still waits for",
                              rank_, size()));
  }

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }
  void barrier() override { group_->barrier(); }

  void broadcast(std::span<std::byte> data, int root) override {
    show({.data = data.data(), .length = data.size()});
    if (rank_ != root) {
      copy(slot(root).data, data.data(), data.size());
    }
    group_->barrier();
  }

  void all_gather_equal(std::span<const std::byte> mine, std::span<std::byte> all) override {
    show({.data = mine.data(), .length = mine.size()});
    for (int r = 0; r < size(); ++r) {
      copy(slot(r).data, all.data() + r * mine.size(), mine.size());
    }
    group_->barrier();
  }

  std::vector<std::string> all_gather(std::string_view mine) override { return collect(mine, true); }
  std::vector<std::string> gather(std::string_view mine, int root) override { return collect(mine, rank_ == root); }

  // Each member adds its slice of everybody's x and writes it into everybody's out.
  void ordered_sum(std::span<const float> x, std::span<float> out) override {
    show({.data = x.data(), .out = out.data(), .length = x.size()});
    const Slice mine = slice_of(static_cast<int64_t>(x.size()), rank_, size());
    if (mine.size() > 0) {
      std::vector<const float*> parts;
      for (int r = 0; r < size(); ++r) {
        parts.push_back(static_cast<const float*>(slot(r).data) + mine.begin);
      }
      const std::span<float> sum = out.subspan(mine.begin, mine.size());
      add_in_order(parts, sum);
      for (int r = 0; r < size(); ++r) {
        if (r != rank_) {
          std::memcpy(static_cast<float*>(slot(r).out) + mine.begin, sum.data(), sum.size_bytes());
        }
      }
    }
    group_->barrier();
  }

  void send(std::string_view bytes, int to, int tag) override { group_->mail.put(rank_, to, tag, std::string(bytes)); }
  std::string receive(int from, int tag) override { return group_->mail.take(from, rank_, tag); }

  std::unique_ptr<Backend> split(int color, int key) override {
    own_slot() = {.wish = {color, key}};
    group_->barrier();
    std::vector<SplitWish> wishes;
    for (int r = 0; r < size(); ++r) {
      wishes.push_back(slot(r).wish);
    }
    const std::vector<int> members = members_of_color(wishes, color);
    if (members.front() == rank_) {
      own_slot().child = std::make_shared<ThreadGroup>(static_cast<int>(members.size()));
    }
    group_->barrier();
    const auto place = std::find(members.begin(), members.end(), rank_);
    auto made = std::make_unique<ThreadBackend>(slot(members.front()).child, static_cast<int>(place - members.begin()));
    group_->barrier();
    own_slot().child.reset();
    return made;
  }

  void abandon(std::string_view why) noexcept override {
    try {
      group_->close(fmt::format("place {} of {} in this process failed: {}", rank_, size(), why));
    } catch (...) {
      group_->close("a place of this process failed");
    }
  }

 private:
  const ThreadGroup::Slot& slot(int rank) const { return group_->slots[rank]; }
  ThreadGroup::Slot& own_slot() { return group_->slots[rank_]; }

  static void copy(const void* from, void* to, size_t length) {
    if (length > 0) {
      std::memcpy(to, from, length);
    }
  }

  // After this everybody's slots can be read, until the next barrier. All lengths must be equal.
  void show(ThreadGroup::Slot mine) {
    const size_t length = mine.length;
    own_slot() = std::move(mine);
    group_->barrier();
    for (int r = 0; r < size(); ++r) {
      if (slot(r).length != length) {
        const std::string reason = fmt::format("places {} and {} came to one collective with {} and {} elements", rank_,
                                               r, length, slot(r).length);
        group_->close(reason);
        throw Error(ExitCode::kInternal, reason);
      }
    }
  }

  std::vector<std::string> collect(std::string_view mine, bool wanted) {
    own_slot() = {.data = mine.data(), .length = mine.size()};
    group_->barrier();
    std::vector<std::string> all;
    if (wanted) {
      for (int r = 0; r < size(); ++r) {
        all.emplace_back(static_cast<const char*>(slot(r).data), slot(r).length);
      }
    }
    group_->barrier();
    return all;
  }

  std::shared_ptr<ThreadGroup> group_;
  int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Backend>> make_thread_backends(int size) {
  const auto group = std::make_shared<ThreadGroup>(size);
  std::vector<std::unique_ptr<Backend>> members;
  for (int rank = 0; rank < size; ++rank) {
    members.push_back(std::make_unique<ThreadBackend>(group, rank));
  }
  return members;
}

}  // namespace evalmpi::comm
