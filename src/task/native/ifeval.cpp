// IFEval: whether responses follow instructions that a program can check, each with its arguments.

#include <algorithm>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "ifeval_checks.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

std::vector<InstructionCheck> checks_of(const Json& document) {
  const std::vector<std::string> ids = texts_of(document, "instruction_id_list");
  const Json& arguments = list_of(document, "kwargs");
  if (arguments.size() < ids.size()) {
    fail(ExitCode::kBadInput, "the column kwargs has {} entries for {} instructions", arguments.size(), ids.size());
  }
  std::vector<InstructionCheck> checks;
  for (size_t i = 0; i < ids.size(); ++i) checks.push_back(instruction_check(ids[i], arguments[i]));
  return checks;
}

// The response, and it without its first line, its last line and both; then all four without asterisks. The order is
// of no account: one that follows is enough.
std::vector<std::string> loose_readings(const std::string& response) {
  const std::vector<std::string> lines = py::split(response, "\n");
  const auto between = [&](size_t first, size_t last) {
    if (first >= last) return std::string();
    return py::strip(
        py::join({lines.begin() + static_cast<ptrdiff_t>(first), lines.begin() + static_cast<ptrdiff_t>(last)}, "\n"));
  };
  const size_t n = lines.size();
  std::vector<std::string> readings = {response, between(1, n), between(0, n - 1), between(1, n - 1)};
  for (size_t i = 0; i < 4; ++i) readings.push_back(py::replace(readings[i], "*", ""));
  return readings;
}

bool is_followed(const InstructionCheck& check, const std::string& response) {
  return !py::strip(response).empty() && check(response);
}

bool all_true(const Json& verdicts) {
  return std::all_of(verdicts.begin(), verdicts.end(), [](const Json& verdict) { return verdict.get<bool>(); });
}

}  // namespace

void ifeval_check_document(const Json& document) { checks_of(document); }

MetricValues ifeval_process_results(const Json& document, const std::vector<Json>& responses) {
  const std::string& response = only_text(responses);
  const std::vector<std::string> readings = loose_readings(response);
  Json strict = Json::array();
  Json loose = Json::array();
  for (const InstructionCheck& check : checks_of(document)) {
    strict.push_back(is_followed(check, response));
    loose.push_back(std::any_of(readings.begin(), readings.end(),
                                [&](const std::string& reading) { return is_followed(check, reading); }));
  }
  return {{"prompt_level_strict_acc", all_true(strict)},
          {"inst_level_strict_acc", strict},
          {"prompt_level_loose_acc", all_true(loose)},
          {"inst_level_loose_acc", loose}};
}

// The share of all instructions of all documents that are followed.
double ifeval_instruction_accuracy(const std::vector<Json>& values) {
  int64_t followed = 0;
  int64_t count = 0;
  for (const Json& verdicts : values) {
    if (!verdicts.is_array()) fail(ExitCode::kBadInput, "agg_inst_level_acc takes lists, not {}", py::repr(verdicts));
    count += static_cast<int64_t>(verdicts.size());
    followed += std::count_if(verdicts.begin(), verdicts.end(), [](const Json& verdict) { return py::truth(verdict); });
  }
  if (count == 0) fail(ExitCode::kBadInput, "agg_inst_level_acc: no document has an instruction");
  return static_cast<double>(followed) / static_cast<double>(count);
}

}  // namespace evalmpi::task::native
