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
#include "resolve.h"
#include "saved.h"

namespace evalmpi::data {
namespace {

namespace fs = std::filesystem;

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
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
