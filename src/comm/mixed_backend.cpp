// Several places on each of several ranks. Everything is built from messages: between places of one rank in
// memory, between ranks by MPI with a tag that names sender and receiver.

#include <algorithm>
#include <cstring>

#include "evalmpi/base/error.h"
#include "mailboxes.h"
#include "mpi_backend.h"

namespace evalmpi::comm {
namespace {

// What the places of one rank share.
struct MixedGroup {
  MixedGroup(MPI_Comm comm, std::vector<int> ranks, size_t limit)
      : mpi(comm), nursery(duplicate(comm)), rank_of_member(std::move(ranks)), bytes_per_call(limit) {
    std::vector<int> places_of_rank(mpi.size());
    for (size_t member = 0; member < rank_of_member.size(); ++member) {
      const int rank = rank_of_member[member];
      index_in_rank.push_back(places_of_rank[rank]++);
      places_per_rank = std::max(places_per_rank, places_of_rank[rank]);
      if (rank == mpi.rank()) {
        local_members.push_back(static_cast<int>(member));
      }
    }
  }

  // Tells apart all pairs of places on a pair of ranks, and tags; kind 0 belongs to the collectives.
  int mpi_tag(int from, int to, int kind) const {
    const int64_t tag = (int64_t{kind} * places_per_rank + index_in_rank[from]) * places_per_rank + index_in_rank[to];
    EVALMPI_CHECK(tag <= kLastTag);
    return static_cast<int>(tag);
  }

  static constexpr int64_t kLastTag = INT32_MAX;  // Open MPI's MPI_TAG_UB
  MpiGroup mpi;
  // Only makes new groups: Open MPI 4.1 lets MPI_Comm_create_group's own messages meet ordinary receives of the same
  // tag.
  MpiGroup nursery;
  std::vector<int> rank_of_member;
  size_t bytes_per_call;
  std::vector<int> index_in_rank;  // [member]
  std::vector<int> local_members;
  int places_per_rank = 1;
  Mailboxes mail;
  std::mutex children_mutex;
  std::map<std::pair<int, int>, std::shared_ptr<MixedGroup>> children;  // (split number, color), until fetched by all
};

class MixedBackend final : public Backend {
 public:
  MixedBackend(std::shared_ptr<MixedGroup> group, int rank) : group_(std::move(group)), rank_(rank) {}
  ~MixedBackend() override {
    group_->mail.close(
        fmt::format("place {} of {} has left the group that another place of its rank still waits for", rank_, size()));
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_->rank_of_member.size()); }
  void barrier() override { all_gather(""); }

  void broadcast(std::span<std::byte> data, int root) override {
    if (rank_ != root) {
      copy_equal(fetch(root, kCollective), data);
      return;
    }
    PendingSends sends(group_->mpi.comm(), group_->bytes_per_call);
    for (int to = 0; to < size(); ++to) {
      if (to != rank_) {
        start(sends, text_of(data), to, kCollective);
      }
    }
    sends.wait();
  }

  void all_gather_equal(std::span<const std::byte> mine, std::span<std::byte> all) override {
    const std::vector<std::string> parts = all_gather(text_of(mine));
    for (int from = 0; from < size(); ++from) {
      copy_equal(parts[from], all.subspan(from * mine.size(), mine.size()));
    }
  }

  std::vector<std::string> all_gather(std::string_view mine) override {
    return exchange(std::vector<std::string_view>(size(), mine));
  }

  std::vector<std::string> gather(std::string_view mine, int root) override {
    if (rank_ != root) {
      PendingSends sends(group_->mpi.comm(), group_->bytes_per_call);
      start(sends, mine, root, kCollective);
      sends.wait();
      return {};
    }
    std::vector<std::string> parts;
    for (int from = 0; from < size(); ++from) {
      parts.push_back(from == rank_ ? std::string(mine) : fetch(from, kCollective));
    }
    return parts;
  }

  void ordered_sum(std::span<const float> x, std::span<float> out) override {
    const auto n = static_cast<int64_t>(x.size());
    const Slice mine = slice_of(n, rank_, size());
    std::vector<std::string_view> slices;
    for (int to = 0; to < size(); ++to) {
      const Slice slice = slice_of(n, to, size());
      slices.push_back(text_of(std::as_bytes(x.subspan(slice.begin, slice.size()))));
    }
    const std::vector<std::string> received = exchange(slices);
    std::vector<float> aligned(mine.size() * size());
    std::vector<const float*> parts;
    for (int from = 0; from < size(); ++from) {
      const std::span<float> part = std::span(aligned).subspan(from * mine.size(), mine.size());
      copy_equal(received[from], std::as_writable_bytes(part));
      parts.push_back(part.data());
    }
    const std::span<float> sum = out.subspan(mine.begin, mine.size());
    add_in_order(parts, sum);
    const std::vector<std::string> sums = all_gather(text_of(std::as_bytes(sum)));
    for (int from = 0; from < size(); ++from) {
      const Slice slice = slice_of(n, from, size());
      copy_equal(sums[from], std::as_writable_bytes(out.subspan(slice.begin, slice.size())));
    }
  }

