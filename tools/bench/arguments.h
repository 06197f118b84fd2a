#pragma once

// What the benchmark programs have in common around their measurements: arguments, and one JSON object on stdout.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::bench {

// `--name value` pairs; tools/bench/bench checks them for the user.
class Arguments {
 public:
  // FAILS: kUsage for a name that is not among `known`, or without a value.
  Arguments(int argc, char** argv, const std::vector<std::string>& known);
  std::string text(const std::string& name, const std::string& fallback) const;
  double number(const std::string& name, double fallback) const;
  // Whether `part` is in the comma list --parts, or nothing was asked for by name.
  bool wants(const std::string& part) const;

 private:
  std::map<std::string, std::string> values_;
};

// Host name, CPU, cores, memory, kernels.
Json machine();

// Prints what `measure` returns; on an Error its message, and returns its exit code.
int print_json(const std::function<Json()>& measure);

}  // namespace evalmpi::bench
