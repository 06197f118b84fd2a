#include "visible.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "evalmpi/base/error.h"

namespace evalmpi::device {
namespace {

constexpr const char* kVariable = "CUDA_VISIBLE_DEVICES";

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool is_index(std::string_view entry) {
  return !entry.empty() && entry.size() <= 6 &&
         std::all_of(entry.begin(), entry.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

VisibleDevices parse_visible_devices(std::string_view value) {
  VisibleDevices visible;
  for (size_t begin = 0; begin <= value.size() && !trimmed(value).empty();) {
    const size_t comma = std::min(value.find(',', begin), value.size());
    const std::string_view entry = trimmed(value.substr(begin, comma - begin));
    const bool is_mig = entry.starts_with("MIG-");
    if (!is_index(entry) && !entry.starts_with("GPU-") && !is_mig) {
      visible.stopped_at = entry.empty() ? "," : std::string(entry);
      break;
    }
    visible.entries.emplace_back(entry);
    visible.has_mig = visible.has_mig || is_mig;
    begin = comma + 1;
  }
  return visible;
}

std::string explain_visible_devices(const std::optional<std::string>& value) {
  if (!value) return "CUDA_VISIBLE_DEVICES is not set";
  const VisibleDevices visible = parse_visible_devices(*value);
  if (*value == "NoDevFiles") {
    return "CUDA_VISIBLE_DEVICES is NoDevFiles: Slurm gave this task no GPU; ask for one (srun --gpus-per-task=1, or "
           "--gpus-per-node)";
  }
  if (visible.entries.empty()) {
    return fmt::format("CUDA_VISIBLE_DEVICES is '{}', which hides all devices; unset it or list devices (0,1)", *value);
  }
  return fmt::format("CUDA_VISIBLE_DEVICES is '{}', and this machine has no such device (nvidia-smi -L lists them)",
                     *value);
}

std::optional<std::string> narrowed_visible_devices(std::string_view value, const RankOnHost& rank) {
  const VisibleDevices visible = parse_visible_devices(value);
  if (!visible.has_mig || visible.entries.size() < 2) return std::nullopt;
  return visible.entries[rank.local_rank % visible.entries.size()];
}

void narrow_visible_devices(const RankOnHost& rank) {
  const char* value = std::getenv(kVariable);
  if (value == nullptr) return;
  if (const auto narrowed = narrowed_visible_devices(value, rank)) setenv(kVariable, narrowed->c_str(), 1);
}

}  // namespace evalmpi::device
