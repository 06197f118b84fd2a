#include "evalmpi/task/task_index.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <unordered_map>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/log.h"

namespace evalmpi::task {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxFileBytes = uint64_t{16} << 20;
constexpr size_t kMaxFiles = 1'000'000;

// The keys that name what a file defines. Each holds null, text, a list of texts, or anything for `class`.
constexpr std::string_view kNamingKeys[] = {"task", "group", "tag", "class", "include", "task_list"};

bool is_naming_key(std::string_view key) {
  return std::find(std::begin(kNamingKeys), std::end(kNamingKeys), key) != std::end(kNamingKeys);
}

// One line of a top-level block mapping: `key: value`, the key perhaps in quotes.
struct KeyLine {
  std::string_view key;
  std::string_view value;
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

std::optional<KeyLine> key_line(std::string_view line) {
  if (line.empty() || line.front() == ' ' || line.front() == '#' || line.front() == '-') return {};
  std::string_view key;
  size_t after = 0;
  if (line.front() == '"' || line.front() == '\'') {
    const size_t end = line.find(line.front(), 1);
    if (end == line.npos) return {};
    key = line.substr(1, end - 1);
    after = end + 1;
  } else {
    after = line.find(':');
    if (after == line.npos) return {};
    key = trim(line.substr(0, after));
  }
  const std::string_view rest = trim(line.substr(std::min(after, line.size())));
  if (rest.empty() || rest.front() != ':') return {};
  return KeyLine{key, trim(rest.substr(1))};
}

// A scalar that reads the same by any reader: a plain word, or quotes without escapes.
std::optional<std::string> simple_scalar(std::string_view value) {
  if (value.empty()) return {};
  if (value.front() == '"' || value.front() == '\'') {
    const size_t end = value.find(value.front(), 1);
    if (end == value.npos) return {};
    const std::string_view body = value.substr(1, end - 1);
    const std::string_view rest = trim(value.substr(end + 1));
    if (body.find('\\') != body.npos || (!rest.empty() && rest.front() != '#')) return {};
    return std::string(body);
  }
  const size_t comment = value.find(" #");
  const std::string_view word = trim(value.substr(0, comment));
  const bool plain = std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == '/' || c >= 128;
  });
  // Numbers, booleans and null would not be texts.
  const bool names = word.find_first_not_of("0123456789.-_xXob") != word.npos && word.size() > 5;
  if (!plain || !names || word.front() == '-') return {};
  return std::string(word);
}

// The naming keys of a file, read line by line. Nothing when a value is not of the simplest form, or none is found:
// then the file has to be parsed.
std::optional<Json> sniff(std::string_view text) {
  Json found = Json::object();
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    const std::optional<KeyLine> entry = key_line(line);
    if (!entry || !is_naming_key(entry->key)) continue;
    const std::optional<std::string> value = simple_scalar(entry->value);
    if (!value) return {};
    found[std::string(entry->key)] = *value;
  }
  if (found.empty()) return {};
  return found;
}

class Scanner {
 public:
  Scanner(std::map<std::string, IndexEntry>& entries, std::vector<std::string>& skipped)
      : entries_(entries), skipped_(skipped) {}

  void add_root(const fs::path& root) {
    std::map<std::string, IndexEntry> found;
    for (const fs::path& file : yaml_files(root)) {
      try {
        register_file(naming_keys(file, 0), file, found);
      } catch (const Error& error) {
        skipped_.emplace_back(error.what());
      }
    }
    for (auto& [name, entry] : found) {
      const auto existing = entries_.find(name);
      if (existing != entries_.end() && entry.kind != EntryKind::kTag) {
        log::debug("task {}: {} replaces {}", name, entry.file.string(), existing->second.file.string());
      }
      entries_[name] = std::move(entry);
    }
  }