  void send(std::string_view bytes, int to, int tag) override {
    PendingSends sends(group_->mpi.comm(), group_->bytes_per_call);
    start(sends, bytes, to, tag + 1);
    sends.wait();
  }
  std::string receive(int from, int tag) override { return fetch(from, tag + 1); }

  // The first place of each rank makes all groups in which its rank takes part, in ascending color on all ranks, so
  // that no two ranks wait for each other.
  std::unique_ptr<Backend> split(int color, int key) override {
    const SplitWish wish{color, key};
    std::vector<SplitWish> wishes(size());
    all_gather_equal(std::as_bytes(std::span(&wish, 1)), std::as_writable_bytes(std::span(wishes)));
    const int number = splits_++;
    if (group_->local_members.front() == rank_) {
      make_children(wishes, number);
    }
    barrier();  // the children are there
    std::shared_ptr<MixedGroup> child;
    {
      const std::lock_guard lock(group_->children_mutex);
      child = group_->children.at({number, color});
    }
    barrier();  // everyone has fetched his
    if (group_->local_members.front() == rank_) {
      const std::lock_guard lock(group_->children_mutex);
      std::erase_if(group_->children, [&](const auto& entry) { return entry.first.first == number; });
    }
    const std::vector<int> members = members_of_color(wishes, color);
    const auto place = std::find(members.begin(), members.end(), rank_);
    return std::make_unique<MixedBackend>(child, static_cast<int>(place - members.begin()));
  }

  void abandon(std::string_view why) noexcept override {
    try {
      group_->mail.close(fmt::format("place {} of {} failed: {}", rank_, size(), why));
    } catch (...) {
      group_->mail.close("a place of this rank failed");
    }
  }

 private:
  static constexpr int kCollective = 0;

  static std::string_view text_of(std::span<const std::byte> data) {
    return {reinterpret_cast<const char*>(data.data()), data.size()};
  }

  static void copy_equal(std::string_view from, std::span<std::byte> to) {
    if (from.size() != to.size()) {
      fail(ExitCode::kInternal, "places of one group came to one collective with {} and {} bytes", to.size(),
           from.size());
    }
    if (!from.empty()) {
      std::memcpy(to.data(), from.data(), from.size());
    }
  }

  bool is_local(int member) const { return group_->rank_of_member[member] == group_->mpi.rank(); }

  void start(PendingSends& sends, std::string_view bytes, int to, int kind) {
    if (is_local(to)) {
      group_->mail.put(rank_, to, kind, std::string(bytes));
    } else {
      sends.start(bytes, group_->rank_of_member[to], group_->mpi_tag(rank_, to, kind));
    }
  }

  std::string fetch(int from, int kind) {
    return is_local(from) ? group_->mail.take(from, rank_, kind)
                          : receive_bytes(group_->mpi.comm(), group_->rank_of_member[from],
                                          group_->mpi_tag(from, rank_, kind), group_->bytes_per_call);
  }

  // to_each[r] goes to member r; returns what each member has sent to this one.
  std::vector<std::string> exchange(const std::vector<std::string_view>& to_each) {
    PendingSends sends(group_->mpi.comm(), group_->bytes_per_call);
    for (int to = 0; to < size(); ++to) {
      if (to != rank_) {
        start(sends, to_each[to], to, kCollective);
      }
    }
    std::vector<std::string> received;
    for (int from = 0; from < size(); ++from) {
      received.push_back(from == rank_ ? std::string(to_each[from]) : fetch(from, kCollective));
    }
    sends.wait();
    return received;
  }

  void make_children(const std::vector<SplitWish>& wishes, int number) {
    std::vector<int> colors;
    for (const SplitWish& wish : wishes) {
      colors.push_back(wish.color);
    }
    std::sort(colors.begin(), colors.end());
    colors.erase(std::unique(colors.begin(), colors.end()), colors.end());
    for (const int color : colors) {
      std::vector<int> rank_of_member;
      for (const int member : members_of_color(wishes, color)) {
        rank_of_member.push_back(group_->rank_of_member[member]);
      }
      std::vector<int> ranks = rank_of_member;
      std::sort(ranks.begin(), ranks.end());
      ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
      if (!std::binary_search(ranks.begin(), ranks.end(), group_->mpi.rank())) {
        continue;
      }
      for (int& rank : rank_of_member) {
        rank = static_cast<int>(std::lower_bound(ranks.begin(), ranks.end(), rank) - ranks.begin());
      }
      const auto child = std::make_shared<MixedGroup>(create_group(group_->nursery.comm(), ranks, color % kTagLimit),
                                                      std::move(rank_of_member), group_->bytes_per_call);
      const std::lock_guard lock(group_->children_mutex);
      group_->children[{number, color}] = child;
    }
  }

  std::shared_ptr<MixedGroup> group_;
  int rank_;
  int splits_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<Backend>> make_mixed_backends(MPI_Comm comm, std::vector<int> rank_of_member,
                                                          size_t bytes_per_call) {
  const auto group = std::make_shared<MixedGroup>(comm, std::move(rank_of_member), bytes_per_call);
  std::vector<std::unique_ptr<Backend>> members;
  for (const int member : group->local_members) {
    members.push_back(std::make_unique<MixedBackend>(group, member));
  }
  return members;
}

}  // namespace evalmpi::comm
