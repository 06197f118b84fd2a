#include "evalmpi/data/dataset.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>

#include "data_files.h"
#include "declared_types.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {
namespace {

namespace fs = std::filesystem;

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

bool is_format(const std::string& path) {
  static const std::set<std::string> kFormats = {"json", "jsonl", "csv", "parquet", "arrow", "text"};
  return kFormats.contains(path);
}

// org/name or name, of the characters that the hub allows.
bool is_hub_name(const std::string& path) {
  if (path.empty() || path.starts_with('/') || path.ends_with('/') || path.find("..") != path.npos) return false;
  const bool legal = std::all_of(path.begin(), path.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '/';
  });
  return legal && std::count(path.begin(), path.end(), '/') <= 1;
}

std::string text_kwarg(const DatasetReference& reference, const char* key) {
  const auto found = reference.kwargs.find(key);
  if (found == reference.kwargs.end() || found->is_null()) return "";
  if (!found->is_string()) fail(ExitCode::kBadInput, "dataset {}: dataset_kwargs.{} is not text", reference.path, key);
  return found->get<std::string>();
}

// Keyword arguments that change what is read are known here; others that only steer downloads are passed over.
void check_kwargs(const DatasetReference& reference) {
  static const std::set<std::string> kUsed = {"data_files", "data_dir",  "field",        "revision",
                                              "sep",        "delimiter", "column_names", "names"};
  static const std::set<std::string> kWithoutEffect = {
      "trust_remote_code", "streaming",       "token",          "download_mode", "cache_dir",
      "verification_mode", "num_proc",        "keep_in_memory", "metadata",      "ignore_verifications",
      "save_infos",        "storage_options", "encoding"};
  if (!reference.kwargs.is_object() && !reference.kwargs.is_null()) {
    fail(ExitCode::kBadInput, "dataset {}: dataset_kwargs is not a mapping", reference.path);
  }
  for (auto it = reference.kwargs.begin(); it != reference.kwargs.end(); ++it) {
    if (!kUsed.contains(it.key()) && !kWithoutEffect.contains(it.key())) {
      fail(ExitCode::kBadInput, "dataset {}: dataset_kwargs.{} is not supported", reference.path, it.key());
    }
  }
}

std::vector<fs::path> hub_caches() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return value ? std::string(value) : std::string();
  };
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string value = variable(name); !value.empty()) return {value};
  }
  if (const std::string value = variable("HF_HOME"); !value.empty()) return {fs::path(value) / "hub"};
  if (const std::string value = variable("XDG_CACHE_HOME"); !value.empty())
    return {fs::path(value) / "huggingface/hub"};
  if (const std::string value = variable("HOME"); !value.empty()) return {fs::path(value) / ".cache/huggingface/hub"};
  return {};
}

// The snapshot folder of a dataset in a hub cache, or nothing.
std::optional<fs::path> snapshot_of(const fs::path& cache, const std::string& name, const std::string& revision) {
  std::string folder = "datasets--" + name;
  if (const size_t slash = folder.find('/'); slash != folder.npos) folder.replace(slash, 1, "--");
  const fs::path repository = cache / folder;
  const std::string wanted = revision.empty() ? "main" : revision;
  if (wanted.find("..") != wanted.npos || wanted.starts_with('/')) return {};
  if (is_folder(repository / "snapshots" / wanted)) return repository / "snapshots" / wanted;
  std::error_code error;
  if (!fs::is_regular_file(repository / "refs" / wanted, error)) return {};
  std::string commit = read_file(repository / "refs" / wanted, 4096);
  while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back()))) commit.pop_back();
  const bool legal =
      !commit.empty() && std::all_of(commit.begin(), commit.end(), [](unsigned char c) { return std::isalnum(c); });
  if (!legal || !is_folder(repository / "snapshots" / commit)) return {};
  return repository / "snapshots" / commit;
}

// The folder of the dataset `name`. FAILS: kMissingInput with all places searched.
fs::path locate(const std::string& name, const DatasetReference& reference, const DataRoots& roots) {
  std::vector<fs::path> searched;
  const auto found = [&](const fs::path& place) {
    searched.push_back(place);
    return is_folder(place);
  };
  if (fs::path(name).is_absolute()) {
    if (found(name)) return name;
  } else {
    if (!reference.base_dir.empty() && found(reference.base_dir / name)) return reference.base_dir / name;
    if (found(fs::current_path() / name)) return fs::current_path() / name;
  }
  if (is_hub_name(name)) {
    for (const fs::path& root : roots.roots) {
      if (found(root / name)) return root / name;
    }
    for (const fs::path& cache : hub_caches()) {
      if (const auto snapshot = snapshot_of(cache, name, text_kwarg(reference, "revision"))) return *snapshot;
      searched.push_back(cache);
    }
  }
  std::string places;
  for (const fs::path& place : searched) places += (places.empty() ? "" : ", ") + place.string();
  fail(ExitCode::kMissingInput,
       "dataset {} is not here (searched {}); give the folder above it with --data-root DIR, or fetch it with "
       "`huggingface-cli download --repo-type dataset {}`",
       name, places, name);
}

