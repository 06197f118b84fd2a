#pragma once

// Datasets on disk, found and read as Hugging Face's `datasets.load_dataset` would, without the network.
//
// A dataset `org/name` is looked for, in this order, as
//   ROOT/org/name for every ROOT of DataRoots::roots (a copy of the repository's files),
//   the hub cache (base/hub_cache.h): the snapshot of refs/main, or of kwargs.revision; where that holds no data files
//   but a Python script, the hub's own Parquet copy (refs/convert/parquet),
//   what `datasets` prepared: HF_DATASETS_CACHE/org___name/<config>/<version>/<hash>/name-<split>.arrow.
// A folder may also be what save_to_disk wrote. A path that is a local directory (absolute, or relative to base_dir) is
// taken as it is, and the paths json, jsonl, csv, parquet, arrow and text are file formats whose files
// `kwargs.data_files` names.
//
// The files of a split are those that README.md's front matter (`configs:`) names for the config, else those that
// the default patterns of `datasets` find: data/train-00000-of-00002.parquet, train.jsonl, <folder>/test.csv ...

#include <filesystem>
#include <string>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi::data {

struct DataRoots {
  std::vector<std::filesystem::path> roots;  // --data-root DIR, highest priority first
};

struct DatasetReference {
  std::string path;                // dataset_path: org/name, a local directory, or json|csv|parquet|arrow|text
  std::string name;                // dataset_name: the config; empty for the default one
  Json kwargs = Json::object();    // dataset_kwargs: data_files, data_dir, revision, and those of read_table
  std::filesystem::path base_dir;  // folder of the task file, for relative data_files and directories
};

// The rows of one split, in file order. Each row is an object whose keys are `columns` in order; values are what
// `datasets` gives Python: string, int64, float, bool, list, object, null; a ClassLabel is its integer. What Json has
// no kind for is the text that Python's str() makes of it, and so what a template prints: "2024-02-29 12:30:00" of a
// datetime, "1.50" of a Decimal, "b'\\x00'" of bytes. A map is a list of pairs.
struct Split {
  std::vector<std::string> columns;
  std::vector<Json> rows;
  std::string source;  // the files read, for people, joined by ", "
};

// Reads one split. FAILS: kMissingInput when the dataset is nowhere (with every place searched and the remedy),
// or has no such config or split (with those there are); kBadInput when a file is damaged or its rows do not fit
// one another (with file and line or column); kIo.
Split load_split(const DatasetReference& reference, const std::string& split_name, const DataRoots& roots);

// The splits there are, in the order of the dataset's description, else train, validation, test.
// FAILS: kMissingInput, kBadInput as load_split, without reading rows.
std::vector<std::string> split_names(const DatasetReference& reference, const DataRoots& roots);

}  // namespace evalmpi::data
