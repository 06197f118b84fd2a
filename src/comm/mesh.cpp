#include "evalmpi/comm/mesh.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "evalmpi/base/log.h"
#include "evalmpi/comm/together.h"
#include "evalmpi/device/cpu.h"
#include "mpi_backend.h"
#include "nccl_group.h"

namespace evalmpi::comm {
namespace {

std::vector<RankOffer> gather_offers(Session& session, std::span<const device::Device> devices) {
  std::vector<std::string> identities;
  for (const device::Device& device : devices) {
    if (device.kind == device::Kind::kCuda) identities.push_back(device.identity);
  }
  const nlohmann::json mine = {
      session.host_index(), device::usable_cpus(),    device::cgroup_quota_cores(), session.host_name(),
      identities,           nccl_library() != nullptr};
  std::vector<RankOffer> offers;
  for (const std::string& text : session.world().all_gather(mine.dump())) {
    const nlohmann::json offer = nlohmann::json::parse(text);
    offers.push_back({offer.at(0), offer.at(1), offer.at(2), offer.at(3), offer.at(4), offer.at(5)});
  }
  return offers;
}

// One member speaks for its group; the others give it the time, and speak when it is gone too.
constexpr std::chrono::milliseconds kTurn{500};
constexpr int kLastTurn = 6;

std::unique_ptr<NcclGroup> link_devices(Session& session, const LayoutRequest& request, Backend& member) {
  NcclGroup::Options options;
  options.fast_reduce = request.fast_reduce;
  options.deadline = request.hang_timeout;
  options.world_rank = session.rank();
  options.host = session.host_name();
  options.on_failure = [](const std::string& why, int turn) {
    std::this_thread::sleep_for(kTurn * std::min(turn, kLastTurn));
    log::error("{}", why);
    end_job(ExitCode::kStoppedEarly);  // what is finished is kept, and a restart is the cure
  };
  return std::make_unique<NcclGroup>(nccl_library(), member, std::move(options));
}

// The places of one tp group that belong to this rank get a communicator for one more lane. Called by the group's ranks
// only, for all groups in the same order.
void add_lane(Session& session, const LayoutRequest& request, const LayoutPlan& plan,
              std::span<const LayoutPlan::Place> group, std::span<LocalPlace*> mine, int lane) {
  std::vector<int> ranks, rank_of_member;  // ranks in the order of their first place
  for (const LayoutPlan::Place& place : group) {
    const auto found = std::find(ranks.begin(), ranks.end(), place.rank);
    rank_of_member.push_back(static_cast<int>(found - ranks.begin()));
    if (found == ranks.end()) {
      ranks.push_back(place.rank);
    }
  }
  std::vector<std::unique_ptr<Backend>> members;
  if (ranks.size() == 1) {
    members = make_thread_backends(static_cast<int>(group.size()));
  } else {
    const MPI_Comm comm = create_group(mpi_comm_of(session.world().backend()), ranks, lane % kTagLimit);
    if (ranks.size() == group.size()) {
      members.push_back(std::make_unique<MpiBackend>(comm));
    } else {
      members = make_mixed_backends(comm, rank_of_member);
    }
  }
  for (size_t i = 0; i < mine.size(); ++i) {
    std::unique_ptr<NcclGroup> devices;
    if (plan.uses_nccl) {
      devices = link_devices(session, request, *members[i]);
    }
    mine[i]->lanes.emplace_back(std::move(members[i]), std::move(devices));
  }
}

device::Device device_of(const LayoutRequest& request, const LayoutPlan::Place& place) {
  return place.device < 0 ? device::local_cpu() : request.devices[place.device];
}

void add_places(Session& session, const LayoutRequest& request, const LayoutPlan& plan, Mesh& mesh) {
  const size_t size = plan.tp;
  for (int replica = 0; replica < plan.dp; ++replica) {
    const std::span group = std::span(plan.places).subspan(replica * size, size);
    const size_t first = mesh.places.size();
    for (size_t tp_rank = 0; tp_rank < size; ++tp_rank) {
      if (group[tp_rank].rank == session.rank()) {
        mesh.places.push_back({.index_in_rank = group[tp_rank].index_in_rank,
                               .dp_rank = replica,
                               .pp_rank = 0,
                               .tp_rank = static_cast<int>(tp_rank),
                               .device = device_of(request, group[tp_rank]),
                               .lanes = {}});
      }
    }
    std::vector<LocalPlace*> mine;
    for (size_t i = first; i < mesh.places.size(); ++i) {
      mine.push_back(&mesh.places[i]);
    }
    if (!mine.empty()) {
      for (int lane = 0; lane < plan.lanes_of_replica[replica]; ++lane) {
        add_lane(session, request, plan, group, mine, lane);
      }
    }
  }
}

}  // namespace

Mesh make_mesh(Session& session, const LayoutRequest& request) {
  LayoutPlan plan;
  const std::vector<RankOffer> offers = gather_offers(session, request.devices);
  try {
    plan = plan_layout(request, offers);
  } catch (const Error& error) {  // the same on all ranks
    throw SharedError(error.code(), error.what(), session.rank() == 0);
  }
  if (session.rank() == 0) {
    for (const std::string& warning : plan.warnings) {
      log::warning("{}", warning);
    }
  }
  Mesh mesh{.tp = plan.tp,
            .pp = plan.pp,
            .dp = plan.dp,
            .places = {},
            .lanes_of_replica = plan.lanes_of_replica,
            .leaders = {},
            .idle_ranks = plan.idle_ranks,
            .tp_crosses_hosts = plan.tp_crosses_hosts,
            .description = plan.description};
  for (int replica = 0; replica < plan.dp; ++replica) {
    mesh.leaders.push_back(plan.places[size_t(replica) * plan.tp]);
  }
  add_places(session, request, plan, mesh);
  return mesh;
}

}  // namespace evalmpi::comm
