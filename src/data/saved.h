#pragma once

// Datasets that were written by programs: by `datasets` (save_to_disk, its cache of prepared datasets) and by the hub
// (the branch refs/convert/parquet of every repository).

#include <filesystem>
#include <optional>
#include <string>

#include "data_files.h"

namespace evalmpi::data {

// The dataset that save_to_disk wrote to the folder (dataset_dict.json with a folder per split, or state.json), or
// nothing when it is another folder. A dataset without splits is the split "train" unless it says its name.
// FAILS: kBadInput when a description is damaged.
std::optional<DatasetConfig> saved_config(const std::filesystem::path& directory);

// The newest copy of the dataset (org/name) in CACHE/org___name/<config>/<version>/<hash>, or nothing. Without a config
// name it is "default", else the only one. FAILS: kMissingInput naming the configs when there are several; kBadInput.
std::optional<DatasetConfig> prepared_config(const std::filesystem::path& cache, const std::string& dataset,
                                             const std::string& name);

// The config in a copy of the hub's Parquet branch: <config>/<split>/0000.parquet. Splits in the order train,
// validation, test, others. FAILS: kMissingInput naming the configs there are.
DatasetConfig export_config(const std::filesystem::path& directory, const std::string& name);

}  // namespace evalmpi::data
