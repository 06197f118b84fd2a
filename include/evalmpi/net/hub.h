#pragma once

// Repositories of the Hugging Face hub (or a mirror of it) and their download into the hub cache (base/hub_cache.h).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "evalmpi/base/hub_cache.h"
#include "evalmpi/net/http.h"

namespace evalmpi::net {

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token;              // empty: none
  double first_wait_seconds = 1;  // before the second try; doubles up to 30 s
  int tries = 6;                  // of one request without any progress
  int parallel_files = 4;
  HttpLimits limits;
};

// Endpoint from HF_ENDPOINT; the token from HF_TOKEN, HUGGING_FACE_HUB_TOKEN, the file HF_TOKEN_PATH or
// hub_home()/token (none with HF_HUB_DISABLE_IMPLICIT_TOKEN=1). A token is not sent over http except to this machine.
// FAILS: kUsage when HF_ENDPOINT is no URL or the token has characters that none has; kUnavailable when
// HF_HUB_OFFLINE=1.
HubOptions hub_options();

struct RemoteFile {
  std::string path;  // in the repository
  uint64_t size_bytes = 0;
  std::string etag;  // the blob's name: SHA-256 of a large file (64 digits), git's SHA-1 of a small one (40)
};

struct Repository {
  RepositoryKind kind = RepositoryKind::kModel;
  std::string id;        // org/name
  std::string revision;  // as asked for: main
  std::string commit;
  std::vector<RemoteFile> files;

  const RemoteFile* find(std::string_view path) const;
};

// Asks the hub what the repository holds: GET /api/models/ID/revision/REV?blobs=true.
// FAILS: kMissingInput when there is no such repository or revision; kUnavailable when it may not be read (with what to
// do: accept the licence, set HF_TOKEN), when the hub cannot be reached or goes on failing; kBadInput when its answer
// is not what the hub gives.
Repository list_repository(const HubOptions& options, RepositoryKind kind, const std::string& id,
                           const std::string& revision);

// The bytes of a small file, compared with its hash. FAILS: as download; kBadInput above 64 MiB.
std::string fetch_text(const HubOptions& options, const Repository& repository, const RemoteFile& file);

// What a download has come to; called from one thread at a time, at least once a second.
struct Progress {
  uint64_t done_bytes = 0;  // of all files, those that were there included
  uint64_t total_bytes = 0;
  uint64_t fetched_bytes = 0;  // by this call
  int done_files = 0;
  int total_files = 0;
  double seconds = 0;
};
using ProgressReport = std::function<void(const Progress&)>;

// Bytes of `file` that a download would still fetch: 0 when its blob is there, less when a part is.
uint64_t missing_bytes(const Repository& repository, const RemoteFile& file);

// Brings the files into the cache, several at a time: blobs/<etag>.incomplete, continued where an earlier attempt
// ended, compared with size and hash, renamed to blobs/<etag>, linked from snapshots/<commit>/<path>. When all are
// there, refs/<revision> is written if `publish`. Returns the snapshot's folder. Locks as huggingface_hub does.
// FAILS: kUnavailable, kMissingInput as list_repository; kBadInput when a file goes on not matching its hash;
// kCannotWrite; kIo (disk full, also before the start when the space cannot suffice). What was fetched stays.
std::filesystem::path download(const HubOptions& options, const Repository& repository,
                               const std::vector<RemoteFile>& files, bool publish, const ProgressReport& report);

}  // namespace evalmpi::net
