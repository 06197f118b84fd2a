#include <algorithm>
#include <iterator>

#include "evalmpi/base/error.h"
#include "evalmpi/device/devices.h"

namespace evalmpi::device {
namespace {

// Where in the visible devices the rank's own begin. Ranks that see the same share them in equal runs; without
// knowledge of their number each is taken to want one.
int first_device(const RankOnHost& rank, int visible) {
  const int run = rank.devices_per_rank.value_or(rank.local_size ? std::max(1, visible / *rank.local_size) : 1);
  return static_cast<int>(int64_t{rank.local_rank} * run % visible);
}

}  // namespace

Choice parse_choice(std::string_view text) {
  if (text == "auto") return Choice::kAuto;
  if (text == "cpu") return Choice::kCpu;
  if (text == "cuda") return Choice::kCuda;
  fail(ExitCode::kUsage, "--device {}: expected auto, cpu or cuda", text);
}

std::vector<Device> choose_devices(Choice choice, const RankOnHost& rank, std::span<const Device> devices) {
  std::vector<Device> cpu, cuda;
  for (const Device& device : devices) (device.kind == Kind::kCpu ? cpu : cuda).push_back(device);
  EVALMPI_CHECK(!cpu.empty() && rank.local_rank >= 0 && rank.local_size.value_or(1) >= 1 &&
                rank.devices_per_rank.value_or(1) >= 1);
  if (choice == Choice::kCpu || (choice == Choice::kAuto && cuda.empty())) return {cpu.front()};
  if (cuda.empty()) {
    fail(ExitCode::kUnavailable, "--device cuda: {}. Leave the option out, or say cpu, to compute on the CPU",
         no_cuda_reason());
  }
  std::rotate(cuda.begin(), cuda.begin() + first_device(rank, static_cast<int>(cuda.size())), cuda.end());
  return cuda;
}

std::vector<Device> choose_devices(Choice choice, const RankOnHost& rank) {
  // A broken driver is no concern of who wants the CPU.
  if (choice == Choice::kCpu) return {local_cpu()};
  return choose_devices(choice, rank, local_devices());
}

}  // namespace evalmpi::device
