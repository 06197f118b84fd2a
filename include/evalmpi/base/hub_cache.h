#pragma once

// The Hugging Face hub cache on disk, where huggingface_hub keeps it and as it lays it out:
//   CACHE/models--org--name or datasets--org--name
//     refs/<revision>              a text: the commit that the branch or tag stood at
//     snapshots/<commit>/<path>    a link to ../../blobs/<etag>
//     blobs/<etag>                 the bytes; the etag is the SHA-256 of a large file, the git hash of a small one

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace evalmpi {

enum class RepositoryKind { kModel, kDataset };

// HF_HOME, else XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface.
std::filesystem::path hub_home();

// HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else hub_home()/hub.
std::filesystem::path hub_cache();

// HF_DATASETS_CACHE, else hub_home()/datasets: where the library `datasets` keeps what it prepared.
std::filesystem::path prepared_datasets_cache();

// Whether the text is "name" or "org/name" as the hub allows it: letters, digits, '-', '_' and '.'.
bool is_repository_id(std::string_view id);

// Whether the text can name a branch, tag or commit: no "..", no empty part, at most 200 bytes.
bool is_revision(std::string_view revision);

// CACHE/models--org--name. `id` is a repository id.
std::filesystem::path repository_folder(RepositoryKind kind, std::string_view id);

// What refs/<revision> says, if there is such a file. FAILS: kBadInput when it holds no commit, kIo.
std::optional<std::string> cached_commit(RepositoryKind kind, std::string_view id, std::string_view revision);

// The folder of the snapshot that `revision` (a branch, tag or commit; empty: main) names, if it is there.
// FAILS: as cached_commit.
std::optional<std::filesystem::path> cached_snapshot(RepositoryKind kind, std::string_view id,
                                                     std::string_view revision = "");

}  // namespace evalmpi
