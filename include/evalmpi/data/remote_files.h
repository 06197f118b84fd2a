#pragma once

// Which files of a repository on the hub a dataset needs, told from the repository's list before any file is here.

#include <optional>
#include <string>
#include <vector>

#include "evalmpi/data/dataset.h"

namespace evalmpi::data {

// The repository that a reference reads from the hub.
struct HubDataset {
  std::string id;        // org/name
  std::string revision;  // "main" unless the reference says another
  std::string name;      // config; empty: the default one
  Json data_files;       // null, or paths and patterns below the repository
  std::string data_dir;
  bool all_configs = false;  // instead of `name`
};

// Nothing when the reference is a local folder or names local files. A path that is no folder counts as a repository's.
// FAILS: kBadInput as load_split for keyword arguments.
std::optional<HubDataset> hub_dataset(const DatasetReference& reference);

// The paths of `listing` (the repository's files) that load_split will read for the dataset, README.md included,
// sorted; empty when there are no data files, or a Python script makes them. `readme` is README.md's text, or empty.
// FAILS: kMissingInput when there is no such config (with those there are); kBadInput when README.md is damaged.
std::vector<std::string> needed_files(const HubDataset& dataset, const std::vector<std::string>& listing,
                                      const std::string& readme);

// The same for the list of the branch refs/convert/parquet. FAILS: kMissingInput.
std::vector<std::string> needed_export_files(const HubDataset& dataset, const std::vector<std::string>& listing);

}  // namespace evalmpi::data
