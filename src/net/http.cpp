#include "evalmpi/net/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

namespace evalmpi::net {
namespace {

constexpr uint64_t kMaxHeaders = 200;
constexpr uint64_t kMaxHeaderBytes = 16384;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

std::string_view trimmed(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start == text.npos) return {};
  return text.substr(start, text.find_last_not_of(" \t\r\n") - start + 1);
}

// One exchange with one server; redirects are several.
struct Exchange {
  CURL* handle = nullptr;
  const HttpRequest* request = nullptr;
  const BodySink* sink = nullptr;
  HttpResponse response;
  std::map<std::string, std::string> own_headers;
  uint64_t body_bytes = 0;
  std::string refused;  // why the body was not taken
};

int status_of(CURL* handle) {
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

size_t take_header(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(data, size * count);
  const size_t colon = line.find(':');
  if (line.starts_with("HTTP/")) exchange.own_headers.clear();
  if (colon == line.npos || line.size() > kMaxHeaderBytes || exchange.own_headers.size() >= kMaxHeaders)
    return size * count;
  exchange.own_headers[lower(line.substr(0, colon))] = std::string(trimmed(line.substr(colon + 1)));
  return size * count;
}

size_t take_body(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view piece(data, size * count);
  const int status = status_of(exchange.handle);
  exchange.body_bytes += piece.size();
  if (exchange.body_bytes > exchange.request->max_body_bytes) {
    exchange.refused = fmt::format("the answer is longer than the {} bytes expected", exchange.request->max_body_bytes);
    return 0;
  }
  if (status >= 300 && status < 400) return piece.size();
  if (!(*exchange.sink)(status, piece)) {
    exchange.refused = "stopped";
    return 0;
  }
  return piece.size();
}

bool is_worth_a_retry(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
  }
}

// https://host:port of a URL, in lower case and with the port.
std::string origin_of(std::string_view url) {
  CURLU* parsed = curl_url();
  std::string out;
  if (curl_url_set(parsed, CURLUPART_URL, std::string(url).c_str(), 0) == CURLUE_OK) {
    for (const auto& [part, flags] : {std::pair{CURLUPART_SCHEME, 0u}, std::pair{CURLUPART_HOST, 0u},
                                      std::pair{CURLUPART_PORT, unsigned{CURLU_DEFAULT_PORT}}}) {
      char* text = nullptr;
      if (curl_url_get(parsed, part, &text, flags) == CURLUE_OK) out += lower(text) + " ";
      curl_free(text);
    }
  }
  curl_url_cleanup(parsed);
  return out;
}

bool is_https(std::string_view url) { return lower(url.substr(0, 8)) == "https://"; }

}  // namespace

struct HttpClient::State {
  HttpLimits limits;
  CURL* handle = nullptr;
};

HttpClient::HttpClient(HttpLimits limits) : state_(std::make_unique<State>()) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  state_->limits = limits;
  state_->handle = curl_easy_init();
  if (state_->handle == nullptr) fail(ExitCode::kInternal, "libcurl cannot be started");
}

HttpClient::~HttpClient() { curl_easy_cleanup(state_->handle); }

namespace {

void set_up(Exchange& exchange, const HttpLimits& limits, const std::string& url, curl_slist* headers) {
  CURL* handle = exchange.handle;
  curl_easy_reset(handle);
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "evalmpi/0.1.0");
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, static_cast<long>(limits.connect_timeout.count()));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(limits.stall_timeout.count()));
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 262144L);
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
  // A company's own certificates, under the names that Python's tools use.
  for (const char* name : {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (const char* bundle = std::getenv(name); bundle != nullptr && *bundle != '\0') {
      curl_easy_setopt(handle, CURLOPT_CAINFO, bundle);
      break;
    }
  }
}

// Sends the request to one URL; returns where it is redirected to, or "".
std::string send_once(Exchange& exchange, const HttpLimits& limits, const std::string& url, bool with_token) {
  curl_slist* headers = curl_slist_append(nullptr, "Accept-Encoding: identity");
  const HttpRequest& request = *exchange.request;
  if (with_token && !request.token.empty()) {
    headers = curl_slist_append(headers, ("Authorization: Bearer " + request.token).c_str());
  }
  if (request.from_byte > 0) {
    headers = curl_slist_append(headers, fmt::format("Range: bytes={}-", request.from_byte).c_str());
  }
  set_up(exchange, limits, url, headers);
  exchange.own_headers.clear();
  exchange.body_bytes = 0;
  const CURLcode code = curl_easy_perform(exchange.handle);
  curl_slist_free_all(headers);
  HttpResponse& response = exchange.response;
  response.status = status_of(exchange.handle);
  // What the first server says of the file (X-Linked-Etag) is kept; the storage behind it names things its own way.
  response.headers.insert(exchange.own_headers.begin(), exchange.own_headers.end());
  if (code != CURLE_OK) {
    response.problem = exchange.refused.empty() ? curl_easy_strerror(code) : exchange.refused;
    response.can_retry = !exchange.refused.empty() ? exchange.refused != "stopped" : is_worth_a_retry(code);
    return "";
  }
  char* location = nullptr;
  curl_easy_getinfo(exchange.handle, CURLINFO_REDIRECT_URL, &location);
  return location != nullptr && response.status >= 300 && response.status < 400 ? location : "";
}

}  // namespace

HttpResponse HttpClient::send(const HttpRequest& request, const BodySink& sink) {
  Exchange exchange;
  exchange.handle = state_->handle;
  exchange.request = &request;
  exchange.sink = &sink;
  std::string url = request.url;
  for (int redirects = 0;; ++redirects) {
    const std::string next = send_once(exchange, state_->limits, url, same_origin(url, request.url));
    HttpResponse& response = exchange.response;
    if (next.empty()) {
      if (response.problem.empty() && response.status >= 300 && response.status < 400) {
        response.problem = fmt::format("status {} without a place to go to", response.status);
      }
      if (response.status == 408 || response.status == 429 || response.status >= 500) response.can_retry = true;
      if (const auto wait = exchange.own_headers.find("retry-after"); wait != exchange.own_headers.end()) {
        response.retry_after_seconds = std::clamp(std::atof(wait->second.c_str()), 0.0, 300.0);
      }
      return std::move(response);
    }
    if (redirects == state_->limits.redirects) {
      response.problem = fmt::format("more than {} redirects", state_->limits.redirects);
      return std::move(response);
    }
    if (is_https(url) && !is_https(next)) {
      response.problem = fmt::format("a redirect to {}, which is not encrypted", shown_url(next));
      return std::move(response);
    }
    url = next;
  }
}

std::string shown_url(std::string_view url) {
  std::string_view bare = url.substr(0, url.find_first_of("?#"));
  const size_t start = bare.find("://");
  if (start == bare.npos) return std::string(bare);
  const std::string_view rest = bare.substr(start + 3);
  const size_t at = rest.substr(0, rest.find('/')).rfind('@');
  return std::string(bare.substr(0, start + 3)) + std::string(at == rest.npos ? rest : rest.substr(at + 1));
}

std::string url_encode(std::string_view text, std::string_view kept) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~' || kept.find(c) != kept.npos;
    if (plain) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

bool same_origin(std::string_view a, std::string_view b) {
  const std::string origin = origin_of(a);
  return !origin.empty() && origin == origin_of(b);
}

}  // namespace evalmpi::net
