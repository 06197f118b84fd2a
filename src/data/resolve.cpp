#include "resolve.h"

#include <algorithm>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "saved.h"

namespace evalmpi::data {

namespace fs = std::filesystem;

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

bool has_script(const fs::path& directory, const std::string& name) {
  std::error_code error;
  return fs::is_regular_file(directory / (name.substr(name.rfind('/') + 1) + ".py"), error);
}

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

}  // namespace evalmpi::data
