#include "data_files.h"

#include <algorithm>
#include <map>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/data/file_text.h"

namespace evalmpi::data {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxEntries = 1'000'000;
constexpr size_t kMaxMatchSteps = 1'000'000;

// The extensions that readers know, and those of files that get a message.
constexpr std::string_view kExtensions[] = {".parquet", ".arrow", ".jsonl",  ".json", ".csv",
                                            ".tsv",     ".txt",   ".ndjson", ".xz",   ".zip"};

// Matches one part of a path; `steps` bounds backtracking.
bool part_matches(std::string_view pattern, std::string_view text, size_t& steps) {
  while (!pattern.empty()) {
    if (++steps > kMaxMatchSteps) return false;
    if (pattern[0] == '*') {
      for (size_t skip = 0; skip <= text.size(); ++skip) {
        if (part_matches(pattern.substr(1), text.substr(skip), steps)) return true;
      }
      return false;
    }
    if (text.empty()) return false;
    const size_t close = pattern[0] == '[' ? pattern.find(']', 2) : std::string_view::npos;
    if (close != std::string_view::npos) {
      std::string_view set = pattern.substr(1, close - 1);
      const bool negated = set[0] == '!' || set[0] == '^';
      if (negated) set.remove_prefix(1);
      bool found = false;
      for (size_t i = 0; i < set.size(); ++i) {
        if (i + 2 < set.size() && set[i + 1] == '-') {
          found |= set[i] <= text[0] && text[0] <= set[i + 2];
          i += 2;
        } else {
          found |= set[i] == text[0];
        }
      }
      if (found == negated) return false;
      pattern.remove_prefix(close + 1);
    } else {
      if (pattern[0] != '?' && pattern[0] != text[0]) return false;
      pattern.remove_prefix(1);
    }
    text.remove_prefix(1);
  }
  return text.empty();
}

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    if (slash == path.npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

bool parts_match(const std::vector<std::string>& pattern, size_t p, const std::vector<std::string>& path, size_t q,
                 size_t& steps) {
  if (++steps > kMaxMatchSteps) return false;
  if (p == pattern.size()) return q == path.size();
  if (pattern[p] == "**") {
    if (p + 1 == pattern.size()) return q < path.size();
    for (size_t skip = q; skip < path.size(); ++skip) {
      if (parts_match(pattern, p + 1, path, skip, steps)) return true;
    }
    return false;
  }
  return q < path.size() && part_matches(pattern[p], path[q], steps) && parts_match(pattern, p + 1, path, q + 1, steps);
}

// Parts of `parts` that start with `mark`; a pattern must name as many as the path has.
size_t special_parts(const std::vector<std::string>& parts, std::string_view mark, bool with_name) {
  const auto end = parts.end() - (with_name || parts.empty() ? 0 : 1);
  return static_cast<size_t>(std::count_if(parts.begin(), end, [&](const std::string& part) {
    return part.starts_with(mark) && part.find_first_not_of('.') != part.npos;
  }));
}

bool has_wildcard(std::string_view pattern) { return pattern.find_first_of("*?[") != std::string_view::npos; }

std::vector<std::string> files_below(const fs::path& base) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::recursive_directory_iterator it(base, error), end; !error && it != end; it.increment(error)) {
    if (out.size() > kMaxEntries) fail(ExitCode::kBadInput, "{}: more than {} files", base.string(), kMaxEntries);
    std::error_code no_type;
    if (it->is_regular_file(no_type)) out.push_back(it->path().lexically_relative(base).generic_string());
  }
  if (error) fail(ExitCode::kIo, "{}: cannot list the directory: {}", base.string(), error.message());
  std::sort(out.begin(), out.end());
  return out;
}

bool is_ignored(const std::string& file, const std::string& pattern) {
  static const std::set<std::string> kIgnored = {"README.md",          "config.json",    "dataset_info.json",
                                                 "dataset_infos.json", "dummy_data.zip", "dataset_dict.json"};
  const std::string name = fs::path(file).filename().string();
  if (kIgnored.contains(name) && fs::path(pattern).filename().string() != name) return true;
  const auto path_parts = parts_of(file);
  const auto pattern_parts = parts_of(pattern);
  return special_parts(path_parts, "__", false) != special_parts(pattern_parts, "__", false) ||
         special_parts(path_parts, ".", true) != special_parts(pattern_parts, ".", true);
}

