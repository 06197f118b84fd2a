#include "saved.h"

#include <algorithm>
#include <tuple>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"

namespace evalmpi::data {
namespace {

namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

std::vector<fs::path> folders_in(const fs::path& directory) {
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::error_code no_type;
    if (it->is_directory(no_type)) out.push_back(it->path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string names_of(const std::vector<fs::path>& folders) {
  std::string out;
  for (const fs::path& folder : folders) out += (out.empty() ? "" : ", ") + folder.filename().string();
  return out;
}

// The member as text; empty when it is null or absent. FAILS: kBadInput when it is of another kind.
std::string text_member(const Json& object, const char* key, const fs::path& file) {
  const Json value = object.is_object() ? object.value(key, Json()) : Json();
  if (value.is_null()) return "";
  if (!value.is_string()) fail(ExitCode::kBadInput, "{}: '{}' is not text", file.string(), key);
  return value.get<std::string>();
}

// The split that save_to_disk wrote to one folder.
SplitFiles saved_split(const fs::path& folder, const std::string& name) {
  const fs::path file = folder / "state.json";
  const Json state = read_json_file(file);
  const Json files = state.is_object() ? state.value("_data_files", Json()) : Json();
  if (!files.is_array()) fail(ExitCode::kBadInput, "{}: there is no list '_data_files'", file.string());
  SplitFiles out{name.empty() ? text_member(state, "_split", file) : name, {}};
  if (out.split.empty()) out.split = "train";
  for (const Json& entry : files) {
    out.files.push_back(safe_path(folder, text_member(entry, "filename", file)));
    if (!is_file(out.files.back())) fail(ExitCode::kMissingInput, "{}: no such file", out.files.back().string());
  }
  return out;
}

int place_of(const std::string& split) {
  const std::string_view order[] = {"train", "validation", "test"};
  return static_cast<int>(std::find(std::begin(order), std::end(order), split) - std::begin(order));
}

// FooBar-2 as `datasets` names files and folders of it: foo_bar-2.
std::string snake_case(const std::string& name) {
  std::string out;
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  const auto is_small = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  for (size_t i = 0; i < name.size(); ++i) {
    const char before = i > 0 ? name[i - 1] : '_';
    const char after = i + 1 < name.size() ? name[i + 1] : '_';
    const bool starts = is_upper(name[i]) && (is_small(before) || (is_upper(before) && after >= 'a' && after <= 'z'));
    if (starts) out += '_';
    out += is_upper(name[i]) ? static_cast<char>(name[i] + 32) : name[i];
  }
  return out;
}

// The files of a split beside dataset_info.json: name-split.arrow, or one per shard.
std::vector<fs::path> prepared_files(const fs::path& folder, const std::string& dataset, const std::string& split,
                                     size_t shards) {
  const std::string stem = dataset + "-" + split;
  std::vector<fs::path> out;
  if (is_file(folder / (stem + ".arrow"))) return {folder / (stem + ".arrow")};
  for (size_t i = 0; i < shards; ++i) {
    out.push_back(folder / fmt::format("{}-{:05}-of-{:05}.arrow", stem, i, shards));
    if (!is_file(out.back())) return {};
  }
  return out;
}

DatasetConfig prepared_folder(const fs::path& folder, const std::string& dataset, const std::string& name) {
  const fs::path file = folder / "dataset_info.json";
  const Json info = read_json_file(file);
  const Json splits = info.is_object() ? info.value("splits", Json()) : Json();
  if (!splits.is_object()) fail(ExitCode::kBadInput, "{}: there is no object 'splits'", file.string());
  DatasetConfig out;
  out.name = name;
  for (auto it = splits.begin(); it != splits.end(); ++it) {
    const Json lengths = it->is_object() ? it->value("shard_lengths", Json()) : Json();
    SplitFiles split{it.key(), prepared_files(folder, dataset, it.key(), lengths.is_array() ? lengths.size() : 0)};
    if (split.files.empty()) {
      fail(ExitCode::kMissingInput, "{}: the files of the split '{}' are not all beside it", file.string(), it.key());
    }
    out.splits.push_back(std::move(split));
  }
  return out;
}

}  // namespace

std::optional<DatasetConfig> saved_config(const fs::path& directory) {
  DatasetConfig out;
  out.name = "default";
  if (is_file(directory / "state.json")) {
    out.splits.push_back(saved_split(directory, ""));
    return out;
  }
  const fs::path file = directory / "dataset_dict.json";
  if (!is_file(file)) return {};
  const Json splits = read_json_file(file);
  const Json names = splits.is_object() ? splits.value("splits", Json()) : Json();
  if (!names.is_array()) fail(ExitCode::kBadInput, "{}: there is no list 'splits'", file.string());
  for (const Json& name : names) {
    if (!name.is_string()) fail(ExitCode::kBadInput, "{}: a split's name is not text", file.string());
    out.splits.push_back(saved_split(safe_path(directory, name.get<std::string>()), name.get<std::string>()));
  }
  return out;
}

std::optional<DatasetConfig> prepared_config(const fs::path& cache, const std::string& dataset,
                                             const std::string& name) {
  const size_t slash = dataset.find('/');
  const std::string last = snake_case(slash == dataset.npos ? dataset : dataset.substr(slash + 1));
  const fs::path root = cache / (slash == dataset.npos ? last : dataset.substr(0, slash) + "___" + last);
  const std::vector<fs::path> configs = folders_in(root);
  const auto named = [&](const std::string& wanted) {
    return std::find_if(configs.begin(), configs.end(),
                        [&](const fs::path& path) { return path.filename() == wanted; });
  };
  auto config = named(name.empty() ? "default" : name);
  if (config == configs.end() && name.empty() && configs.size() == 1) config = configs.begin();
  if (config == configs.end()) {
    if (configs.empty()) return {};
    fail(ExitCode::kMissingInput, "{}: no config '{}' was prepared; there are {}", root.string(),
         name.empty() ? "default" : name, names_of(configs));
  }
  std::vector<std::pair<fs::file_time_type, fs::path>> copies;
  for (const fs::path& version : folders_in(*config)) {
    for (const fs::path& hash : folders_in(version)) {
      std::error_code error;
      const fs::path info = hash / "dataset_info.json";
      if (is_file(info)) copies.emplace_back(fs::last_write_time(info, error), hash);
    }
  }
  if (copies.empty()) return {};
  return prepared_folder(std::max_element(copies.begin(), copies.end())->second, last, config->filename().string());
}

DatasetConfig export_config(const fs::path& directory, const std::string& name) {
  const std::vector<fs::path> configs = folders_in(directory);
  const auto found = std::find_if(configs.begin(), configs.end(), [&](const fs::path& path) {
    return path.filename() == (name.empty() ? "default" : name) || (name.empty() && configs.size() == 1);
  });
  if (found == configs.end()) {
    fail(ExitCode::kMissingInput, "{}: the dataset has no config '{}'; it has {}", directory.string(),
         name.empty() ? "default" : name, names_of(configs));
  }
  DatasetConfig out;
  out.name = found->filename().string();
  for (const fs::path& folder : folders_in(*found)) {
    const std::string split = folder.filename().string();
    SplitFiles files{split.starts_with("partial-") ? split.substr(8) : split, resolve_pattern(folder, "*.parquet")};
    if (!files.files.empty()) out.splits.push_back(std::move(files));
  }
  std::sort(out.splits.begin(), out.splits.end(), [](const SplitFiles& a, const SplitFiles& b) {
    return std::tuple(place_of(a.split), a.split) < std::tuple(place_of(b.split), b.split);
  });
  return out;
}

}  // namespace evalmpi::data
