#pragma once

// What this process may use of its host.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace evalmpi::device {

// The CPU numbers on which this process may run (its affinity mask), ascending.
std::vector<int> usable_cpus();

// CPU time that the cgroups (v1 or v2) of this process grant, in cores; 0 where there is no limit.
double cgroup_quota_cores();
// The same for any process: the text of its /proc/PID/cgroup, and where the cgroup file system is mounted.
double cgroup_quota_cores(std::string_view proc_cgroup, const std::filesystem::path& cgroup_root);

// Cores that affinity and quota leave, at least 1.
int usable_cores();

std::string host_name();

struct Memory {
  int64_t total_bytes = 0;      // of the host, or of the cgroup where that is less
  int64_t available_bytes = 0;  // free or reclaimable without swapping
};
Memory memory();
// What the limits of a process's cgroups leave of its host's memory; arguments as of cgroup_quota_cores.
Memory memory_within_cgroups(const Memory& host, std::string_view proc_cgroup,
                             const std::filesystem::path& cgroup_root);

// Bytes of this process in memory, now and at most so far; mapped pages of files count. 0 where /proc does not say.
int64_t resident_bytes();
int64_t peak_resident_bytes();

// Makes the allocator keep what is freed for the next allocation, for the whole process: an activation of a few MiB
// would otherwise be mapped, cleared and given back for every operation (4 to 8 % of a scoring run).
// Nothing where another allocator is in the place of the C library's.
void keep_freed_memory();

std::string cpu_model();        // "AMD EPYC 7763 64-Core Processor"; "unknown" where /proc does not say
std::string instruction_set();  // the widest of "avx512", "avx2" (with FMA) that the CPU has, else "portable"

}  // namespace evalmpi::device
