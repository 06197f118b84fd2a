#include "evalmpi/device/cpu.h"

#include <malloc.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

#include "evalmpi/base/error.h"

namespace evalmpi::device {
namespace {

namespace fs = std::filesystem;

// The pseudo-files of /proc and /sys are short and have no size, so they are read as a stream.
std::string read_text(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  if (in) {
    text << in.rdbuf();
  }
  return text.str();
}

std::optional<int64_t> to_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) {
    return std::nullopt;
  }
  return value;
}

// A cgroup's folder and its ancestors, the mount point last. In a container the path that /proc names may lie
// outside of what is mounted; then only the mount point itself speaks for us.
std::vector<fs::path> with_ancestors(const fs::path& root, std::string_view cgroup) {
  std::vector<fs::path> folders;
  std::error_code error;
  fs::path relative = fs::path(cgroup).relative_path().lexically_normal();
  for (; !relative.empty() && relative != "."; relative = relative.parent_path()) {
    if (*relative.begin() != ".." && fs::is_directory(root / relative, error)) {
      folders.push_back(root / relative);
    }
  }
  folders.push_back(root);
  return folders;
}

// "MAX PERIOD" of version 2, in cores; 0 for no limit.
double quota_v2(const fs::path& folder) {
  std::istringstream text(read_text(folder / "cpu.max"));
  std::string quota, period;
  text >> quota >> period;
  const auto quota_us = to_integer(quota), period_us = to_integer(period);
  return quota_us && period_us && *quota_us > 0 && *period_us > 0 ? double(*quota_us) / double(*period_us) : 0;
}

double quota_v1(const fs::path& folder) {
  const auto quota_us = to_integer(read_text(folder / "cpu.cfs_quota_us"));
  const auto period_us = to_integer(read_text(folder / "cpu.cfs_period_us"));
  return quota_us && period_us && *quota_us > 0 && *period_us > 0 ? double(*quota_us) / double(*period_us) : 0;
}

// The number in a line "KEY NUMBER".
int64_t field(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ' ') {
      return to_integer(std::string_view(line).substr(key.size() + 1)).value_or(0);
    }
  }
  return 0;
}

// What a cgroup's limit leaves; file pages that nobody used lately are given back on demand.
struct MemoryLimit {
  int64_t limit_bytes = 0;  // 0: none
  int64_t free_bytes = 0;
};

MemoryLimit memory_limit(const fs::path& folder, const char* limit, const char* usage, std::string_view idle_files) {
  const int64_t limit_bytes = to_integer(read_text(folder / limit)).value_or(0);
  const int64_t used = to_integer(read_text(folder / usage)).value_or(0);
  const int64_t reclaimable = field(read_text(folder / "memory.stat"), idle_files);
  return {limit_bytes, limit_bytes - std::max<int64_t>(0, used - reclaimable)};
}

bool lists(std::string_view controllers, std::string_view wanted) {
  while (!controllers.empty()) {
    const size_t comma = controllers.find(',');
    if (controllers.substr(0, comma) == wanted) {
      return true;
    }
    controllers = comma == std::string_view::npos ? "" : controllers.substr(comma + 1);
  }
  return false;
}

// The folders that limit a process for one controller: of version 1's mount where /proc lists it, else of version 2.
struct Limits {
  std::vector<fs::path> v1, v2;
};

Limits limiting_folders(std::string_view proc_cgroup, const fs::path& root, std::string_view controller) {
  Limits limits;
  std::istringstream lines{std::string(proc_cgroup)};
  for (std::string line; std::getline(lines, line);) {  // "ID:CONTROLLERS:PATH"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    std::error_code error;
    if (controllers.empty()) {
      const fs::path hybrid = root / "unified";
      limits.v2 = with_ancestors(fs::is_directory(hybrid, error) ? hybrid : root, path);
    } else if (lists(controllers, controller)) {
      for (const std::string& mount : {std::string(controller), controllers}) {
        if (fs::is_directory(root / mount, error)) {
          limits.v1 = with_ancestors(root / mount, path);
          break;
        }
      }
    }
  }
  return limits;
}

