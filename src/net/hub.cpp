#include "evalmpi/net/hub.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "evalmpi/base/file.h"
#include "evalmpi/base/json.h"
#include "exchange.h"

namespace evalmpi::net {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxAnswerBytes = uint64_t{128} << 20;
constexpr uint64_t kMaxTextBytes = uint64_t{64} << 20;
constexpr size_t kMaxFiles = 200'000;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_set(const char* name) {
  const std::string value = environment(name);
  return value == "1" || value == "true" || value == "TRUE" || value == "True" || value == "yes" || value == "on" ||
         value == "YES" || value == "ON";
}

std::string trimmed(std::string text) {
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start == text.npos) return "";
  return text.substr(start, text.find_last_not_of(" \t\r\n") - start + 1);
}

std::string find_token() {
  if (is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return "";
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (std::string token = trimmed(environment(name)); !token.empty()) return token;
  }
  const std::string path = environment("HF_TOKEN_PATH");
  const fs::path file = path.empty() ? hub_home() / "token" : fs::path(path);
  std::error_code error;
  return fs::is_regular_file(file, error) ? trimmed(read_file(file, 4096)) : "";
}

bool is_here(const std::string& endpoint) {
  for (const char* host : {"http://127.0.0.1", "http://localhost", "http://[::1]"}) {
    if (same_origin(endpoint.substr(0, endpoint.find_first_of(":/", 8)), host)) return true;
  }
  return false;
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

RemoteFile file_of(const Json& entry, const std::string& where) {
  if (!entry.is_object()) fail(ExitCode::kBadInput, "{}: a file's entry is not an object", where);
  RemoteFile file;
  file.path = text_of(entry, "rfilename");
  // The path becomes one on this disk; it must be below the snapshot.
  safe_path("snapshot", file.path, true);
  file.etag = text_of(entry, "blobId");
  const Json size = entry.value("size", Json());
  if (size.is_number_unsigned()) file.size_bytes = size.get<uint64_t>();
  const Json large = entry.value("lfs", Json());
  if (large.is_object() && !text_of(large, "sha256").empty()) {
    file.etag = text_of(large, "sha256");
    const Json large_size = large.value("size", Json());
    if (large_size.is_number_unsigned()) file.size_bytes = large_size.get<uint64_t>();
  }
  if (!size.is_number_unsigned() || !is_etag(file.etag)) {
    fail(ExitCode::kBadInput, "{}: size or hash of {} is missing or no such thing", where, file.path);
  }
  return file;
}

// The whole body of a small answer.
std::string get(const HubOptions& options, const Repository& repository, const std::string& url, uint64_t max_bytes) {
  HttpClient client(options.limits);
  Patience patience(options);
  for (;;) {
    std::string body;
    const HttpResponse response = client.send({url, options.token, 0, max_bytes}, [&](int, std::string_view piece) {
      body += piece;
      return true;
    });
    if (response.ok()) return body;
    if (!response.can_retry || !patience.wait(response)) {
      fail_request(options, repository.kind, repository.id, url, response, repository.revision);
    }
  }
}

}  // namespace

HubOptions hub_options() {
  if (is_set("HF_HUB_OFFLINE")) {
    fail(ExitCode::kUnavailable, "HF_HUB_OFFLINE is set, so nothing is fetched; unset it to fetch");
  }
  HubOptions options;
  if (std::string endpoint = environment("HF_ENDPOINT"); !endpoint.empty()) {
    while (endpoint.ends_with('/')) endpoint.pop_back();
    options.endpoint = endpoint;
  }
  const bool encrypted = options.endpoint.starts_with("https://");
  if (!encrypted && !options.endpoint.starts_with("http://")) {
    fail(ExitCode::kUsage, "HF_ENDPOINT={}: expected https://HOST", shown_url(options.endpoint));
  }
  if (encrypted || is_here(options.endpoint)) options.token = find_token();
  const auto is_plain = [](unsigned char c) { return c > 32 && c < 127; };
  if (!std::all_of(options.token.begin(), options.token.end(), is_plain)) {
    fail(ExitCode::kUsage, "the Hugging Face token (HF_TOKEN, or the file {}) holds spaces or control characters",
         (hub_home() / "token").string());
  }
  return options;
}

const RemoteFile* Repository::find(std::string_view path) const {
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const RemoteFile& file) { return file.path == path; });
  return found == files.end() ? nullptr : &*found;
}

Repository list_repository(const HubOptions& options, RepositoryKind kind, const std::string& id,
                           const std::string& revision) {
  if (!is_repository_id(id)) fail(ExitCode::kUsage, "{}: not the id of a repository on the hub (ORG/NAME)", id);
  if (!is_revision(revision)) fail(ExitCode::kUsage, "{}: not a branch, tag or commit", revision);
  const std::string url = fmt::format("{}/api/{}/{}/revision/{}?blobs=true", options.endpoint,
                                      kind == RepositoryKind::kModel ? "models" : "datasets", id, url_encode(revision));
  const std::string body = get(options, {kind, id, revision, "", {}}, url, kMaxAnswerBytes);
  const std::string where = shown_url(url);
  const Json answer = parse_json(body, where);
  Repository repository{kind, id, revision, answer.is_object() ? text_of(answer, "sha") : "", {}};
  const bool is_commit = repository.commit.size() == 40 && is_etag(repository.commit);
  const Json files = answer.is_object() ? answer.value("siblings", Json()) : Json();
  if (!is_commit || !files.is_array() || files.size() > kMaxFiles) {
    fail(ExitCode::kBadInput, "{}: not the answer of a Hugging Face hub (it lacks the commit or the list of files)",
         where);
  }
  for (const Json& entry : files) repository.files.push_back(file_of(entry, where));
  return repository;
}

std::string fetch_text(const HubOptions& options, const Repository& repository, const RemoteFile& file) {
  const std::string url = file_url(options, repository, file);
  if (file.size_bytes > kMaxTextBytes) {
    fail(ExitCode::kBadInput, "{}: {} bytes, more than such a file has", shown_url(url), file.size_bytes);
  }
  for (int tries = 0; tries < 3; ++tries) {
    std::string bytes = get(options, repository, url, kMaxTextBytes);
    if (bytes.size() == file.size_bytes && has_hash(bytes, file.etag)) return bytes;
  }
  fail(ExitCode::kBadInput, "{}: what the server sends does not have the hash {} (3 tries)", shown_url(url), file.etag);
}

}  // namespace evalmpi::net
