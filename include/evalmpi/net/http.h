#pragma once

// HTTP GET over libcurl, for downloads: one request at a time per client, redirects, time limits, a token that
// stays with the server it is for. TLS certificates are always verified; proxies come from the environment as curl
// reads them (https_proxy, no_proxy).

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "evalmpi/base/error.h"

namespace evalmpi::net {

struct HttpLimits {
  std::chrono::seconds connect_timeout{20};
  std::chrono::seconds stall_timeout{60};  // no byte for so long ends the request
  int redirects = 10;
};

struct HttpRequest {
  std::string url;              // http or https
  std::string token;            // sent as "Authorization: Bearer" to the url's own scheme, host and port only
  uint64_t from_byte = 0;       // above 0: "Range: bytes=N-"
  uint64_t max_body_bytes = 0;  // a longer body ends the request
};

// What came back. A request that could not be carried out, or was cut off, has a non-empty `problem`.
struct HttpResponse {
  int status = 0;                              // 0: no answer
  std::map<std::string, std::string> headers;  // names in lower case; of all redirects, the earliest of a name
  std::string problem;                         // "could not connect to host", without secrets
  bool can_retry = false;                      // whether the problem may be gone at the next try (also 408, 429, 5xx)
  double retry_after_seconds = 0;              // what the server asked for

  bool ok() const { return problem.empty() && status >= 200 && status < 300; }
};

// Takes the body piece by piece, after the status is known; false ends the request.
using BodySink = std::function<bool(int status, std::string_view piece)>;

// A connection that is kept for the next request; for one thread at a time.
class HttpClient {
 public:
  explicit HttpClient(HttpLimits limits = {});
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();

  // Follows redirects, but not from https to http. What `sink` is given is the body of the last answer only. Never
  // throws for what the network does.
  HttpResponse send(const HttpRequest& request, const BodySink& sink);

  struct State;

 private:
  std::unique_ptr<State> state_;
};

// The URL without user, password, query and fragment, for messages.
std::string shown_url(std::string_view url);

// `text` with everything but letters, digits, '-', '_', '.', '~' and the characters of `kept` as %XX.
std::string url_encode(std::string_view text, std::string_view kept = "");

// Whether two URLs have the same scheme, host and port.
bool same_origin(std::string_view a, std::string_view b);

}  // namespace evalmpi::net