// The number after "KEY:" in /proc/meminfo or /proc/PID/status, in bytes.
int64_t meminfo_bytes(const std::string& meminfo, std::string_view key) {
  std::istringstream lines(meminfo);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ':') {
      const size_t digit = line.find_first_of("0123456789");
      return digit == std::string::npos ? 0 : to_integer(std::string_view(line).substr(digit)).value_or(0) * 1024;
    }
  }
  return 0;
}

}  // namespace

std::vector<int> usable_cpus() {
  // The kernel refuses a set smaller than its own, so the size grows until it fits.
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 2) {
    const auto free_set = [](cpu_set_t* set) { CPU_FREE(set); };
    const std::unique_ptr<cpu_set_t, decltype(free_set)> set(CPU_ALLOC(capacity), free_set);
    const size_t size_bytes = CPU_ALLOC_SIZE(capacity);
    if (!set) {
      break;
    }
    CPU_ZERO_S(size_bytes, set.get());
    if (sched_getaffinity(0, size_bytes, set.get()) != 0) {
      continue;
    }
    std::vector<int> cpus;
    for (int cpu = 0; cpu < capacity; ++cpu) {
      if (CPU_ISSET_S(cpu, size_bytes, set.get())) {
        cpus.push_back(cpu);
      }
    }
    return cpus;
  }
  return {0};
}

double cgroup_quota_cores(std::string_view proc_cgroup, const fs::path& cgroup_root) {
  const Limits limits = limiting_folders(proc_cgroup, cgroup_root, "cpu");
  double least = 0;
  const auto take = [&](double quota) {
    if (quota > 0 && (least == 0 || quota < least)) {
      least = quota;
    }
  };
  for (const fs::path& folder : limits.v1) {
    take(quota_v1(folder));
  }
  for (const fs::path& folder : limits.v2) {
    take(quota_v2(folder));
  }
  return least;
}

double cgroup_quota_cores() { return cgroup_quota_cores(read_text("/proc/self/cgroup"), "/sys/fs/cgroup"); }

int usable_cores() {
  const int cpus = static_cast<int>(usable_cpus().size());
  const double quota = cgroup_quota_cores();
  return std::max(1, quota > 0 ? std::min(cpus, static_cast<int>(std::min(quota, 1e6))) : cpus);
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) {
    return "unknown";
  }
  return name.data();
}

Memory memory_within_cgroups(const Memory& host, std::string_view proc_cgroup, const fs::path& cgroup_root) {
  const Limits limits = limiting_folders(proc_cgroup, cgroup_root, "memory");
  Memory memory = host;
  const auto take = [&](const MemoryLimit& limit) {
    if (limit.limit_bytes > 0 && limit.limit_bytes < host.total_bytes) {
      memory.total_bytes = std::min(memory.total_bytes, limit.limit_bytes);
      memory.available_bytes = std::clamp<int64_t>(limit.free_bytes, 0, memory.available_bytes);
    }
  };
  for (const fs::path& folder : limits.v1) {
    take(memory_limit(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"));
  }
  for (const fs::path& folder : limits.v2) {
    take(memory_limit(folder, "memory.max", "memory.current", "inactive_file"));
  }
  return memory;
}

Memory memory() {
  const std::string meminfo = read_text("/proc/meminfo");
  const Memory host{meminfo_bytes(meminfo, "MemTotal"), meminfo_bytes(meminfo, "MemAvailable")};
  return memory_within_cgroups(host, read_text("/proc/self/cgroup"), "/sys/fs/cgroup");
}

int64_t resident_bytes() { return meminfo_bytes(read_text("/proc/self/status"), "VmRSS"); }
int64_t peak_resident_bytes() { return meminfo_bytes(read_text("/proc/self/status"), "VmHWM"); }

void keep_freed_memory() {
  constexpr int kLargestOnHeap = 32 << 20;  // the most that glibc accepts
  constexpr int kNeverTrim = std::numeric_limits<int>::max();
  // 0 from an allocator in the C library's place (jemalloc, a sanitizer's), which has rules of its own.
  static_cast<void>(::mallopt(M_MMAP_THRESHOLD, kLargestOnHeap));
  static_cast<void>(::mallopt(M_TRIM_THRESHOLD, kNeverTrim));
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

#if defined(__x86_64__)
std::string instruction_set() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return "avx512";
  }
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "avx2" : "portable";
}
#else
std::string instruction_set() { return "portable"; }
#endif

}  // namespace evalmpi::device
