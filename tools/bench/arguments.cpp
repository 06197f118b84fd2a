#include "arguments.h"

#include <algorithm>
#include <cstdio>
#include <exception>

#include "evalmpi/base/error.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/ops/head.h"

namespace evalmpi::bench {

Arguments::Arguments(int argc, char** argv, const std::vector<std::string>& known) {
  for (int i = 1; i < argc; i += 2) {
    const std::string argument = argv[i];
    const std::string name = argument.substr(std::min<size_t>(argument.size(), 2));
    if (!argument.starts_with("--") || std::find(known.begin(), known.end(), name) == known.end()) {
      fail(ExitCode::kUsage, "{}: expected one of --{}", argument, fmt::join(known, ", --"));
    }
    if (i + 1 == argc) fail(ExitCode::kUsage, "{} needs a value", argument);
    values_[name] = argv[i + 1];
  }
}

std::string Arguments::text(const std::string& name, const std::string& fallback) const {
  const auto found = values_.find(name);
  return found == values_.end() ? fallback : found->second;
}

double Arguments::number(const std::string& name, double fallback) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return fallback;
  try {
    size_t used = 0;
    const double value = std::stod(found->second, &used);
    if (used == found->second.size() && value >= 0) return value;
  } catch (const std::exception&) {
    // Told below.
  }
  fail(ExitCode::kUsage, "--{} {}: expected a number", name, found->second);
}

bool Arguments::wants(const std::string& part) const {
  const std::string parts = text("parts", "");
  return parts.empty() || ("," + parts + ",").find("," + part + ",") != std::string::npos;
}

Json machine() {
  return {{"host", device::host_name()},
          {"cpu", device::cpu_model()},
          {"cores", device::usable_cores()},
          {"memory_bytes", device::memory().total_bytes},
          {"instruction_set", device::instruction_set()},
          {"kernels", ops::cpu_kernel_variant()}};
}

int print_json(const std::function<Json()>& measure) {
  try {
    std::puts(measure().dump(2).c_str());
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}

}  // namespace evalmpi::bench
