#pragma once

// Whether the Python functions beside task files are those of lm-evaluation-harness 0.4.13, which evalmpi's own
// functions stand for.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"
#include "python_source.h"

namespace evalmpi::task {

// A function whose text, or that of something that it uses in its module, is another.
struct ChangedFunction {
  std::filesystem::path file;  // the module
  std::string name;
};

// The marks of 0.4.13's functions, sorted; written by tools/tasks/make_harness_marks.py.
std::span<const uint64_t> harness_marks();

// What a function is known by: the name of the row that stands for it (upper half) and its text (lower half).
uint64_t mark_of(std::string_view row, std::string_view text);

// Whether one of `marks` (sorted) is of this row.
bool has_mark(std::span<const uint64_t> marks, std::string_view row);

// Reads every module once.
class HarnessSources {
 public:
  // known: sorted; outlives this.
  explicit HarnessSources(std::span<const uint64_t> known = harness_marks()) : known_(known) {}

  // The functions of a task's mapping that evalmpi has itself and that their modules define otherwise. A module that is
  // not there cannot be compared. FAILS: kIo.
  std::vector<ChangedFunction> changed_in(const Json& mapping);

  // What `known` has to hold for these functions to be unchanged.
  std::set<uint64_t> marks_of(const Json& mapping);

 private:
  struct Source {
    std::string row;  // row_for
    std::filesystem::path file;
    std::string name;
    uint64_t mark = 0;  // mark_of
  };
  std::vector<Source> sources_of(const Json& mapping);
  const PythonModule* module(const std::filesystem::path& file);

  std::span<const uint64_t> known_;
  std::map<std::string, std::optional<PythonModule>> modules_;
  std::map<std::string, uint64_t> marks_;  // by row, file and name
};

// For people: what is changed and what that means.
std::string describe(const ChangedFunction& function);

}  // namespace evalmpi::task
