#pragma once

// Where the places of this rank compute: all of them on the CPU, or each on a CUDA device.

#include <optional>
#include <string>
#include <vector>

#include "budget.h"
#include "evalmpi/comm/mesh.h"
#include "evalmpi/comm/session.h"
#include "evalmpi/device/devices.h"
#include "evalmpi/eval/run.h"
#include "evalmpi/model/weights.h"
#include "numerics.h"

namespace evalmpi::eval {

class Computing {
 public:
  // devices: what the places of this rank may be on, that of its first place first (device::choose_devices).
  explicit Computing(std::vector<device::Device> devices) : devices_(std::move(devices)) {}

  // COLLECTIVE: CUDA devices only where every rank has one, for else the replicas' scores would differ. `note`: what
  // rank 0 says where that was not so.
  void agree(comm::Session& session, std::optional<std::string>& note);

  bool is_on_devices() const { return devices_.front().kind == device::Kind::kCuda; }
  // What options.h offers for GPUs and `options` asks for although this computes on CPUs, as options in words; else "".
  std::string without_effect(const EvalOptions& options) const;
  // As --device takes it.
  const char* kind() const { return is_on_devices() ? "cuda" : "cpu"; }
  // The device that speaks for all of this rank's.
  const device::Device& device() const { return devices_.front(); }

  comm::LayoutRequest layout(const EvalOptions& options) const;

  // What each place of this rank has of its device, for the memory model; empty on a CPU. Makes the devices' contexts.
  std::vector<DeviceSituation> situations(const std::vector<comm::LocalPlace>& places, model::DType product_type) const;

  // What this process had of each place's device at most; empty on a CPU.
  std::vector<int64_t> peak_bytes(const std::vector<comm::LocalPlace>& places) const;

  // Where the weights of a place go and what they are multiplied in.
  static void place(const device::Device& device, model::DType product_type, model::LoadOptions& options);

 private:
  std::vector<device::Device> devices_;
};

// For generations side by side, as the fullest device of the ranks allows it.
SlotRoom room_on_devices(const model::ModelSpec& spec, int tp, const std::vector<RankSituation>& ranks);

// The classes of all replicas, by dp rank. COLLECTIVE over the session. FAILS: kUsage when the places of a replica are
// on devices of different kinds.
std::vector<std::string> classes_of_replicas(comm::Session& session, const comm::Mesh& mesh,
                                             const Arithmetic& arithmetic);

}  // namespace evalmpi::eval
