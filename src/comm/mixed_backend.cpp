// Several places on each of several ranks: the places of a rank work together in memory, and the first of them, the
// leader, speaks MPI with the other leaders for all of them.

#include <algorithm>
#include <cstring>

#include "evalmpi/base/error.h"
#include "mpi_backend.h"

namespace evalmpi::comm {
namespace {

// Byte strings in one, and back.
std::string pack(const std::vector<std::string>& parts) {
  std::string packed;
  for (const std::string& part : parts) {
    const uint64_t length = part.size();
    packed.append(reinterpret_cast<const char*>(&length), sizeof length);
    packed += part;
  }
  return packed;
}

std::vector<std::string> unpack(std::string_view packed) {
  std::vector<std::string> parts;
  while (!packed.empty()) {
    uint64_t length = 0;
    EVALMPI_CHECK(packed.size() >= sizeof length);
    std::memcpy(&length, packed.data(), sizeof length);
    packed.remove_prefix(sizeof length);
    EVALMPI_CHECK(packed.size() >= length);
    parts.emplace_back(packed.substr(0, length));
    packed.remove_prefix(length);
  }
  return parts;
}

// What the places of one rank share. Members are numbered over all ranks, places within one.
struct MixedGroup {
  MixedGroup(MPI_Comm comm, std::vector<int> ranks, size_t limit)
      : mail(duplicate(comm)), leaders(comm, limit), rank_of_member(std::move(ranks)), bytes_per_call(limit) {
    members_of_rank.resize(mail.size());
    for (size_t member = 0; member < rank_of_member.size(); ++member) {
      std::vector<int>& places = members_of_rank[rank_of_member[member]];
      place_of_member.push_back(static_cast<int>(places.size()));
      places.push_back(static_cast<int>(member));
      places_per_rank = std::max(places_per_rank, static_cast<int>(places.size()));
    }
    addends.order.resize(rank_of_member.size());
    size_t number = 0;
    for (const std::vector<int>& members : members_of_rank) {
      addends.count_of_rank.push_back(static_cast<int>(members.size()));
      for (const int member : members) {
        addends.order[member] = number++;
      }
    }
  }

  // Messages between two ranks also differ by the places on both sides.
  int mail_tag(int from, int to, int tag) const {
    const int64_t all =
        (int64_t{tag} * places_per_rank + place_of_member[from]) * places_per_rank + place_of_member[to];
    EVALMPI_CHECK(all <= INT32_MAX);
    return static_cast<int>(all);
  }

  const std::vector<int>& local_members() const { return members_of_rank[mail.rank()]; }

  MpiGroup mail;       // send and receive, any place's thread
  MpiBackend leaders;  // everything collective, the leader's thread
  std::vector<int> rank_of_member, place_of_member;
  std::vector<std::vector<int>> members_of_rank;
  MpiBackend::Addends addends;  // the members' parts of a sum
  int places_per_rank = 1;
  size_t bytes_per_call;
  std::vector<std::unique_ptr<Backend>> children;  // [place], on their way from the leader to their places
};

class MixedBackend final : public Backend {
 public:
  MixedBackend(std::shared_ptr<MixedGroup> group, std::unique_ptr<Backend> local)
      : group_(std::move(group)), local_(std::move(local)), rank_(group_->local_members()[local_->rank()]) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_->rank_of_member.size()); }

  void barrier() override {
    local_->barrier();
    as_leader([&] { leaders().barrier(); });
    local_->barrier();
  }

  void broadcast(std::span<std::byte> data, int root) override {
    const int root_rank = group_->rank_of_member[root];
    const bool starts_here = root_rank == leaders().rank();
    if (starts_here) {
      local_->broadcast(data, group_->place_of_member[root]);
    }
    as_leader([&] { leaders().broadcast(data, root_rank); });
    if (!starts_here) {
      local_->broadcast(data, 0);
    }
  }

  void all_gather_equal(std::span<const std::byte> mine, std::span<std::byte> all) override {
    const std::vector<std::string> parts = all_gather({reinterpret_cast<const char*>(mine.data()), mine.size()});
    for (int member = 0; member < size(); ++member) {
      if (parts[member].size() != mine.size()) {
        fail(ExitCode::kInternal, "members {} and {} came to one collective with {} and {} bytes", rank_, member,
             mine.size(), parts[member].size());
      }
      std::copy_n(reinterpret_cast<const std::byte*>(parts[member].data()), mine.size(),
                  all.begin() + member * mine.size());
    }
  }

  std::vector<std::string> all_gather(std::string_view mine) override {
    const std::vector<std::string> of_places = local_->gather(mine, 0);
    std::string of_all;
    as_leader([&] { of_all = pack(leaders().all_gather(pack(of_places))); });
    std::vector<std::string> of_members(size());
    const std::vector<std::string> of_ranks = unpack(local_->all_gather(of_all).front());
    for (size_t rank = 0; rank < of_ranks.size(); ++rank) {
      std::vector<std::string> parts = unpack(of_ranks[rank]);
      for (size_t place = 0; place < parts.size(); ++place) {
        of_members[group_->members_of_rank[rank][place]] = std::move(parts[place]);
      }
    }
    return of_members;
  }

