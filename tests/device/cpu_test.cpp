#include "evalmpi/device/cpu.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <thread>

#include "evalmpi/device/devices.h"

namespace evalmpi::device {
namespace {

namespace fs = std::filesystem;

// A cgroup file system of our own.
class CgroupTest : public ::testing::Test {
 protected:
  CgroupTest() {
    std::string pattern = (fs::temp_directory_path() / "evalmpi_cgroup_XXXXXX").string();
    root_ = mkdtemp(pattern.data());
  }
  ~CgroupTest() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  fs::path root_;
};

TEST_F(CgroupTest, NoFilesMeanNoLimit) {
  EXPECT_EQ(cgroup_quota_cores("0::/job\n", root_), 0);
  EXPECT_EQ(cgroup_quota_cores("", root_), 0);
  EXPECT_EQ(cgroup_quota_cores("nonsense", root_), 0);
}

TEST_F(CgroupTest, Version2TakesTheTightestAncestor) {
  write("cpu.max", "max 100000\n");
  write("a/cpu.max", "150000 100000\n");
  write("a/b/cpu.max", "400000 100000\n");
  EXPECT_EQ(cgroup_quota_cores("0::/a/b\n", root_), 1.5);
  EXPECT_EQ(cgroup_quota_cores("0::/\n", root_), 0);
}

TEST_F(CgroupTest, PathOutsideOfTheMountFallsBackToTheMount) {
  write("cpu.max", "50000 100000\n");
  EXPECT_EQ(cgroup_quota_cores("0::/../../elsewhere\n", root_), 0.5);
  EXPECT_EQ(cgroup_quota_cores("0::/not/mounted\n", root_), 0.5);
}

TEST_F(CgroupTest, Version1AndHybrid) {
  write("cpu,cpuacct/slurm/job/cpu.cfs_quota_us", "300000\n");
  write("cpu,cpuacct/slurm/job/cpu.cfs_period_us", "100000\n");
  write("cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  write("cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_quota_cores("5:memory:/x\n4:cpu,cpuacct:/slurm/job\n", root_), 3);
  write("unified/u/cpu.max", "200000 100000\n");
  EXPECT_EQ(cgroup_quota_cores("4:cpu,cpuacct:/slurm/job\n0::/u\n", root_), 2);
}

TEST_F(CgroupTest, DamagedFilesMeanNoLimit) {
  write("cpu.max", "lots of it\n");
  write("a/cpu.max", "100000 0\n");
  write("b/cpu.max", "");
  EXPECT_EQ(cgroup_quota_cores("0::/a", root_), 0);
  EXPECT_EQ(cgroup_quota_cores("0::/b", root_), 0);
}

TEST_F(CgroupTest, MemoryIsWhatTheTightestLimitLeaves) {
  const Memory host{1000, 800};
  write("memory.max", "max\n");
  write("a/memory.max", "600\n");
  write("a/memory.current", "500\n");
  write("a/memory.stat", "anon 100\ninactive_file 300\n");
  write("a/b/memory.max", "700\n");
  write("a/b/memory.current", "650\n");
  const Memory found = memory_within_cgroups(host, "0::/a/b\n", root_);
  EXPECT_EQ(found.total_bytes, 600);
  EXPECT_EQ(found.available_bytes, 50);
  EXPECT_EQ(memory_within_cgroups(host, "0::/a\n", root_).available_bytes, 400);
  EXPECT_EQ(memory_within_cgroups(host, "0::/\n", root_).total_bytes, 1000);
}

TEST_F(CgroupTest, Version1MemoryWithoutALimit) {
  const Memory host{1000, 800};
  write("memory/job/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(memory_within_cgroups(host, "7:memory:/job\n", root_).total_bytes, 1000);
  write("memory/job/memory.limit_in_bytes", "300\n");
  write("memory/job/memory.usage_in_bytes", "400\n");
  EXPECT_EQ(memory_within_cgroups(host, "7:memory:/job\n", root_).available_bytes, 0);
}

TEST(Cpu, AffinityIsObeyed) {
  const std::vector<int> all = usable_cpus();
  ASSERT_FALSE(all.empty());
  std::vector<int> narrowed;
  int cores = 0;
  std::thread([&] {  // the mask belongs to the thread
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(all.back(), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    narrowed = usable_cpus();
    cores = usable_cores();
  })
      .join();
  EXPECT_EQ(narrowed, std::vector<int>{all.back()});
  EXPECT_EQ(cores, 1);
}

TEST(Cpu, FactsArePlausible) {
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), static_cast<int>(usable_cpus().size()));
  EXPECT_FALSE(host_name().empty());
  const Memory found = memory();
  EXPECT_LE(found.total_bytes, int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE));
  EXPECT_GT(found.available_bytes, 0);
  EXPECT_LE(found.available_bytes, found.total_bytes);
  EXPECT_TRUE((std::set<std::string>{"avx512", "avx2", "portable"}.contains(instruction_set())));
}

TEST(Devices, CpuIsADevice) {
  const std::vector<Device> devices = local_devices();
  ASSERT_FALSE(devices.empty());
  EXPECT_EQ(devices.front().index, 0);
  EXPECT_FALSE(devices.front().name.empty());
  EXPECT_GT(devices.front().memory_bytes, 0);
}

}  // namespace
}  // namespace evalmpi::device
