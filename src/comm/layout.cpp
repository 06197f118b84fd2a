#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <set>

#include "device_shares.h"
#include "evalmpi/base/error.h"
#include "evalmpi/comm/mesh.h"

namespace evalmpi::comm {
namespace {

constexpr int kMostPlaces = 1 << 20;
constexpr int kPlacesOfAnyRank = 4;  // so that a small machine can try a wide layout

using DevicesOfRanks = std::vector<std::vector<int>>;

std::string counted(int64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

void check_sizes(const LayoutRequest& request) {
  const auto check = [](std::string_view option, int value) {
    if (value < 1 || value > kMostPlaces) {
      fail(ExitCode::kUsage, "{} is {}, but must be from 1 to {}", option, value, kMostPlaces);
    }
  };
  check("--tp", request.tp);
  check("--pp", request.pp);
  check("--dp", request.dp.value_or(1));
  check("--devices-per-rank", request.places_per_rank.value_or(1));
  check("--threads-per-lane", request.threads_per_lane);
  check("--cores", request.cores_per_rank.value_or(1));
  if (request.pp > 1) {
    fail(ExitCode::kUsage, "--pp {}: pipeline parallelism is not built yet; use --tp to split the model", request.pp);
  }
}

// Cores of a rank that has its host for itself.
int cores_alone(const LayoutRequest& request, const RankOffer& rank) {
  double cores = static_cast<double>(rank.cpus.size());
  if (rank.quota_cores > 0) {
    cores = std::min(cores, rank.quota_cores);
  }
  return request.cores_per_rank.value_or(std::max(1, static_cast<int>(cores)));
}

// Places that a rank can hold: on CUDA devices one on each of its own, unless they are shared.
int64_t most_places(const LayoutRequest& request, const RankOffer& rank, const std::vector<int>& devices) {
  if (devices.empty()) return std::max(kPlacesOfAnyRank, cores_alone(request, rank));
  const auto own = static_cast<int>(devices.size());
  return request.share_devices ? std::max(kPlacesOfAnyRank, own) : own;
}

std::string options_text(int64_t tp, int64_t dp) { return fmt::format("--tp {} --dp {}", tp, dp); }

[[noreturn]] void refuse(const LayoutRequest& request, int64_t needed, int64_t capacity, int64_t ranks) {
  const int64_t dp = request.dp.value_or(1);
  std::vector<std::string> fitting;
  const auto offer = [&](int64_t tp, int64_t replicas) {
    const std::string text = options_text(tp, replicas);
    if (tp >= 1 && replicas >= 1 && std::find(fitting.begin(), fitting.end(), text) == fitting.end()) {
      fitting.push_back(text);
    }
  };
  offer(request.tp, capacity / request.tp);
  offer(capacity / dp, dp);
  offer(capacity, 1);
  offer(1, capacity);
  fail(ExitCode::kUsage, "{} needs {}, but {} can hold at most {}. Layouts that fit: {}. Or start {} or more",
       options_text(request.tp, dp), counted(needed, "place"), counted(ranks, "rank"), capacity,
       fmt::join(fitting, "; "), counted((needed * ranks + capacity - 1) / capacity, "rank"));
}

// The first `groups` runs of tp ranks that do not cross hosts; fewer when there are not so many.
std::vector<int> ranks_within_hosts(std::span<const int> order, std::span<const RankOffer> ranks, int tp,
                                    int64_t groups) {
  std::vector<int> chosen;
  for (size_t begin = 0; begin < order.size() && groups > 0;) {
    const size_t end = begin + tp;
    if (end <= order.size() && ranks[order[begin]].host == ranks[order[end - 1]].host) {
      chosen.insert(chosen.end(), order.begin() + begin, order.begin() + end);
      begin = end;
      --groups;
    } else {
      ++begin;
    }
  }
  return chosen;
}

// The rank of each of `needed` places. order: ranks by host. most: places that each rank can hold.
std::vector<int> assign_places(const LayoutRequest& request, std::span<const RankOffer> ranks,
                               std::span<const int64_t> most, std::span<const int> order, int64_t needed) {
  if (!request.places_per_rank && needed <= static_cast<int64_t>(order.size())) {
    std::vector<int> chosen = ranks_within_hosts(order, ranks, request.tp, needed / request.tp);
    return static_cast<int64_t>(chosen.size()) == needed ? chosen
                                                         : std::vector<int>(order.begin(), order.begin() + needed);
  }
  std::vector<int64_t> count_of(order.size());
  int64_t left = needed;
  if (request.places_per_rank) {
    for (size_t i = 0; i < order.size(); ++i) {
      count_of[i] = std::min<int64_t>(left, *request.places_per_rank);
      left -= count_of[i];
    }
  }
  for (int64_t level = 0; left > 0; ++level) {  // evenly, first ranks first
    for (size_t i = 0; i < order.size() && left > 0; ++i) {
      if (level < most[order[i]]) {
        ++count_of[i];
        --left;
      }
    }
  }
  std::vector<int> rank_of_place;
  for (size_t i = 0; i < order.size(); ++i) {
    rank_of_place.insert(rank_of_place.end(), count_of[i], order[i]);
  }
  return rank_of_place;
}

// Cores of each rank that has places, when all of them work: a CPU that several ranks may use counts in parts, and so
// does the quota of their host.
std::map<int, double> cores_shared(const LayoutRequest& request, std::span<const RankOffer> ranks,
                                   const std::set<int>& busy) {
  std::map<std::pair<int, int>, int> users_of_cpu;
  std::map<int, int> ranks_of_host;
  for (const int rank : busy) {
    ++ranks_of_host[ranks[rank].host];
    for (const int cpu : ranks[rank].cpus) {
      ++users_of_cpu[{ranks[rank].host, cpu}];
    }
  }
  std::map<int, double> cores;
  for (const int rank : busy) {
    const RankOffer& offer = ranks[rank];
    double share = 0;
    for (const int cpu : offer.cpus) {
      share += 1.0 / users_of_cpu.at({offer.host, cpu});
    }
    if (offer.quota_cores > 0) {
      share = std::min(share, offer.quota_cores / ranks_of_host.at(offer.host));
    }
    cores[rank] = request.cores_per_rank.value_or(0) > 0 ? *request.cores_per_rank : share;
  }
  return cores;
}

// Different devices on which there are places.
int64_t devices_used(const LayoutPlan& plan, std::span<const RankOffer> ranks) {
  std::set<std::pair<int, std::string>> used;
  for (const LayoutPlan::Place& place : plan.places) {
    if (place.device >= 0) used.emplace(ranks[place.rank].host, place.identity);
  }
  return static_cast<int64_t>(used.size());
}

// Own devices of ranks with places on which there is none.
int64_t idle_devices(const LayoutPlan& plan, const DevicesOfRanks& devices) {
  std::map<int, int64_t> places_of_rank;
  for (const LayoutPlan::Place& place : plan.places) ++places_of_rank[place.rank];
  int64_t idle = 0;
  for (const auto& [rank, places] : places_of_rank) {
    idle += std::max<int64_t>(0, static_cast<int64_t>(devices[rank].size()) - places);
  }
  return idle;
}

// NCCL wants each member of a group on a device of its own.
bool can_use_nccl(const LayoutRequest& request, const LayoutPlan& plan, std::span<const RankOffer> ranks) {
  const bool all_have = std::all_of(ranks.begin(), ranks.end(), [](const RankOffer& rank) { return rank.has_nccl; });
  return all_have && !request.host_staged && plan.tp > 1 && plan.places.front().device >= 0 &&
         devices_used(plan, ranks) == static_cast<int64_t>(plan.places.size());
}

std::vector<int> lanes_of_replicas(const LayoutRequest& request, std::span<const RankOffer> ranks,
                                   const LayoutPlan& plan) {
  if (plan.places.front().device >= 0) {
    return std::vector<int>(plan.dp, 1);  // a device works on one chunk at a time
  }
  std::map<int, int> places_of_rank;
  std::set<int> busy;
  for (const LayoutPlan::Place& place : plan.places) {
    ++places_of_rank[place.rank];
    busy.insert(place.rank);
  }
  const std::map<int, double> cores = cores_shared(request, ranks, busy);
  const size_t group = plan.places.size() / plan.dp;
  std::vector<int> lanes;
  for (int replica = 0; replica < plan.dp; ++replica) {
    double least = kMostPlaces;
    for (const LayoutPlan::Place& place : std::span(plan.places).subspan(replica * group, group)) {
      least = std::min(least, cores.at(place.rank) / places_of_rank.at(place.rank) / request.threads_per_lane);
    }
    lanes.push_back(std::max(1, static_cast<int>(std::floor(least + 1e-6))));
  }
  return lanes;
}

bool crosses_hosts(const LayoutPlan& plan, std::span<const RankOffer> ranks) {
  for (size_t place = 0; place < plan.places.size(); ++place) {
    const size_t first_of_group = place - place % plan.tp;
    if (ranks[plan.places[place].rank].host != ranks[plan.places[first_of_group].rank].host) {
      return true;
    }
  }
  return false;
}

// "2 replicas of 3 places (tp 3) on 6 ranks of 2 hosts, 4 lanes each; 1 rank idle"
std::string describe(const LayoutPlan& plan, std::span<const RankOffer> ranks) {
  std::set<int> busy, hosts;
  int most_in_rank = 0;
  for (const LayoutPlan::Place& place : plan.places) {
    busy.insert(place.rank);
    hosts.insert(ranks[place.rank].host);
    most_in_rank = std::max(most_in_rank, place.index_in_rank + 1);
  }
  const auto [fewest, most] = std::minmax_element(plan.lanes_of_replica.begin(), plan.lanes_of_replica.end());
  const std::string lanes =
      *fewest == *most ? counted(*most, "lane") : fmt::format("{} to {}", *fewest, counted(*most, "lane"));
  std::string text = fmt::format(
      "{} of {} (tp {}) on {} of {}, {}{}", counted(plan.dp, "replica"), counted(int64_t{plan.tp} * plan.pp, "place"),
      plan.tp, counted(static_cast<int64_t>(busy.size()), "rank"), counted(static_cast<int64_t>(hosts.size()), "host"),
      lanes, plan.dp == 1 ? "" : " each");
  if (most_in_rank > 1) {
    text += fmt::format(", up to {} per rank", counted(most_in_rank, "place"));
  }
  if (const int64_t devices = devices_used(plan, ranks); devices > 0) {
    const bool are_shared = devices < static_cast<int64_t>(plan.places.size());
    text += fmt::format(", on {}", counted(devices, are_shared ? "shared CUDA device" : "CUDA device"));
    if (plan.tp > 1) text += plan.uses_nccl ? ", sums over NCCL" : ", sums through the host";
  }
  if (plan.idle_ranks > 0) {
    text += fmt::format("; {} idle", counted(plan.idle_ranks, "rank"));
  }
  return text;
}

}  // namespace

LayoutPlan plan_layout(const LayoutRequest& request, std::span<const RankOffer> ranks) {
  EVALMPI_CHECK(!ranks.empty());
  check_sizes(request);
  const auto rank_count = static_cast<int64_t>(ranks.size());
  const DevicesOfRanks devices = devices_of_ranks(ranks, request.share_devices);
  int64_t capacity = 0, fewest_places = kMostPlaces;
  std::vector<int64_t> most;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    most.push_back(most_places(request, ranks[rank], devices[rank]));
    fewest_places = std::min(fewest_places, most.back());
    capacity += request.places_per_rank.value_or(most.back());
  }
  if (request.places_per_rank.value_or(1) > fewest_places) {
    fail(ExitCode::kUsage, "--devices-per-rank {} is more than a rank can hold here: at most {}",
         *request.places_per_rank, fewest_places);
  }
  const int64_t ready = rank_count * request.places_per_rank.value_or(1);
  LayoutPlan plan;
  plan.tp = request.tp;
  plan.pp = request.pp;
  const int64_t dp = request.dp.value_or(std::max<int64_t>(1, ready / request.tp));
  const int64_t needed = dp * request.tp;
  if (needed > capacity) {
    refuse(request, needed, capacity, rank_count);
  }
  plan.dp = static_cast<int>(dp);

