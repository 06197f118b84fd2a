#pragma once

// evalmpi tasks list, show and validate.

#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/error.h"

namespace evalmpi::cli {

struct TasksOptions {
  std::vector<std::string> include_paths;
  std::vector<std::string> data_roots;
  std::optional<int> num_fewshot;
  int row = 0;
  std::string report;
  std::string kind = "any";
  bool json = false;
};

ExitCode list_tasks(const std::vector<std::string>& patterns, const TasksOptions& options);
ExitCode show_tasks(const std::vector<std::string>& names, const TasksOptions& options);
ExitCode validate_tasks(const std::vector<std::string>& names, const TasksOptions& options);

}  // namespace evalmpi::cli
