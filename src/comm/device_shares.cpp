#include "device_shares.h"

#include <map>
#include <set>
#include <string>
#include <utility>

#include "evalmpi/base/error.h"

namespace evalmpi::comm {
namespace {

using Identity = std::pair<int, std::string>;  // of a device: its host, and its name there

void check_all_or_none(std::span<const RankOffer> ranks) {
  for (size_t rank = 1; rank < ranks.size(); ++rank) {
    if (ranks[rank].devices.empty() != ranks[0].devices.empty()) {
      const size_t with = ranks[0].devices.empty() ? rank : 0, without = rank - with;
      fail(ExitCode::kUsage,
           "rank {} on {} has a CUDA device, but rank {} on {} has none; ask for a device for every rank (srun "
           "--gpus-per-task=1), or use --device cpu",
           with, ranks[with].host_name, without, ranks[without].host_name);
    }
  }
}

// The ranks' first devices, and that each belongs to one rank.
std::set<Identity> first_devices(std::span<const RankOffer> ranks, bool share) {
  std::map<Identity, int> rank_of;
  std::set<Identity> firsts;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    if (ranks[rank].devices.empty()) continue;
    const Identity first(ranks[rank].host, ranks[rank].devices.front());
    const auto [other, is_new] = rank_of.emplace(first, static_cast<int>(rank));
    if (!is_new && !share) {
      fail(ExitCode::kUsage,
           "ranks {} and {} on {} are on the same CUDA device {}; start one rank for each device (srun "
           "--gpus-per-task=1, or as many tasks on a node as it has devices), or say --share-devices if that is meant",
           other->second, rank, ranks[rank].host_name, first.second);
    }
    firsts.insert(first);
  }
  return firsts;
}

}  // namespace

std::vector<std::vector<int>> devices_of_ranks(std::span<const RankOffer> ranks, bool share) {
  check_all_or_none(ranks);
  const std::set<Identity> firsts = first_devices(ranks, share);
  std::set<Identity> taken = firsts;
  std::vector<std::vector<int>> own(ranks.size());
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const std::vector<std::string>& seen = ranks[rank].devices;
    for (size_t i = 0; i < seen.size(); ++i) {
      const Identity device(ranks[rank].host, seen[i]);
      if (i > 0 && firsts.contains(device)) break;
      if (i == 0 || taken.insert(device).second) own[rank].push_back(static_cast<int>(i));
    }
  }
  return own;
}

}  // namespace evalmpi::comm
