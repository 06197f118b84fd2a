// Groups of devices over a library of our own in NCCL's place: CPU tensors stand for those on devices.

#include "nccl_group.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <future>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "error_code.h"
#include "evalmpi/base/process.h"
#include "group_checks.h"
#include "mailboxes.h"
#include "nccl_watch.h"

namespace evalmpi::comm {
namespace {

using std::chrono::milliseconds;

// What goes wrong in FakeNccl.
enum class Fault { kNone, kNeverConnects, kNeverReached, kFails };

class FakeNccl final : public NcclLibrary {
 public:
  explicit FakeNccl(Fault fault = Fault::kNone) : fault_(fault) {}

  Id make_id() override { return Id{std::byte{42}}; }
  Link connect(const Id& id, int size, int rank) override {
    EXPECT_EQ(id[0], std::byte{42});  // everybody has what rank 0 made
    return new Member{size, rank, 0};
  }
  State state(Link link) override {
    if (fault_ == Fault::kNeverConnects) return {Progress::kUnderWay};
    if (fault_ == Fault::kFails && member(link)->verbs > 0) return {Progress::kFailed, "unhandled cuda error"};
    return {Progress::kDone};
  }
  void abort(Link link) noexcept override {
    ++aborted;
    delete member(link);
  }
  void finish(Link link, milliseconds) noexcept override {
    ++finished;
    delete member(link);
  }

  void exchange(Link link, std::span<const Part> sends, std::span<const Part> receives) override {
    ++member(link)->verbs;
    if (fault_ != Fault::kNone) return;
    const int own = member(link)->rank;
    for (const Part& part : sends) mail_.put(own, part.peer, 0, std::string(static_cast<char*>(part.data), part.bytes));
    for (const Part& part : receives) {
      const std::string bytes = mail_.take(part.peer, own, 0);
      ASSERT_EQ(bytes.size(), part.bytes);
      std::memcpy(part.data, bytes.data(), bytes.size());
    }
  }
  void all_gather(Link link, const void* mine, void* all, size_t bytes) override {
    std::vector<Part> sends, receives;
    for (int peer = 0; peer < member(link)->size; ++peer) {
      sends.push_back({const_cast<void*>(mine), bytes, peer});
      receives.push_back({static_cast<char*>(all) + peer * bytes, bytes, peer});
    }
    exchange(link, sends, receives);
  }
  // The other order.
  void sum(Link link, const float* x, float* out, size_t count) override {
    const int size = member(link)->size;
    std::vector<float> all(size * count);
    all_gather(link, x, all.data(), count * sizeof(float));
    std::copy_n(all.begin() + (size - 1) * count, count, out);
    for (int rank = size - 2; rank >= 0; --rank) {
      for (size_t i = 0; i < count; ++i) out[i] += all[rank * count + i];
    }
  }
  std::unique_ptr<Mark> mark() override { return std::make_unique<FakeMark>(fault_ != Fault::kNeverReached); }

  std::atomic<int> aborted{0}, finished{0};

 private:
  struct Member {
    int size, rank;
    std::atomic<int> verbs;  // read by the watching thread
  };
  struct FakeMark final : Mark {
    explicit FakeMark(bool is_reached) : is_reached_(is_reached) {}
    bool reached() override { return is_reached_; }
    bool is_reached_;
  };
  static Member* member(Link link) { return static_cast<Member*>(link); }