std::vector<std::string> matching(const std::vector<std::string>& files, const std::string& pattern) {
  std::vector<std::string> out;
  for (const std::string& file : files) {
    if (glob_matches(pattern, file) && !is_ignored(file, pattern)) out.push_back(file);
  }
  return out;
}

// Split names and their keywords in file and folder names.
const std::vector<std::pair<std::string, std::vector<std::string>>>& split_keywords() {
  static const std::vector<std::pair<std::string, std::vector<std::string>>> kKeywords = {
      {"train", {"train", "training"}},
      {"validation", {"validation", "valid", "dev", "val"}},
      {"test", {"test", "testing", "eval", "evaluation"}}};
  return kKeywords;
}

// data/<split>-00000-of-00001*.* : the splits in default order, then by name.
std::vector<std::pair<std::string, std::vector<std::string>>> sharded_splits(const std::vector<std::string>& files) {
  static const std::string kDigits = "[0-9][0-9][0-9][0-9][0-9]";
  const std::string tail = "-" + kDigits + "-of-" + kDigits + "*.*";
  std::map<std::string, std::vector<std::string>> found;
  for (const std::string& file : matching(files, "data/*" + tail)) {
    // The split is the shortest start of the name whose rest has the form of the tail.
    const std::string name = file.substr(5);
    for (size_t dash = name.find('-'); dash != name.npos; dash = name.find('-', dash + 1)) {
      if (!glob_matches("*" + tail, "x" + name.substr(dash))) continue;
      size_t steps = 0;
      if (!part_matches(tail, name.substr(dash), steps)) continue;
      found[name.substr(0, dash)].push_back(file);
      break;
    }
  }
  std::vector<std::pair<std::string, std::vector<std::string>>> out;
  for (const auto& [split, keywords] : split_keywords()) {
    if (const auto at = found.find(split); at != found.end()) {
      out.push_back(*at);
      found.erase(at);
    }
  }
  out.insert(out.end(), found.begin(), found.end());
  return out;
}

// Files that patterns made of a split's keywords match, in the order of the patterns.
std::vector<std::string> keyword_files(const std::vector<std::string>& files, const std::vector<std::string>& keywords,
                                       bool in_folder) {
  static const std::vector<std::string> kFolder = {"**/{}/**", "**/{}[-._ 0-9]*/**", "**/*[-._ 0-9]{}/**",
                                                   "**/*[-._ 0-9]{}[-._ 0-9]*/**"};
  static const std::vector<std::string> kName = {"**/{}[-._ 0-9]*", "**/*[-._ 0-9]{}[-._ 0-9]*"};
  std::vector<std::string> out;
  for (const std::string& keyword : keywords) {
    for (const std::string& form : in_folder ? kFolder : kName) {
      std::string pattern = form;
      pattern.replace(pattern.find("{}"), 2, keyword);
      for (std::string& file : matching(files, pattern)) {
        if (std::find(out.begin(), out.end(), file) == out.end()) out.push_back(std::move(file));
      }
    }
  }
  return out;
}

// The extension that counts: not that of a compression.
std::string extension_of(const std::string& file) {
  std::string extension = without_compression(file).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return extension;
}

// Keeps the files of the most frequent format, as `datasets` reads one format per dataset.
std::vector<std::string> of_one_format(const std::vector<std::string>& files) {
  std::map<std::string, size_t> counts;
  for (const std::string& file : files) {
    const std::string extension = extension_of(file);
    if (std::find(std::begin(kExtensions), std::end(kExtensions), extension) != std::end(kExtensions))
      ++counts[extension];
  }
  std::string best;
  for (const std::string_view extension : kExtensions) {  // in order of preference among equals
    const auto at = counts.find(std::string(extension));
    if (at != counts.end() && (best.empty() || at->second > counts[best])) best = extension;
  }
  const auto group = [](const std::string& extension) {
    if (extension == ".jsonl" || extension == ".ndjson") return std::string(".json");
    return extension;
  };
  std::vector<std::string> out;
  for (const std::string& file : files) {
    if (!best.empty() && group(extension_of(file)) == group(best)) out.push_back(file);
  }
  return out;
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view path) {
  size_t steps = 0;
  return parts_match(parts_of(pattern), 0, parts_of(path), 0, steps);
}