// hf://datasets/org/name[@revision]/path as a file or pattern below the dataset's folder.
Json without_urls(const Json& data_files, const DatasetReference& reference, const DataRoots& roots) {
  if (data_files.is_structured()) {
    Json out = data_files;
    for (Json& item : out) item = without_urls(item, reference, roots);
    return out;
  }
  if (!data_files.is_string()) return data_files;
  const auto& text = data_files.get_ref<const std::string&>();
  if (text.find("://") == text.npos) return data_files;
  constexpr std::string_view kScheme = "hf://datasets/";
  const size_t slash = text.starts_with(kScheme) ? text.find('/', kScheme.size()) : text.npos;
  const size_t end = slash == text.npos ? text.npos : text.find('/', slash + 1);
  if (end == text.npos) {
    fail(ExitCode::kMissingInput, "dataset {}: data_files name {}; fetch it and name the local file", reference.path,
         text);
  }
  std::string name = text.substr(kScheme.size(), end - kScheme.size());
  DatasetReference repository = reference;
  if (const size_t at = name.find('@'); at != name.npos) {
    repository.kwargs["revision"] = name.substr(at + 1);
    name.resize(at);
  }
  return (locate(name, repository, roots) / text.substr(end + 1)).string();
}

// What a reference comes to: the splits with their files.
DatasetConfig resolve(const DatasetReference& reference, const DataRoots& roots) {
  check_kwargs(reference);
  const std::string where = "dataset " + reference.path;
  const std::string data_dir = text_kwarg(reference, "data_dir");
  const Json data_files = without_urls(reference.kwargs.value("data_files", Json()), reference, roots);
  DatasetConfig config;
  if (is_format(reference.path)) {
    if (data_files.is_null() && data_dir.empty()) {
      fail(ExitCode::kBadInput, "{}: dataset_kwargs needs data_files or data_dir", where);
    }
    for (const fs::path& start : {reference.base_dir, fs::current_path()}) {
      const fs::path base = start / data_dir;
      if (!data_files.is_null()) {
        config.splits = resolve_data_files(base, data_files, where);
      } else if (is_folder(base)) {
        config.splits = default_splits(base);
      }
      std::erase_if(config.splits, [](const SplitFiles& split) { return split.files.empty(); });
      if (!config.splits.empty()) return config;
    }
    fail(ExitCode::kMissingInput, "{}: no file matches {} in {} or {}", where,
         data_files.is_null() ? data_dir : data_files.dump(), reference.base_dir.string(), fs::current_path().string());
  }
  const fs::path directory = locate(reference.path, reference, roots);
  if (data_files.is_null() && data_dir.empty()) {
    config = read_config(directory, reference.name);
  } else {
    const fs::path base = data_dir.empty() ? directory : safe_path(directory, data_dir, true);
    config.splits = data_files.is_null() ? default_splits(base) : resolve_data_files(base, data_files, where);
    std::erase_if(config.splits, [](const SplitFiles& split) { return split.files.empty(); });
  }
  if (config.splits.empty()) {
    fail(ExitCode::kMissingInput,
         "{}: {} holds no data files (Parquet, JSON, CSV, text or Arrow) for it; datasets made by a script cannot be "
         "read",
         where, directory.string());
  }
  return config;
}

// Adds a further file of the same split.
void append(Table& table, Table&& more, const fs::path& file) {
  if (table.rows.empty() && table.columns.empty()) {
    table = std::move(more);
    return;
  }
  const std::set<std::string> known(table.columns.begin(), table.columns.end());
  for (const std::string& column : more.columns) {
    if (!known.contains(column)) {
      fail(ExitCode::kBadInput, "{}: the column '{}' is not in the files before it of the same split", file.string(),
           column);
    }
  }
  const bool same_order = table.columns == more.columns;
  for (Json& row : more.rows) {
    if (!same_order) {
      Json ordered = Json::object();
      for (const std::string& column : table.columns) ordered[column] = row.value(column, Json());
      row = std::move(ordered);
    }
    table.rows.push_back(std::move(row));
  }
}

}  // namespace

std::vector<std::string> split_names(const DatasetReference& reference, const DataRoots& roots) {
  std::vector<std::string> names;
  for (const SplitFiles& split : resolve(reference, roots).splits) names.push_back(split.split);
  return names;
}

Split load_split(const DatasetReference& reference, const std::string& split_name, const DataRoots& roots) {
  const DatasetConfig config = resolve(reference, roots);
  const auto found = std::find_if(config.splits.begin(), config.splits.end(),
                                  [&](const SplitFiles& split) { return split.split == split_name; });
  if (found == config.splits.end()) {
    std::string names;
    for (const SplitFiles& split : config.splits) names += (names.empty() ? "" : ", ") + split.split;
    fail(ExitCode::kMissingInput, "dataset {}{}: there is no split '{}'; there are {}", reference.path,
         reference.name.empty() ? "" : " (" + reference.name + ")", split_name, names);
  }
  Json kwargs = config.reader_kwargs;
  for (const char* key : {"field", "sep", "delimiter", "column_names", "names"}) {
    if (reference.kwargs.contains(key)) kwargs[key] = reference.kwargs[key];
  }
  if (is_format(reference.path)) kwargs["format"] = reference.path;
  Table table;
  std::string source;
  for (const fs::path& file : found->files) {
    append(table, read_table(file, kwargs), file);
    source += (source.empty() ? "" : ", ") + file.string();
  }
  if (!config.features.is_null()) apply_declared_types(table, config.features, source);
  return {std::move(table.columns), std::move(table.rows), std::move(source)};
}

}  // namespace evalmpi::data
