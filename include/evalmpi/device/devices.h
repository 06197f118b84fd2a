#pragma once

// The devices that this rank can drive, and which of them it drives. Neither an NVIDIA driver nor a device need be
// there: the same program then works on the CPU.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace evalmpi::device {

enum class Kind { kCpu, kCuda };

struct Device {
  Kind kind = Kind::kCpu;
  int index = 0;     // among the visible devices of this kind
  std::string name;  // as the hardware calls itself; part of the numerics class
  int64_t memory_bytes = 0;
  // Of a CUDA device only:
  int multiprocessors = 0;     // part of the numerics class
  int compute_capability = 0;  // 90 is 9.0
  std::string identity = {};   // "GPU-<uuid>", with MIG the instance's: the same for all who see this device
};

Device local_cpu();

// The CPU, then the CUDA devices that are visible, in order of index. None of the latter in a build without CUDA,
// without a driver, or where the driver sees no device (no_cuda_reason says which it is). FAILS: kUnavailable when
// there is a driver that does not work: too old, not started, an ECC error; the message has the remedy.
std::vector<Device> local_devices();

// Why local_devices() has no CUDA device, in words for the user.
std::string no_cuda_reason();

enum class Choice { kAuto, kCpu, kCuda };

// "auto", "cpu" or "cuda". FAILS: kUsage.
Choice parse_choice(std::string_view text);

// What a rank knows before MPI is up.
struct RankOnHost {
  int local_rank = 0;
  std::optional<int> local_size = std::nullopt;        // ranks of this host, where the launcher tells
  std::optional<int> devices_per_rank = std::nullopt;  // --devices-per-rank
};

// Where CUDA_VISIBLE_DEVICES lists several MIG instances, leaves the one of this local rank: CUDA shows a process only
// the first. Changes the environment, so it comes before other threads and before any call of CUDA.
void narrow_visible_devices(const RankOnHost& rank);

// What the places of this rank may be on, that of its first place first: {the CPU}, or CUDA devices. The first is
// chosen by the local rank so that ranks of one host that see the same devices begin on different ones; a rank that
// sees one device (Slurm's --gpus-per-task) takes that. The others follow in order of index, cyclically; whether they
// belong to another rank is known only when all ranks are heard (comm::make_mesh).
//   kAuto takes CUDA devices where there are any, kCuda demands them.
// FAILS: kUnavailable where kCuda is asked for and there is no device, or one cannot run this program's kernels.
std::vector<Device> choose_devices(Choice choice, const RankOnHost& rank);
// The same of given devices; a pure function.
std::vector<Device> choose_devices(Choice choice, const RankOnHost& rank, std::span<const Device> devices);

// Makes the calling thread's context on a device, so that what follows (MPI_Init, kernels) finds it. Nothing to do on a
// CPU. FAILS: kUnavailable with CUDA's words and the remedy.
void bind(const Device& device);

}  // namespace evalmpi::device
