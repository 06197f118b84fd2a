#include "evalmpi/device/sampler.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "nvml.h"

namespace evalmpi::device {
namespace {

struct ThrottleReason {
  unsigned long long bit;
  const char* words;
};
// Idling and clocks that somebody asked for are none.
constexpr ThrottleReason kThrottleReasons[] = {
    {0x4, "power cap"},           {0x8, "hardware slowdown"},       {0x20, "thermal (software)"},
    {0x40, "thermal (hardware)"}, {0x80, "power brake (hardware)"},
};

// A running mean, least and most; NaN before the first value.
struct Series {
  int64_t count = 0;
  double sum = 0, least = DeviceFigures::kAbsent, most = DeviceFigures::kAbsent;
  void add(const std::optional<unsigned>& value, double unit = 1) {
    if (!value) return;
    const double x = *value * unit;
    sum += x;
    least = count == 0 ? x : std::min(least, x);
    most = count == 0 ? x : std::max(most, x);
    ++count;
  }
  double mean() const { return count == 0 ? DeviceFigures::kAbsent : sum / static_cast<double>(count); }
};

// What was read of one device so far.
struct Watched {
  Nvml::Handle handle = nullptr;
  DeviceFigures figures;
  Series utilisation, power, clock, temperature;
  unsigned long long reasons = 0;
  std::optional<unsigned long long> first_corrected, first_uncorrected;

  void add(const Nvml::Reading& reading) {
    ++figures.samples;
    if (reading.memory_total_bytes) {
      figures.memory_total_bytes = static_cast<int64_t>(*reading.memory_total_bytes);
      figures.memory_used_bytes_max =
          std::max(figures.memory_used_bytes_max, static_cast<int64_t>(*reading.memory_used_bytes));
    }
    utilisation.add(reading.utilisation_percent);
    power.add(reading.power_milliwatts, 1e-3);
    clock.add(reading.sm_clock_mhz);
    temperature.add(reading.temperature_celsius);
    add_throttling(reading.throttle_reasons);
    add_errors(reading.ecc_corrected, first_corrected, figures.ecc_corrected);
    add_errors(reading.ecc_uncorrected, first_uncorrected, figures.ecc_uncorrected);
  }

  void add_throttling(const std::optional<unsigned long long>& now) {
    if (!now) return;
    unsigned long long held_down = 0;
    for (const ThrottleReason& reason : kThrottleReasons) held_down |= *now & reason.bit;
    figures.throttled_samples = std::max<int64_t>(0, figures.throttled_samples) + (held_down != 0 ? 1 : 0);
    reasons |= held_down;
  }

  static void add_errors(const std::optional<unsigned long long>& now, std::optional<unsigned long long>& first,
                         int64_t& since) {
    if (!now) return;
    if (!first || *now < *first) first = now;  // a reset of the driver begins at 0 again
    since = std::max(since, static_cast<int64_t>(*now - *first));
  }

  DeviceFigures summary() const {
    DeviceFigures all = figures;
    all.utilisation_percent_mean = utilisation.mean();
    all.utilisation_percent_max = utilisation.most;
    all.power_watts_mean = power.mean();
    all.power_watts_max = power.most;
    all.sm_clock_mhz_mean = clock.mean();
    all.sm_clock_mhz_min = clock.least;
    all.sm_clock_mhz_max = clock.most;
    all.temperature_celsius_max = temperature.most;
    for (const ThrottleReason& reason : kThrottleReasons) {
      if ((reasons & reason.bit) == 0) continue;
      all.throttle_reasons += (all.throttle_reasons.empty() ? "" : ", ") + std::string(reason.words);
    }
    return all;
  }
};

}  // namespace

struct Sampler::State {
  std::unique_ptr<Nvml> nvml;
  std::string driver_version, problem;
  mutable std::mutex mutex;
  std::vector<Watched> watched;  // under the mutex, but for the handles
  std::condition_variable_any waiting;
  std::jthread thread;  // the last member: it ends before the others go

  void sample() {
    for (Watched& device : watched) {
      const Nvml::Reading reading = nvml->read(device.handle);
      const std::lock_guard lock(mutex);
      device.add(reading);
    }
  }

  void run(const std::stop_token& token, std::chrono::milliseconds period) {
    while (!token.stop_requested()) {
      sample();
      std::unique_lock lock(mutex);
      waiting.wait_for(lock, token, period, [] { return false; });
    }
  }
};

Sampler::Sampler(std::span<const Device> devices, std::chrono::milliseconds period)
    : state_(std::make_unique<State>()) {
  const auto is_cuda = [](const Device& device) { return device.kind == Kind::kCuda; };
  if (std::none_of(devices.begin(), devices.end(), is_cuda)) {
    state_->problem = "there is no CUDA device to watch";
    return;
  }
  state_->nvml = Nvml::load(&state_->problem);
  if (!state_->nvml) return;
  state_->driver_version = state_->nvml->driver_version();
  for (const Device& device : devices) {
    if (!is_cuda(device)) continue;
    if (const auto handle = state_->nvml->find(device.identity)) {
      Watched& watched = state_->watched.emplace_back();
      watched.handle = *handle;
      watched.figures.identity = device.identity;
      watched.figures.name = device.name;
    } else {
      state_->problem = "NVML does not know the device " + device.identity;
    }
  }
  if (state_->watched.empty()) return;
  state_->thread =
      std::jthread([state = state_.get(), period](const std::stop_token& token) { state->run(token, period); });
}

Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;
Sampler::~Sampler() = default;

std::vector<DeviceFigures> Sampler::figures() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<DeviceFigures> all;
  for (const Watched& device : state_->watched) all.push_back(device.summary());
  return all;
}

std::string Sampler::driver_version() const { return state_->driver_version; }
std::string Sampler::problem() const { return state_->problem; }

}  // namespace evalmpi::device