  std::vector<int> order(ranks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return ranks[a].host < ranks[b].host; });
  std::map<int, int> places_of_rank;
  for (const int rank : assign_places(request, ranks, most, order, needed)) {
    LayoutPlan::Place& place = plan.places.emplace_back(LayoutPlan::Place{.rank = rank});
    place.index_in_rank = places_of_rank[rank]++;
    if (!devices[rank].empty()) {
      place.device = devices[rank][place.index_in_rank % devices[rank].size()];
      place.identity = ranks[rank].devices[place.device];
    }
  }
  plan.lanes_of_replica = lanes_of_replicas(request, ranks, plan);
  plan.idle_ranks = static_cast<int>(rank_count - static_cast<int64_t>(places_of_rank.size()));
  plan.tp_crosses_hosts = crosses_hosts(plan, ranks);
  plan.uses_nccl = can_use_nccl(request, plan, ranks);
  plan.description = describe(plan, ranks);
  if (plan.idle_ranks > 0) {
    plan.warnings.push_back(fmt::format("{} of {} nothing to do: {} needs {}", plan.idle_ranks,
                                        counted(rank_count, "rank") + (plan.idle_ranks == 1 ? " has" : " have"),
                                        options_text(request.tp, dp), counted(needed, "place")));
  }
  if (const int64_t idle = idle_devices(plan, devices); idle > 0) {
    plan.warnings.push_back(fmt::format("{} nothing to do; more replicas (--dp) would use {}",
                                        counted(idle, "CUDA device") + (idle == 1 ? " has" : " have"),
                                        idle == 1 ? "it" : "them"));
  }
  if (plan.tp_crosses_hosts) {
    plan.warnings.push_back(
        fmt::format("--tp {} lies across hosts, so every layer waits for the network; a --tp that divides the ranks of "
                    "a host is faster",
                    request.tp));
  }
  return plan;
}

}  // namespace evalmpi::comm
