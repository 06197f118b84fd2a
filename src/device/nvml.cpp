#include "nvml.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>

namespace evalmpi::device {
namespace {

constexpr int kSuccess = 0;
constexpr int kSmClock = 1;
constexpr int kGpuTemperature = 0;
constexpr int kCorrected = 0, kUncorrected = 1;
constexpr int kSinceDriverStart = 0;  // the volatile counters

struct MemoryInfo {
  unsigned long long total, free, used;
};
struct Utilisation {
  unsigned gpu, memory;
};

// Unloads on any way out.
struct Unload {
  void operator()(void* library) const { dlclose(library); }
};

}  // namespace

struct Nvml::Calls {
  std::unique_ptr<void, Unload> library;
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*driver_version)(char*, unsigned) = nullptr;
  int (*handle_by_uuid)(const char*, Handle*) = nullptr;
  int (*memory_info)(Handle, MemoryInfo*) = nullptr;
  int (*utilisation_rates)(Handle, Utilisation*) = nullptr;
  int (*power_usage)(Handle, unsigned*) = nullptr;
  int (*clock_info)(Handle, int, unsigned*) = nullptr;
  int (*temperature)(Handle, int, unsigned*) = nullptr;
  int (*throttle_reasons)(Handle, unsigned long long*) = nullptr;
  int (*ecc_errors)(Handle, int, int, unsigned long long*) = nullptr;

  template <typename Call>
  void find(Call& call, std::initializer_list<const char*> names) {
    for (const char* name : names) {
      call = reinterpret_cast<Call>(dlsym(library.get(), name));
      if (call != nullptr) return;
    }
  }

  // Old drivers lack some; those figures are then absent.
  void find_all() {
    find(init, {"nvmlInit_v2"});
    find(shutdown, {"nvmlShutdown"});
    find(error_string, {"nvmlErrorString"});
    find(driver_version, {"nvmlSystemGetDriverVersion"});
    find(handle_by_uuid, {"nvmlDeviceGetHandleByUUID"});
    find(memory_info, {"nvmlDeviceGetMemoryInfo"});
    find(utilisation_rates, {"nvmlDeviceGetUtilizationRates"});
    find(power_usage, {"nvmlDeviceGetPowerUsage"});
    find(clock_info, {"nvmlDeviceGetClockInfo"});
    find(temperature, {"nvmlDeviceGetTemperature"});
    find(throttle_reasons, {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"});
    find(ecc_errors, {"nvmlDeviceGetTotalEccErrors"});
  }
};

std::unique_ptr<Nvml> Nvml::load(std::string* why) {
  const char* other = std::getenv("EVALMPI_NVML_LIBRARY");
  auto calls = std::make_unique<Calls>();
  calls->library.reset(dlopen(other != nullptr ? other : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL));
  if (!calls->library) {
    const char* words = dlerror();
    *why = std::string("NVML cannot be loaded: ") + (words != nullptr ? words : "no reason given");
    return nullptr;
  }
  calls->find_all();
  if (calls->init == nullptr || calls->shutdown == nullptr || calls->handle_by_uuid == nullptr) {
    *why = "the NVML library lacks nvmlInit_v2, nvmlShutdown or nvmlDeviceGetHandleByUUID";
    return nullptr;
  }
  if (const int code = calls->init(); code != kSuccess) {
    const char* words = calls->error_string != nullptr ? calls->error_string(code) : nullptr;
    *why = "NVML does not start: " + (words != nullptr ? std::string(words) : "error " + std::to_string(code));
    return nullptr;
  }
  std::unique_ptr<Nvml> nvml(new Nvml);
  nvml->calls_ = std::move(calls);
  return nvml;
}

Nvml::~Nvml() { calls_->shutdown(); }

std::string Nvml::driver_version() const {
  std::array<char, 96> text{};
  const bool known = calls_->driver_version != nullptr &&
                     calls_->driver_version(text.data(), static_cast<unsigned>(text.size() - 1)) == kSuccess;
  return known ? text.data() : "";
}

std::optional<Nvml::Handle> Nvml::find(const std::string& identity) const {
  if (!identity.starts_with("GPU-")) return std::nullopt;
  Handle device = nullptr;
  for (const std::string& name : {identity, "MIG-" + identity.substr(4)}) {
    if (calls_->handle_by_uuid(name.c_str(), &device) == kSuccess) return device;
  }
  return std::nullopt;
}

Nvml::Reading Nvml::read(Handle device) const {
  Reading reading;
  const auto ask = [device](auto call, auto& answer, auto... questions) {
    std::remove_reference_t<decltype(*answer)> value{};
    if (call != nullptr && call(device, questions..., &value) == kSuccess) answer = value;
  };
  std::optional<MemoryInfo> memory;
  ask(calls_->memory_info, memory);
  if (memory) {
    reading.memory_total_bytes = memory->total;
    reading.memory_used_bytes = memory->used;
  }
  std::optional<Utilisation> utilisation;
  ask(calls_->utilisation_rates, utilisation);
  if (utilisation) reading.utilisation_percent = utilisation->gpu;
  ask(calls_->power_usage, reading.power_milliwatts);
  ask(calls_->clock_info, reading.sm_clock_mhz, kSmClock);
  ask(calls_->temperature, reading.temperature_celsius, kGpuTemperature);
  ask(calls_->throttle_reasons, reading.throttle_reasons);
  ask(calls_->ecc_errors, reading.ecc_corrected, kCorrected, kSinceDriverStart);
  ask(calls_->ecc_errors, reading.ecc_uncorrected, kUncorrected, kSinceDriverStart);
  return reading;
}

}  // namespace evalmpi::device
