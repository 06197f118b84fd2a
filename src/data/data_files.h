#pragma once

// Which files belong to which split, as `datasets` decides it.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::data {

struct SplitFiles {
  std::string split;
  std::vector<std::filesystem::path> files;
};

// One config of a dataset's README.md front matter, or the only one of a dataset without.
struct DatasetConfig {
  std::string name;
  std::vector<SplitFiles> splits;
  Json reader_kwargs = Json::object();  // sep, column_names ... for the readers
  Json features;                        // dataset_info's features list, or null
};

// Whether fsspec's glob `pattern` matches the relative path: * and ? inside a part, [..], ** over parts.
bool glob_matches(std::string_view pattern, std::string_view path);

// The files below `base` that `pattern` matches (relative to base, or absolute), sorted by path. Hidden files and
// README.md, config.json and the like are left out unless the pattern names them.
std::vector<std::filesystem::path> resolve_pattern(const std::filesystem::path& base, const std::string& pattern);

// `data_files` as users write it (text, list, object, or list of {split, path}) to files; patterns without a match
// give none. FAILS: kBadInput when the form is another, naming `where`.
std::vector<SplitFiles> resolve_data_files(const std::filesystem::path& base, const Json& data_files,
                                           const std::string& where);

// The splits that the default patterns find below `base`; empty when there are no data files.
std::vector<SplitFiles> default_splits(const std::filesystem::path& base);

// The names of the configs that README.md's front matter lists. FAILS: kBadInput when it is damaged.
std::vector<std::string> config_names(const std::filesystem::path& directory);

// The config `name` (empty: the default one) of the dataset in `directory`. FAILS: kMissingInput naming the configs
// there are; kBadInput when README.md's front matter is damaged.
DatasetConfig read_config(const std::filesystem::path& directory, const std::string& name);

}  // namespace evalmpi::data
