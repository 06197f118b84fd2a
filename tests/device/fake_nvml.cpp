// A libnvidia-ml.so with one device and one MIG instance, for sampler_test. The device answers four times, the instance
// knows its memory only.

#include <cstring>

namespace {

constexpr int kSuccess = 0, kNotSupported = 3, kNotFound = 6;
constexpr int kScripted = 4;

int device_object = 0, instance_object = 0;
int step = -1;  // of the device, counted by its memory's reading, which comes first
int open_count = 0;

bool answers(const void* device) { return device == &device_object && step < kScripted; }

template <typename Value>
int answer(const void* device, const Value (&script)[kScripted], Value* value) {
  if (!answers(device)) return kNotSupported;
  *value = script[step];
  return kSuccess;
}

}  // namespace

extern "C" {

struct MemoryInfo {
  unsigned long long total, free, used;
};
struct Utilisation {
  unsigned gpu, memory;
};

int fake_nvml_open_count() { return open_count; }

int nvmlInit_v2() {
  ++open_count;
  step = -1;
  return kSuccess;
}
int nvmlShutdown() {
  --open_count;
  return kSuccess;
}
const char* nvmlErrorString(int) { return "fake"; }
int nvmlSystemGetDriverVersion(char* text, unsigned size) {
  std::strncpy(text, "580.65.06", size);
  return kSuccess;
}
int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  if (std::strcmp(uuid, "GPU-1") == 0) {
    *device = &device_object;
  } else if (std::strcmp(uuid, "MIG-2") == 0) {
    *device = &instance_object;
  } else {
    return kNotFound;
  }
  return kSuccess;
}
int nvmlDeviceGetMemoryInfo(void* device, MemoryInfo* memory) {
  if (device == &instance_object) {
    *memory = {1000, 900, 100};
    return kSuccess;
  }
  ++step;
  if (!answers(device)) return kNotSupported;
  const unsigned long long used[kScripted] = {10, 70, 30, 20};
  *memory = {100, 100 - used[step], used[step]};
  return kSuccess;
}
int nvmlDeviceGetUtilizationRates(void* device, Utilisation* rates) {
  if (!answers(device)) return kNotSupported;
  const unsigned gpu[kScripted] = {0, 100, 60, 40};
  *rates = {gpu[step], 0};
  return kSuccess;
}
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  return answer(device, {100000U, 300000U, 250000U, 150000U}, milliwatts);
}
int nvmlDeviceGetClockInfo(void* device, int type, unsigned* mhz) {
  return type == 1 ? answer(device, {1980U, 1500U, 1200U, 1320U}, mhz) : kNotSupported;
}
int nvmlDeviceGetTemperature(void* device, int sensor, unsigned* celsius) {
  return sensor == 0 ? answer(device, {40U, 71U, 68U, 50U}, celsius) : kNotSupported;
}
// Idle; held down by the power cap; that and heat; clocks as set.
int nvmlDeviceGetCurrentClocksThrottleReasons(void* device, unsigned long long* reasons) {
  return answer(device, {0x1ULL, 0x4ULL, 0x64ULL, 0x2ULL}, reasons);
}
int nvmlDeviceGetTotalEccErrors(void* device, int type, int counter, unsigned long long* count) {
  if (counter != 0) return kNotSupported;
  return type == 0 ? answer(device, {5ULL, 5ULL, 8ULL, 8ULL}, count) : answer(device, {2ULL, 2ULL, 2ULL, 2ULL}, count);
}
}
