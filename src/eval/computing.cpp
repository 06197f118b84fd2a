#include "computing.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>

#include <algorithm>

#include "evalmpi/base/error.h"
#include "evalmpi/comm/together.h"

namespace evalmpi::eval {

void Computing::agree(comm::Session& session, std::optional<std::string>& note) {
  const std::string mine = is_on_devices() ? "" : session.host_name();
  std::vector<std::string> without;  // hosts
  for (const std::string& host : session.world().all_gather(mine)) {
    if (!host.empty() && std::find(without.begin(), without.end(), host) == without.end()) without.push_back(host);
  }
  const int64_t most = session.world().all_reduce(int64_t{is_on_devices() ? 1 : 0}, comm::Reduce::kMax);
  if (without.empty() || most == 0) return;
  note = fmt::format("{} sees no CUDA device, so everything is computed on CPUs; --device cuda makes that an error",
                     without.front());
  devices_ = {device::local_cpu()};
}

comm::LayoutRequest Computing::layout(const EvalOptions& options) const {
  const std::chrono::milliseconds hang_timeout =
      options.hang_timeout ? std::chrono::milliseconds(static_cast<int64_t>(*options.hang_timeout * 1000))
                           : comm::LayoutRequest{}.hang_timeout;
  return {.tp = options.tp,
          .pp = options.pp,
          .dp = options.dp,
          .places_per_rank = is_on_devices() ? options.devices_per_rank : std::nullopt,
          .threads_per_lane = options.threads_per_lane,
          .cores_per_rank = std::nullopt,
          .devices = devices_,
          .share_devices = options.share_devices,
          .host_staged = options.host_staged,
          .hang_timeout = hang_timeout,
          .fast_reduce = options.fast_reduce};
}

std::string Computing::without_effect(const EvalOptions& options) const {
  if (is_on_devices()) return "";
  std::vector<const char*> asked;
  const auto list = [&](bool is_asked, const char* option) {
    if (is_asked) asked.push_back(option);
  };
  list(options.devices_per_rank.has_value(), "--devices-per-rank");
  list(options.share_devices, "--share-devices");
  list(options.host_staged, "--host-staged");
  list(options.cuda_graphs, "--cuda-graphs");
  list(options.fast_kernels, "--fast-kernels");
  list(options.fast_reduce, "--fast-reduce");
  list(options.allow_split, "--allow-split");
  return fmt::format("{}", fmt::join(asked, ", "));
}

std::vector<DeviceSituation> Computing::situations(const std::vector<comm::LocalPlace>& places,
                                                   model::DType product_type) const {
  std::vector<DeviceSituation> situations;
  if (!is_on_devices()) return situations;
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  for (const comm::LocalPlace& place : places) {
    const device::Device& at = place.device;
    device::bind(at);
    const auto [free_bytes, total_bytes] = at::accelerator::getMemoryInfo(static_cast<c10::DeviceIndex>(at.index));
    situations.push_back(
        {at.identity, at.name, static_cast<int64_t>(total_bytes), static_cast<int64_t>(free_bytes), product_type});
  }
  return situations;
}

std::vector<int64_t> Computing::peak_bytes(const std::vector<comm::LocalPlace>& places) const {
  std::vector<int64_t> peaks;
  if (!is_on_devices()) return peaks;
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  for (const comm::LocalPlace& place : places) {
    constexpr size_t kAllPools = 0;
    const auto index = static_cast<c10::DeviceIndex>(place.device.index);
    peaks.push_back(at::accelerator::getDeviceStats(index).reserved_bytes[kAllPools].peak);
  }
  return peaks;
}

void Computing::place(const device::Device& device, model::DType product_type, model::LoadOptions& options) {
  if (device.kind == device::Kind::kCpu) return;
  options.device = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device.index));
  switch (product_type) {
    case model::DType::kFloat32: options.product_type = at::kFloat; break;
    case model::DType::kBFloat16: options.product_type = at::kBFloat16; break;
    case model::DType::kFloat16: options.product_type = at::kHalf; break;
  }
}

SlotRoom room_on_devices(const model::ModelSpec& spec, int tp, const std::vector<RankSituation>& ranks) {
  std::optional<SlotRoom> least;
  for (const RankSituation& rank : ranks) {
    for (const DeviceSituation& device : rank.devices) {
      const SlotRoom room =
          device_slot_room(spec, tp * device_slot_bytes(spec, tp, device), model::bytes_of(device.product_type));
      if (!least || room.positions < least->positions) least = room;
    }
  }
  return least.value_or(slot_room(spec));
}

std::vector<std::string> classes_of_replicas(comm::Session& session, const comm::Mesh& mesh,
                                             const Arithmetic& arithmetic) {
  Json mine = Json::array();
  for (const comm::LocalPlace& place : mesh.places) {
    const device::Device& at = place.device;
    mine.push_back({place.dp_rank, numerics_class(at, arithmetic, mesh.tp, mesh.pp), at.name});
  }
  std::vector<std::string> classes(static_cast<size_t>(mesh.dp)), names(classes.size());
  for (const std::string& of_rank : session.world().all_gather(mine.dump())) {
    for (const Json& place : parse_json(of_rank, "classes of a rank")) {
      const auto replica = place.at(0).get<size_t>();
      const std::string in_words = place.at(1), name = place.at(2);
      if (classes[replica].empty()) classes[replica] = in_words, names[replica] = name;
      if (classes[replica] == in_words) continue;
      fail(ExitCode::kUsage,
           "replica {} would lie on devices of different kinds ({} and {}), whose sums no other layout could repeat; "
           "choose the hosts or CUDA_VISIBLE_DEVICES so that the {} places of a replica are alike",
           replica, names[replica], name, mesh.tp);
    }
  }
  return classes;
}

}  // namespace evalmpi::eval
