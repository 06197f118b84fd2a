#pragma once

#include <span>
#include <vector>

#include "evalmpi/comm/mesh.h"

namespace evalmpi::comm {

// Which of its offered devices each rank has for itself, as indices: its first, and those that follow it up to one that
// is another rank's first. Empty for all when they work on the CPU.
// FAILS: kUsage when two ranks of a host have one first device and `share` is not set, or only some ranks have any.
std::vector<std::vector<int>> devices_of_ranks(std::span<const RankOffer> ranks, bool share);

}  // namespace evalmpi::comm
