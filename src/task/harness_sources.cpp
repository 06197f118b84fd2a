#include "harness_sources.h"

#include <fmt/format.h>

#include <algorithm>

#include "evalmpi/base/file.h"
#include "evalmpi/base/hash.h"
#include "native_functions.h"

namespace evalmpi::task {
namespace {

constexpr size_t kMaxModuleBytes = size_t{16} << 20;
constexpr uint64_t kHalf = 0xffffffff;

// The module beside a task file; one of a package by its full name stands below the folder that holds the package.
std::filesystem::path module_file(const std::filesystem::path& folder, const std::filesystem::path& name) {
  const std::filesystem::path package = *name.begin();
  for (std::filesystem::path above = folder; name.has_parent_path() && above.has_relative_path();
       above = above.parent_path()) {
    if (above.filename() == package) return above.parent_path() / name;
  }
  return folder / name;
}

}  // namespace

uint64_t mark_of(std::string_view row, std::string_view text) {
  return (hash128(row).low & ~kHalf) | (hash128(text).low & kHalf);
}

bool has_mark(std::span<const uint64_t> marks, std::string_view row) {
  const uint64_t first = hash128(row).low & ~kHalf;
  const auto found = std::lower_bound(marks.begin(), marks.end(), first);
  return found != marks.end() && (*found & ~kHalf) == first;
}

const PythonModule* HarnessSources::module(const std::filesystem::path& file) {
  const auto [place, is_new] = modules_.try_emplace(file.native());
  std::error_code ignored;
  if (is_new && std::filesystem::is_regular_file(file, ignored)) {
    place->second = PythonModule::read(read_file(file, kMaxModuleBytes));
  }
  return place->second ? &*place->second : nullptr;
}

std::vector<HarnessSources::Source> HarnessSources::sources_of(const Json& mapping) {
  std::vector<Source> sources;
  for (const NamedFunction& function : functions_of(mapping)) {
    const std::optional<std::string> row = row_for(function);
    if (!row) continue;
    const std::filesystem::path path = function_path(*function.function);
    const std::string last = path.filename().string();
    const size_t dot = last.rfind('.');
    if (dot == last.npos) continue;
    std::string module_name = last.substr(0, dot);
    std::replace(module_name.begin(), module_name.end(), '.', '/');
    Source source{*row, module_file(path.parent_path(), module_name + ".py"), last.substr(dot + 1)};
    const PythonModule* read = module(source.file);
    if (read == nullptr) continue;
    const auto [mark, is_new] = marks_.try_emplace(source.row + "\n" + source.file.native() + "\n" + source.name);
    // A name that no statement gives a meaning is made by the module as a whole.
    if (is_new) mark->second = mark_of(source.row, read->meaning_of(source.name).value_or(read->all()));
    source.mark = mark->second;
    sources.push_back(std::move(source));
  }
  return sources;
}

std::vector<ChangedFunction> HarnessSources::changed_in(const Json& mapping) {
  std::vector<ChangedFunction> changed;
  for (Source& source : sources_of(mapping)) {
    if (std::binary_search(known_.begin(), known_.end(), source.mark)) continue;
    changed.push_back({std::move(source.file), std::move(source.name)});
  }
  return changed;
}

std::set<uint64_t> HarnessSources::marks_of(const Json& mapping) {
  std::set<uint64_t> marks;
  for (const Source& source : sources_of(mapping)) marks.insert(source.mark);
  return marks;
}

std::string describe(const ChangedFunction& function) {
  return fmt::format(
      "{}: {} is not the function of lm-evaluation-harness 0.4.13 that evalmpi computes in its place (its text and "
      "that of what it uses in the file were compared, without comments); scores are those of 0.4.13",
      function.file.string(), function.name);
}

}  // namespace evalmpi::task
