#include "evalmpi/data/dataset.h"

#include <algorithm>
#include <optional>
#include <set>

#include "data_files.h"
#include "declared_types.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/hub_cache.h"
#include "evalmpi/data/readers.h"
#include "saved.h"

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

std::string text_kwarg(const DatasetReference& reference, const char* key) {
  const auto found = reference.kwargs.find(key);
  if (found == reference.kwargs.end() || found->is_null()) return "";
  if (!found->is_string()) fail(ExitCode::kBadInput, "dataset {}: dataset_kwargs.{} is not text", reference.path, key);
  return found->get<std::string>();
}

// Keyword arguments that change what is read are known here; others that only steer downloads are passed over.
void check_kwargs(const DatasetReference& reference) {
  static const std::set<std::string> kUsed = {"data_files", "data_dir",        "field",        "revision",
                                              "sep",        "delimiter",       "column_names", "names",
                                              "sample_by",  "keep_linebreaks", "encoding"};
  static const std::set<std::string> kWithoutEffect = {
      "trust_remote_code", "streaming",      "token",    "download_mode",        "cache_dir",  "verification_mode",
      "num_proc",          "keep_in_memory", "metadata", "ignore_verifications", "save_infos", "storage_options"};
  if (!reference.kwargs.is_object() && !reference.kwargs.is_null()) {
    fail(ExitCode::kBadInput, "dataset {}: dataset_kwargs is not a mapping", reference.path);
  }
  std::string encoding = text_kwarg(reference, "encoding");
  std::erase(encoding, '-');
  if (!encoding.empty() && encoding != "utf8" && encoding != "UTF8" && encoding != "utf8sig") {
    fail(ExitCode::kBadInput, "dataset {}: dataset_kwargs.encoding: only UTF-8 is read; convert the files",
         reference.path);
  }
  for (auto it = reference.kwargs.begin(); it != reference.kwargs.end(); ++it) {
    if (!kUsed.contains(it.key()) && !kWithoutEffect.contains(it.key())) {
      fail(ExitCode::kBadInput, "dataset {}: dataset_kwargs.{} is not supported", reference.path, it.key());
    }
  }
}

// Where a dataset may be: the first folder that exists, and all that were looked at.
struct Place {
  std::optional<fs::path> folder;
  std::vector<fs::path> searched;
};

Place look_for(const std::string& name, const DatasetReference& reference, const DataRoots& roots) {
  Place place;
  const auto found = [&](const fs::path& folder) {
    place.searched.push_back(folder);
    if (is_folder(folder)) place.folder = folder;
    return place.folder.has_value();
  };
  if (fs::path(name).is_absolute()) {
    found(name);
    return place;
  }
  if (!reference.base_dir.empty() && found(reference.base_dir / name)) return place;
  if (found(fs::current_path() / name) || !is_repository_id(name)) return place;
  for (const fs::path& root : roots.roots) {
    if (found(root / name)) return place;
  }
  place.folder = cached_snapshot(RepositoryKind::kDataset, name, text_kwarg(reference, "revision"));
  place.searched.push_back(hub_cache());
  return place;
}

[[noreturn]] void fail_missing(const std::string& name, const std::vector<fs::path>& searched) {
  std::string places;
  for (const fs::path& place : searched) places += (places.empty() ? "" : ", ") + place.string();
  fail(ExitCode::kMissingInput,
       "dataset {} is not here (searched {}); give the folder above it with --data-root DIR, or fetch it with "
       "`evalmpi fetch --dataset {}`",
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
  const Place place = look_for(name, repository, roots);
  if (!place.folder) fail_missing(name, place.searched);
  return (*place.folder / text.substr(end + 1)).string();
}

// The files that a format's data_files or data_dir name.
DatasetConfig resolve_format(const DatasetReference& reference, const Json& data_files, const std::string& data_dir) {
  const std::string where = "dataset " + reference.path;
  if (data_files.is_null() && data_dir.empty()) {
    fail(ExitCode::kBadInput, "{}: dataset_kwargs needs data_files or data_dir", where);
  }
  DatasetConfig config;
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

// The files of a dataset's folder.
DatasetConfig resolve_folder(const fs::path& directory, const DatasetReference& reference, const Json& data_files,
                             const std::string& data_dir) {
  if (data_files.is_null() && data_dir.empty()) {
    if (auto saved = saved_config(directory)) return *std::move(saved);
    return read_config(directory, reference.name);
  }
  DatasetConfig config;
  const fs::path base = data_dir.empty() ? directory : safe_path(directory, data_dir, true);
  config.splits =
      data_files.is_null() ? default_splits(base) : resolve_data_files(base, data_files, "dataset " + reference.path);
  std::erase_if(config.splits, [](const SplitFiles& split) { return split.files.empty(); });
  return config;
}

// Whether the folder holds the Python script that makes the dataset org/name.
bool has_script(const fs::path& directory, const std::string& name) {
  std::error_code error;
  return fs::is_regular_file(directory / (name.substr(name.rfind('/') + 1) + ".py"), error);
}

// What a reference comes to: the splits with their files.
DatasetConfig resolve(const DatasetReference& reference, const DataRoots& roots) {
  check_kwargs(reference);
  const std::string& name = reference.path;
  const std::string data_dir = text_kwarg(reference, "data_dir");
  const Json data_files = without_urls(reference.kwargs.value("data_files", Json()), reference, roots);
  if (is_format(name)) return resolve_format(reference, data_files, data_dir);
  Place place = look_for(name, reference, roots);
  if (place.folder && !has_script(*place.folder, name)) {
    DatasetConfig config = resolve_folder(*place.folder, reference, data_files, data_dir);
    if (!config.splits.empty()) return config;
  }
  if (is_repository_id(name) && data_files.is_null() && data_dir.empty()) {
    if (const auto exported = cached_snapshot(RepositoryKind::kDataset, name, "refs/convert/parquet")) {
      return export_config(*exported, reference.name);
    }
    if (const auto prepared = prepared_config(prepared_datasets_cache(), name, reference.name)) return *prepared;
    place.searched.push_back(prepared_datasets_cache());
  }
  if (!place.folder) fail_missing(name, place.searched);
  fail(ExitCode::kMissingInput, "dataset {}: {} holds no data files (Parquet, JSON, CSV, text or Arrow) for it{}", name,
       place.folder->string(),
       has_script(*place.folder, name)
           ? fmt::format(
                 ", only a Python script, which is not run; `evalmpi fetch --dataset {}` fetches the hub's Parquet "
                 "copy of it",
                 name)
           : "");
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
  for (const char* key : {"field", "sep", "delimiter", "column_names", "names", "sample_by", "keep_linebreaks"}) {
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
