#pragma once

// From a reference to files: what reading a dataset and fetching it share.

#include <filesystem>
#include <string>

#include "data_files.h"
#include "evalmpi/data/dataset.h"

namespace evalmpi::data {

// Whether the path of a reference is a file format: json, jsonl, csv, parquet, arrow, text.
bool is_format(const std::string& path);

// Keyword arguments that change what is read are known here; others that only steer downloads are passed over.
// FAILS: kBadInput naming one that is neither.
void check_kwargs(const DatasetReference& reference);

// The keyword argument as text; empty when it is absent. FAILS: kBadInput when it is of another kind.
std::string text_kwarg(const DatasetReference& reference, const char* key);

// Whether the folder holds the Python script that makes the dataset org/name.
bool has_script(const std::filesystem::path& directory, const std::string& name);

// The splits with their files in a dataset's folder; none when it has no data files. FAILS: as load_split.
DatasetConfig resolve_folder(const std::filesystem::path& directory, const DatasetReference& reference,
                             const Json& data_files, const std::string& data_dir);

}  // namespace evalmpi::data