std::vector<fs::path> resolve_pattern(const fs::path& base, const std::string& pattern) {
  const fs::path whole = fs::path(pattern).is_absolute() ? fs::path(pattern) : base / pattern;
  if (!has_wildcard(pattern)) {
    std::error_code error;
    if (fs::is_regular_file(whole, error)) return {whole.lexically_normal()};
    return {};
  }
  // Walk below the deepest folder that the pattern names without a wildcard.
  fs::path root = fs::path(pattern).is_absolute() ? fs::path("/") : base;
  std::string rest;
  for (const std::string& part : parts_of(pattern)) {
    if (rest.empty() && !has_wildcard(part)) {
      root /= part;
    } else {
      rest += (rest.empty() ? "" : "/") + part;
    }
  }
  std::error_code error;
  if (!fs::is_directory(root, error)) return {};
  std::vector<fs::path> out;
  for (const std::string& file : matching(files_below(root), rest)) out.push_back((root / file).lexically_normal());
  return out;
}

std::vector<SplitFiles> resolve_data_files(const fs::path& base, const Json& data_files, const std::string& where) {
  const auto resolve = [&](const Json& patterns) {
    std::vector<fs::path> files;
    for (const Json& pattern : patterns.is_array() ? patterns : Json::array({patterns})) {
      if (!pattern.is_string()) fail(ExitCode::kBadInput, "{}: a path in data_files is not text", where);
      for (fs::path& file : resolve_pattern(base, pattern.get<std::string>())) files.push_back(std::move(file));
    }
    if (files.size() < 2) return files;
    std::vector<std::string> names;
    for (const fs::path& file : files) names.push_back(file.string());
    names = of_one_format(names);
    return std::vector<fs::path>(names.begin(), names.end());
  };
  std::vector<SplitFiles> out;
  if (data_files.is_string()) return {{"train", resolve(data_files)}};
  if (data_files.is_object()) {
    for (auto it = data_files.begin(); it != data_files.end(); ++it) out.push_back({it.key(), resolve(it.value())});
    return out;
  }
  if (!data_files.is_array())
    fail(ExitCode::kBadInput, "{}: data_files must be a path, a list or splits with paths", where);
  const bool has_objects =
      std::any_of(data_files.begin(), data_files.end(), [](const Json& item) { return item.is_object(); });
  if (!has_objects) return {{"train", resolve(data_files)}};
  for (const Json& item : data_files) {
    if (!item.is_object() || !item.contains("split") || !item.contains("path") || !item["split"].is_string()) {
      fail(ExitCode::kBadInput, "{}: every entry of data_files needs 'split' and 'path'", where);
    }
    out.push_back({item["split"].get<std::string>(), resolve(item["path"])});
  }
  return out;
}

std::vector<SplitFiles> default_splits(const fs::path& base) {
  const std::vector<std::string> files = files_below(base);
  std::vector<std::pair<std::string, std::vector<std::string>>> splits = sharded_splits(files);
  for (const bool in_folder : {true, false}) {
    if (!splits.empty()) break;
    for (const auto& [split, keywords] : split_keywords()) {
      std::vector<std::string> found = keyword_files(files, keywords, in_folder);
      if (!found.empty()) splits.emplace_back(split, std::move(found));
    }
  }
  if (splits.empty()) splits.emplace_back("train", matching(files, "**"));
  std::vector<SplitFiles> out;
  for (const auto& [split, found] : splits) {
    SplitFiles entry{split, {}};
    for (const std::string& file : of_one_format(found)) entry.files.push_back(base / file);
    if (!entry.files.empty()) out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace evalmpi::data
