#pragma once

// What listing and downloading share: when to try again, and what to say in the end.

#include <string>
#include <string_view>

#include "evalmpi/net/hub.h"

namespace evalmpi::net {

// Whether the text is a hash in lower-case hexadecimal, as blobs are named: 40 or 64 digits.
bool is_etag(std::string_view text);

// The name that git gives a file of these bytes: the SHA-1 of "blob <size>\0" and them, as 40 lower-case hex digits.
std::string git_blob_hash_hex(std::string_view bytes);

// Counts the tries of one request and waits between them: first_wait_seconds, twice that, ... up to 30 seconds, or what
// the server asked for.
class Patience {
 public:
  explicit Patience(const HubOptions& options) : options_(options) {}
  // False when no try is left; else waits.
  bool wait(const HttpResponse& response);
  // Something was gained: the count starts anew.
  void renew() { failures_ = 0; }

 private:
  const HubOptions& options_;
  int failures_ = 0;
};

// Where a file of the repository is: ENDPOINT/[datasets/]ID/resolve/COMMIT/PATH.
std::string file_url(const HubOptions& options, const Repository& repository, const RemoteFile& file);

// Whether the bytes have the hash that the blob is named by.
bool has_hash(std::string_view bytes, std::string_view etag);

// Says why a request for the repository failed and what to do. FAILS: always, with the code that hub.h gives.
[[noreturn]] void fail_request(const HubOptions& options, RepositoryKind kind, const std::string& id,
                               const std::string& url, const HttpResponse& response, const std::string& revision);

}  // namespace evalmpi::net
