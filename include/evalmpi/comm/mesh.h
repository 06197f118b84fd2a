#pragma once

// How replicas of a model are laid over the ranks: places arranged as dp x pp x tp, tp fastest, in the order of
// (host, rank), so that a tp group sits on neighbours.

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evalmpi/comm/communicator.h"
#include "evalmpi/comm/session.h"
#include "evalmpi/device/devices.h"

namespace evalmpi::comm {

struct LayoutRequest {
  int tp = 1;                            // places over which each layer is split
  int pp = 1;                            // stages over which the layers are split; 1 until pipelines are built
  std::optional<int> dp = std::nullopt;  // replicas; absent: as many as fit
  std::optional<int> places_per_rank = std::nullopt;  // absent: one, or as many as the layout needs
  int threads_per_lane = 1;
  std::optional<int> cores_per_rank = std::nullopt;  // absent: what affinity and cgroups leave to each rank
  // What the places of this rank may be on, that of its first place first (device::choose_devices); the CPU, or none,
  // for places on the CPU.
  std::vector<device::Device> devices = {};
  bool share_devices = false;  // --share-devices: several places may be on one device
  bool host_staged = false;    // --host-staged: sums of CUDA tensors go through the host, not over NCCL
  // A verb over NCCL that takes longer ends the job; zero: it may take any time.
  std::chrono::milliseconds hang_timeout = std::chrono::minutes(5);
  bool fast_reduce = false;  // --fast-reduce: NCCL's own order of addition; part of the numerics class
};

// What a rank can offer.
struct RankOffer {
  int host = 0;                // index of its host
  std::vector<int> cpus = {};  // the CPU numbers of its host on which it may run
  double quota_cores = 0;      // CPU time that its host's cgroup grants, in cores; 0: no limit
  std::string host_name = {};
  std::vector<std::string> devices = {};  // identities of the CUDA devices that it may use, its first one first
  bool has_nccl = false;
};

// Where everything goes; the same on all ranks. A pure function of request and offers.
struct LayoutPlan {
  int tp = 1, pp = 1, dp = 1;
  struct Place {
    int rank = 0;
    int index_in_rank = 0;
    int device = -1;            // index in its rank's devices; -1: the CPU
    std::string identity = {};  // of that device
  };
  std::vector<Place> places;          // [dp * pp * tp], tp fastest
  std::vector<int> lanes_of_replica;  // [dp]
  int idle_ranks = 0;
  bool tp_crosses_hosts = false;
  bool uses_nccl = false;             // tensors of tp groups travel over NCCL; alike for all groups
  std::vector<std::string> warnings;  // for rank 0 to print
  std::string description;            // one sentence for people
};

// Places are on CUDA devices when the ranks have some: each rank has its first device and those that follow it up to
// another rank's first. FAILS: kUsage when the layout cannot be, naming layouts that fit; when two ranks are on one
// device and share_devices is not set, naming both, the host and the remedy; when only some of the ranks have devices.
LayoutPlan plan_layout(const LayoutRequest& request, std::span<const RankOffer> ranks);

// A place of this rank.
struct LocalPlace {
  int index_in_rank = 0;
  int dp_rank = 0, pp_rank = 0, tp_rank = 0;
  device::Device device = {};       // each thread that drives the place calls device::bind for it
  std::vector<Communicator> lanes;  // the tp group of each lane; one thread per element may use them at once
};

struct Mesh {
  int tp = 1, pp = 1, dp = 1;
  std::vector<LocalPlace> places;          // this rank's; empty on an idle rank
  std::vector<int> lanes_of_replica;       // [dp]; lanes of a place = lanes_of_replica[its dp_rank]
  std::vector<LayoutPlan::Place> leaders;  // [dp]: the place (tp rank 0, last stage) that keeps the replica's records
  int idle_ranks = 0;
  bool tp_crosses_hosts = false;
  std::string
      description;  // one sentence for people, such as "2 replicas of 3 places (tp 3) on 6 ranks of 2 hosts, ..."
};

// COLLECTIVE over the session. Rank 0 logs the plan's warnings.
// FAILS: kUsage on all ranks when the layout cannot be.
Mesh make_mesh(Session& session, const LayoutRequest& request);

}  // namespace evalmpi::comm