  const Fault fault_;
  Mailboxes mail_;
};

NcclGroup::Options impatient() {
  NcclGroup::Options options;
  options.deadline = milliseconds(30);
  options.period = milliseconds(1);
  options.host = "here";
  return options;
}

// Runs f for each of `size` members in a thread of its own.
template <typename F>
void in_group(int size, const std::shared_ptr<NcclLibrary>& library, const NcclGroup::Options& options, F f) {
  std::vector<std::unique_ptr<Backend>> hosts = make_thread_backends(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      NcclGroup::Options own = options;
      own.world_rank = rank;
      NcclGroup group(library, *hosts[rank], own);
      f(group, rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(NcclGroup, SumsInTheOrderOfRanks) {
  for (const int size : {2, 3, 5}) {
    const auto library = std::make_shared<FakeNccl>();
    in_group(size, library, {}, [&](NcclGroup& group, int rank) {
      for (const int64_t n : {0, 1, 2, 4097, 65536, 65537, 200003}) {  // around the border between the two ways
        const at::Tensor sum = group.all_reduce_sum(addends(rank, n));
        ASSERT_EQ(sum.numel(), n);
        int64_t wrong = 0;
        for (int64_t i = 0; i < n; ++i) {
          float expected = addend(0, i);
          for (int r = 1; r < size; ++r) expected += addend(r, i);
          wrong += std::bit_cast<uint32_t>(expected) != std::bit_cast<uint32_t>(sum.const_data_ptr<float>()[i]) ? 1 : 0;
        }
        EXPECT_EQ(wrong, 0) << n << " elements, " << size << " members";
      }
      const at::Tensor strided = at::full({300, 400}, rank + 1.0).t();
      const at::Tensor sum = group.all_reduce_sum(strided);
      EXPECT_EQ(sum.sizes(), strided.sizes());
      EXPECT_EQ(sum[399][299].item<float>(), size * (size + 1) / 2.0F);
    });
    EXPECT_EQ(library->finished, size);
    EXPECT_EQ(library->aborted, 0);
  }
}

TEST(NcclGroup, GathersTensorsOfAnyType) {
  const auto library = std::make_shared<FakeNccl>();
  in_group(5, library, {}, [&](NcclGroup& group, int rank) {
    const at::Tensor all = group.all_gather(at::full({2, 3}, rank, at::kLong));
    ASSERT_EQ(all.sizes(), (at::IntArrayRef{5, 2, 3}));
    for (int peer = 0; peer < 5; ++peer) EXPECT_EQ(all[peer][1][2].item<int64_t>(), peer);
    EXPECT_EQ(group.all_gather(at::full({0}, 1.0)).numel(), 0);
  });
}

TEST(NcclGroup, FastSumsAreTheLibrarys) {
  NcclGroup::Options fast;
  fast.fast_reduce = true;
  const auto library = std::make_shared<FakeNccl>();
  in_group(3, library, fast, [&](NcclGroup& group, int rank) {
    const at::Tensor sum = group.all_reduce_sum(addends(rank, 4097));
    for (int64_t i = 0; i < 4097; ++i) {
      ASSERT_EQ(sum.const_data_ptr<float>()[i], (addend(2, i) + addend(1, i)) + addend(0, i));
    }
  });
}

TEST(NcclGroup, ReasonsOfFailuresAreTold) {
  struct Case {
    Fault fault;
    const char* words;
  };
  for (const Case& c : {Case{Fault::kNeverConnects, "connecting did not end within 0.03 s; it needs rank"},
                        Case{Fault::kNeverReached, "gathering tensors of 8 bytes did not end within 0.03 s"},
                        Case{Fault::kFails, ": unhandled cuda error. Is one of them gone?"}}) {
    const auto library = std::make_shared<FakeNccl>(c.fault);
    std::mutex mutex;
    std::map<int, std::string> told;  // by turn
    NcclGroup::Options options = impatient();
    options.on_failure = [&](const std::string& why, int turn) {
      const std::lock_guard lock(mutex);
      told[turn] = why;
    };
    in_group(1 + 1, library, options, [&](NcclGroup& group, int) {
      std::string message;
      const auto verbs = [&] {
        for (;;) group.all_reduce_sum(at::full({2}, 1.0F));
      };
      EXPECT_EQ(code_of(verbs, &message), ExitCode::kUnavailable);
      EXPECT_NE(message.find(c.words), std::string::npos) << message;
    });
    EXPECT_EQ(told.size(), 2U) << c.words;
    EXPECT_EQ(library->aborted, 2);
    EXPECT_EQ(library->finished, 0);
  }
}

// A process that waits to be killed.
class Child {
 public:
  Child() : pid_(fork()) {
    if (pid_ == 0) {
      for (;;) pause();
    }
  }
  ~Child() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  MemberHome home(int rank) const { return {rank, "here", pid_namespace(), pid_, process_start(pid_)}; }

 private:
  pid_t pid_;
};

MemberHome own_home(int rank) { return {rank, "here", pid_namespace(), getpid(), process_start(getpid())}; }

TEST(NcclWatch, ADeadPeerIsNamedLongBeforeTheDeadline) {
  FakeNccl library(Fault::kNeverReached);
  Child other, peer;
  std::promise<std::pair<std::string, int>> told;
  NcclGroup::Options options;  // a deadline of minutes
  options.period = milliseconds(1);
  options.on_failure = [&](const std::string& why, int turn) { told.set_value({why, turn}); };
  const int64_t pid = peer.home(0).pid;
  NcclWatch watch(library, library.connect({std::byte{42}}, 3, 2), {other.home(4), peer.home(5), own_home(7)}, 2,
                  options);
  watch.run("a sum", [](NcclLibrary::Link) {});
  peer.end();
  const auto [why, turn] = told.get_future().get();
  EXPECT_EQ(why.find(fmt::format("rank 5 on here (process {}) is gone while others wait for it in a sum", pid)), 0U)
      << why;
  EXPECT_EQ(turn, 1);  // after rank 4
  const auto next = [&] {
    for (;;) watch.run("the next", [](NcclLibrary::Link) {});
  };
  EXPECT_EQ(code_of(next), ExitCode::kUnavailable);
}

TEST(NcclWatch, PeersMayEndWhenNothingIsAwaited) {
  FakeNccl library;
  Child peer;
  NcclGroup::Options options = impatient();
  options.on_failure = [](const std::string& why, int) { ADD_FAILURE() << why; };
  {
    NcclWatch watch(library, library.connect({std::byte{42}}, 2, 1), {peer.home(0), own_home(1)}, 1, options);
    watch.run("a sum", [](NcclLibrary::Link) {});
    peer.end();
    watch.run("a sum", [](NcclLibrary::Link) {});
  }
  EXPECT_EQ(library.finished, 1);
}

TEST(NcclWatch, ProcessesThatCannotBeSeenAreNotJudged) {
  FakeNccl library(Fault::kNeverReached);
  MemberHome elsewhere = own_home(0);
  elsewhere.host = "there";
  elsewhere.pid = 1 << 29;  // no such process here
  MemberHome contained = elsewhere;
  contained.host = "here";
  contained.pid_namespace = "pid:[1]";
  std::promise<std::string> told;
  NcclGroup::Options options = impatient();
  options.on_failure = [&](const std::string& why, int) { told.set_value(why); };
  NcclWatch watch(library, library.connect({std::byte{42}}, 3, 2), {elsewhere, contained, own_home(2)}, 2, options);
  watch.run("a sum", [](NcclLibrary::Link) {});
  EXPECT_EQ(told.get_future().get().find("a sum did not end within 0.03 s"), 0U);
}

}  // namespace
}  // namespace evalmpi::comm
