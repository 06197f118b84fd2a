#include "exchange.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "evalmpi/base/hash.h"
#include "evalmpi/base/log.h"

namespace evalmpi::net {

bool is_etag(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::string file_url(const HubOptions& options, const Repository& repository, const RemoteFile& file) {
  return fmt::format("{}{}{}/resolve/{}/{}", options.endpoint,
                     repository.kind == RepositoryKind::kModel ? "/" : "/datasets/", repository.id, repository.commit,
                     url_encode(file.path, "/"));
}

bool has_hash(std::string_view bytes, std::string_view etag) {
  return (etag.size() == 64 ? sha256_hex(bytes) : git_blob_hash_hex(bytes)) == etag;
}

bool Patience::wait(const HttpResponse& response) {
  if (++failures_ >= options_.tries) return false;
  const double backoff = std::min(30.0, options_.first_wait_seconds * std::pow(2.0, failures_ - 1));
  const double seconds = options_.first_wait_seconds > 0 ? std::max(backoff, response.retry_after_seconds) : 0;
  log::debug("try {} of {} in {:.0f} s: {}", failures_ + 1, options_.tries, seconds,
             response.problem.empty() ? fmt::format("status {}", response.status) : response.problem);
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  return true;
}

void fail_request(const HubOptions& options, RepositoryKind kind, const std::string& id, const std::string& url,
                  const HttpResponse& response, const std::string& revision) {
  const std::string where = shown_url(url);
  const char* kind_name = kind == RepositoryKind::kModel ? "model" : "dataset";
  const std::string page = options.endpoint + (kind == RepositoryKind::kModel ? "/" : "/datasets/") + id;
  const auto code = response.headers.find("x-error-code");
  const std::string error = code == response.headers.end() ? "" : code->second;
  const char* token = options.token.empty() ? "no token was sent" : "with the token that was sent";
  if (!response.problem.empty()) {
    fail(ExitCode::kUnavailable,
         "{}: {}. Is the network there? Proxies are taken from https_proxy; a mirror is named by "
         "HF_ENDPOINT",
         where, response.problem);
  }
  if (error == "GatedRepo" || response.status == 403) {
    fail(
        ExitCode::kUnavailable,
        "the {} {} is gated (status {}, {}): accept its licence on {} and set HF_TOKEN to a token of that account with "
        "read access",
        kind_name, id, response.status, token, page);
  }
  if (error == "RevisionNotFound")
    fail(ExitCode::kMissingInput, "the {} {} has no revision {}", kind_name, id, revision);
  if (error == "EntryNotFound") fail(ExitCode::kMissingInput, "{}: there is no such file", where);
  if (response.status == 401) {
    fail(ExitCode::kUnavailable,
         "the {} {} does not exist, or is private or gated (status 401, {}): check the name; accept its licence on {}; "
         "set HF_TOKEN",
         kind_name, id, token, page);
  }
  if (response.status == 404) {
    fail(ExitCode::kMissingInput, "there is no {} {} with revision {} at {} (status 404)", kind_name, id, revision,
         shown_url(options.endpoint));
  }
  fail(ExitCode::kUnavailable, "{}: status {}, after {} tries{}", where, response.status,
       response.can_retry ? options.tries : 1,
       response.status == 429 ? "; the hub limits requests: wait a while, or set HF_TOKEN" : "");
}

}  // namespace evalmpi::net