 private:
  static std::vector<fs::path> yaml_files(const fs::path& root) {
    std::error_code error;
    if (!fs::is_directory(root, error)) fail(ExitCode::kMissingInput, "{}: no such folder of tasks", root.string());
    std::vector<fs::path> files;
    auto entry = fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied, error);
    for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
      const fs::path& path = entry->path();
      const std::string name = path.filename().string();
      if (name == "__pycache__" || name == ".ipynb_checkpoints") {
        entry.disable_recursion_pending();
      } else if (path.extension() == ".yaml" && entry->is_regular_file(error)) {
        files.push_back(path);
        if (files.size() > kMaxFiles) fail(ExitCode::kBadInput, "{}: more than a million files", root.string());
      }
    }
    if (error) fail(ExitCode::kIo, "{}: cannot be read: {}", root.string(), error.message());
    std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
    return files;
  }

  // The naming keys of a file with its includes merged; each file is read once.
  const Json& naming_keys(const fs::path& file, int depth) {
    const auto known = seen_.find(file.native());
    if (known != seen_.end()) return known->second;
    if (depth > 32) fail(ExitCode::kBadInput, "{}: includes are nested deeper than 32", file.string());
    const std::string text = read_file(file, kMaxFileBytes);
    const std::optional<Json> sniffed = sniff(text);
    Json keys = sniffed ? *sniffed : read_yaml_text(text, file);
    if (!keys.is_object()) fail(ExitCode::kBadInput, "{}:1: a task file must be a mapping", file.string());
    Json merged = Json::object();
    if (keys.contains("include")) {
      const Json includes = keys["include"].is_array() ? keys["include"] : Json::array({keys["include"]});
      keys.erase("include");
      for (const Json& include : includes) {
        if (!include.is_string()) fail(ExitCode::kBadInput, "{}: include must name files", file.string());
        const fs::path included = (file.parent_path() / include.get<std::string>()).lexically_normal();
        Json inherited = naming_keys(included, depth + 1);
        inherited.erase("task_list");
        merged.update(inherited);
      }
    }
    for (const auto& [key, value] : keys.items()) {
      if (is_naming_key(key)) merged[key] = value;
    }
    return seen_[file.native()] = std::move(merged);
  }

  void register_file(const Json& keys, const fs::path& file, std::map<std::string, IndexEntry>& found) {
    if (keys.contains("task_list")) {
      register_list(keys, file, found);
    } else if (keys.contains("class")) {
      add(keys, "task", {"", EntryKind::kPythonTask, file, -1, {}}, found);
    } else if (keys.contains("group")) {
      add(keys, "group", {"", EntryKind::kGroup, file, -1, {}}, found);
    } else if (keys.contains("task")) {
      add(keys, "task", {"", EntryKind::kTask, file, -1, {}}, found);
    } else {
      fail(ExitCode::kBadInput, "{}: defines neither a task nor a group", file.string());
    }
  }

  void register_list(const Json& keys, const fs::path& file, std::map<std::string, IndexEntry>& found) {
    if (!keys["task_list"].is_array()) fail(ExitCode::kBadInput, "{}: task_list must be a list", file.string());
    int position = 0;
    for (const Json& item : keys["task_list"]) {
      if (!item.is_object()) fail(ExitCode::kBadInput, "{}: task_list must hold mappings", file.string());
      Json merged = keys;
      merged.update(item);
      add(merged, "task", {"", EntryKind::kTask, file, position++, {}}, found);
    }
  }

  void add(const Json& keys, const char* name_key, IndexEntry entry, std::map<std::string, IndexEntry>& found) {
    const auto name = keys.find(name_key);
    if (name == keys.end() || !name->is_string() || name->get_ref<const std::string&>().empty()) {
      fail(ExitCode::kBadInput, "{}: {} must be a name", entry.file.string(), name_key);
    }
    entry.name = name->get<std::string>();
    const bool is_group = entry.kind == EntryKind::kGroup;
    const std::string task = entry.name;
    if (const auto [existing, added] = found.try_emplace(task, std::move(entry)); !added) {
      skipped_.push_back(
          fmt::format("{}: {} is already defined by {}", entry.file.string(), task,
                      existing->second.kind == EntryKind::kTag ? "a tag" : existing->second.file.string()));
      return;
    }
    const auto tags = keys.find("tag");
    if (is_group || tags == keys.end() || tags->is_null()) return;
    for (const Json& tag : tags->is_array() ? *tags : Json::array({*tags})) {
      if (!tag.is_string()) continue;
      IndexEntry& holder = found[tag.get<std::string>()];
      if (holder.name.empty()) {
        holder.name = tag.get<std::string>();
        holder.kind = EntryKind::kTag;
      }
      holder.members.insert(task);
    }
  }

  std::map<std::string, IndexEntry>& entries_;
  std::vector<std::string>& skipped_;
  std::unordered_map<std::string, Json> seen_;
};

// Levenshtein's distance, given up above `limit`.
size_t edit_distance(std::string_view a, std::string_view b, size_t limit) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) > limit) return limit + 1;
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    size_t lowest = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
      lowest = std::min(lowest, row[j]);
    }
    if (lowest > limit) return limit + 1;
  }
  return row.back();
}

}  // namespace

TaskIndex TaskIndex::scan(const std::vector<fs::path>& roots) {
  TaskIndex index;
  Scanner scanner(index.entries_, index.skipped_);
  for (const fs::path& root : roots) scanner.add_root(fs::absolute(root).lexically_normal());
  return index;
}

std::vector<std::string> TaskIndex::nearest(std::string_view name, size_t count) const {
  const std::string_view wanted = name.substr(0, 256);
  const size_t limit = std::max<size_t>(1, wanted.size() / 2);
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const auto& [known, entry] : entries_) {
    const size_t distance = edit_distance(wanted, known, limit);
    if (distance <= limit) ranked.emplace_back(distance, known);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> names;
  for (size_t i = 0; i < ranked.size() && i < count; ++i) names.push_back(ranked[i].second);
  return names;
}

fs::path builtin_tasks_dir() {
  if (const char* chosen = std::getenv("EVALMPI_TASKS_DIR"); chosen != nullptr && *chosen != '\0') return chosen;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path installed = program.parent_path().parent_path() / "share" / "evalmpi" / "tasks";
  for (const fs::path& folder : {installed, fs::path(EVALMPI_SOURCE_TASKS_DIR)}) {
    if (fs::is_directory(folder, error)) return folder;
  }
  fail(ExitCode::kMissingInput,
       "the folder of built-in tasks is neither {} nor {}; set EVALMPI_TASKS_DIR to where configs/tasks is",
       installed.string(), EVALMPI_SOURCE_TASKS_DIR);
}

}  // namespace evalmpi::task
