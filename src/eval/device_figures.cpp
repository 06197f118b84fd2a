#include "device_figures.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "budget.h"

namespace evalmpi::eval {
namespace {

Json known(double value) { return std::isnan(value) ? Json(nullptr) : Json(value); }
Json known(int64_t value) { return value < 0 ? Json(nullptr) : Json(value); }

}  // namespace

Json to_json(const device::DeviceFigures& f) {
  return {{"identity", f.identity},
          {"name", f.name},
          {"samples", f.samples},
          {"memory_total_bytes", known(f.memory_total_bytes)},
          {"memory_used_bytes_max", known(f.memory_used_bytes_max)},
          {"utilisation_percent_mean", known(f.utilisation_percent_mean)},
          {"utilisation_percent_max", known(f.utilisation_percent_max)},
          {"power_watts_mean", known(f.power_watts_mean)},
          {"power_watts_max", known(f.power_watts_max)},
          {"sm_clock_mhz_mean", known(f.sm_clock_mhz_mean)},
          {"sm_clock_mhz_min", known(f.sm_clock_mhz_min)},
          {"sm_clock_mhz_max", known(f.sm_clock_mhz_max)},
          {"temperature_celsius_max", known(f.temperature_celsius_max)},
          {"throttled_samples", known(f.throttled_samples)},
          {"throttle_reasons", f.throttle_reasons},
          {"ecc_corrected", known(f.ecc_corrected)},
          {"ecc_uncorrected", known(f.ecc_uncorrected)}};
}

std::string in_words(const Json& figures) {
  const auto has = [&](const char* name) { return !figures.at(name).is_null(); };
  const auto number = [&](const char* name) { return figures.at(name).get<double>(); };
  std::vector<std::string> parts;
  if (has("utilisation_percent_mean")) {
    parts.push_back(fmt::format("busy {:.1f} % of the time", number("utilisation_percent_mean")));
  }
  if (has("power_watts_mean")) {
    parts.push_back(fmt::format("{:.0f} W ({:.0f} at most)", number("power_watts_mean"), number("power_watts_max")));
  }
  if (has("sm_clock_mhz_mean")) {
    parts.push_back(
        fmt::format("clock {:.0f} MHz ({:.0f} at least)", number("sm_clock_mhz_mean"), number("sm_clock_mhz_min")));
  }
  if (has("memory_used_bytes_max")) {
    parts.push_back(fmt::format("memory {} at most, by all programs",
                                bytes_text(figures.at("memory_used_bytes_max").get<int64_t>())));
  }
  if (has("throttled_samples") && number("throttled_samples") > 0) {
    parts.push_back(fmt::format("slowed down in {} of {} samples: {}", figures.at("throttled_samples").get<int64_t>(),
                                figures.at("samples").get<int64_t>(),
                                figures.at("throttle_reasons").get<std::string>()));
  }
  if (has("ecc_uncorrected") && number("ecc_uncorrected") > 0) {
    parts.push_back(fmt::format("{} memory errors that could not be corrected: its results are not to be trusted",
                                figures.at("ecc_uncorrected").get<int64_t>()));
  }
  return fmt::format("{}: {}", figures.at("name").get<std::string>(),
                     parts.empty() ? "NVML says nothing of it" : fmt::format("{}", fmt::join(parts, ", ")));
}

}  // namespace evalmpi::eval