  std::vector<std::string> gather(std::string_view mine, int root) override {
    std::vector<std::string> all = all_gather(mine);
    return rank_ == root ? all : std::vector<std::string>();
  }

  // As between ranks, but each rank sends the slices of all its places.
  void ordered_sum(std::span<const float> x, std::span<float> out) override {
    const std::vector<const float*> of_places = show(x);
    as_leader([&] { leaders().ordered_sum(group_->addends, of_places, out); });
    local_->broadcast(std::as_writable_bytes(out), 0);
  }

  void send(std::string_view bytes, int to, int tag) override {
    if (is_local(to)) {
      local_->send(bytes, group_->place_of_member[to], tag);
      return;
    }
    PendingSends sends(group_->mail.comm(), group_->bytes_per_call);
    sends.start(bytes, group_->rank_of_member[to], group_->mail_tag(rank_, to, tag));
    sends.wait();
  }

  std::string receive(int from, int tag) override {
    return is_local(from) ? local_->receive(group_->place_of_member[from], tag)
                          : receive_bytes(group_->mail.comm(), group_->rank_of_member[from],
                                          group_->mail_tag(from, rank_, tag), group_->bytes_per_call);
  }

  // The leader makes all groups in which its rank takes part, in ascending color as everywhere, so that no two ranks
  // wait for each other.
  std::unique_ptr<Backend> split(int color, int key) override {
    const SplitWish wish{color, key};
    std::vector<SplitWish> wishes(size());
    all_gather_equal(std::as_bytes(std::span(&wish, 1)), std::as_writable_bytes(std::span(wishes)));
    as_leader([&] { make_children(wishes); });
    local_->barrier();
    std::unique_ptr<Backend> child = std::move(group_->children[local_->rank()]);
    local_->barrier();
    return child;
  }

  void abandon(std::string_view why) noexcept override { local_->abandon(why); }

 private:
  // The other places of this rank wait for their leader, so it tells them when it fails.
  template <class F>
  void as_leader(F f) {
    if (local_->rank() != 0) {
      return;
    }
    try {
      f();
    } catch (const std::exception& error) {
      local_->abandon(error.what());
      throw;
    }
  }

  MpiBackend& leaders() const { return group_->leaders; }
  bool is_local(int member) const { return group_->rank_of_member[member] == group_->mail.rank(); }

  // Where everybody's x on this rank is. They stay until the local broadcast of the sum has begun on all places.
  std::vector<const float*> show(std::span<const float> x) {
    struct View {
      const float* data;
      size_t count;
    };
    const View mine{x.data(), x.size()};
    std::vector<View> views(local_->size());
    local_->all_gather_equal(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(views)));
    std::vector<const float*> all;
    for (const View& view : views) {
      if (view.count != x.size()) {
        fail(ExitCode::kInternal, "places of one rank came to one sum with {} and {} elements", x.size(), view.count);
      }
      all.push_back(view.data);
    }
    return all;
  }

  void make_children(const std::vector<SplitWish>& wishes) {
    std::vector<int> colors;
    for (const SplitWish& wish : wishes) {
      colors.push_back(wish.color);
    }
    std::sort(colors.begin(), colors.end());
    colors.erase(std::unique(colors.begin(), colors.end()), colors.end());
    group_->children.resize(local_->size());
    for (const int color : colors) {
      const std::vector<int> members = members_of_color(wishes, color);
      std::vector<int> rank_of_child;
      for (const int member : members) {
        rank_of_child.push_back(group_->rank_of_member[member]);
      }
      std::vector<int> ranks = rank_of_child;
      std::sort(ranks.begin(), ranks.end());
      ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
      if (!std::binary_search(ranks.begin(), ranks.end(), leaders().rank())) {
        continue;
      }
      for (int& rank : rank_of_child) {
        rank = static_cast<int>(std::lower_bound(ranks.begin(), ranks.end(), rank) - ranks.begin());
      }
      std::vector<std::unique_ptr<Backend>> made =
          make_mixed_backends(create_group(leaders().comm(), ranks, 0), rank_of_child, group_->bytes_per_call);
      for (std::unique_ptr<Backend>& child : made) {
        const int member = members[child->rank()];
        group_->children[group_->place_of_member[member]] = std::move(child);
      }
    }
  }

  std::shared_ptr<MixedGroup> group_;
  std::unique_ptr<Backend> local_;
  int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Backend>> make_mixed_backends(MPI_Comm comm, std::vector<int> rank_of_member,
                                                          size_t bytes_per_call) {
  const auto group = std::make_shared<MixedGroup>(comm, std::move(rank_of_member), bytes_per_call);
  std::vector<std::unique_ptr<Backend>> members;
  for (std::unique_ptr<Backend>& local : make_thread_backends(static_cast<int>(group->local_members().size()))) {
    members.push_back(std::make_unique<MixedBackend>(group, std::move(local)));
  }
  return members;
}

}  // namespace evalmpi::comm
