#include "evalmpi/base/hub_cache.h"

#include <algorithm>
#include <cstdlib>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"

namespace evalmpi {
namespace fs = std::filesystem;
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The path in a variable, with a leading ~ as the home folder.
std::optional<fs::path> path_in(const char* name) {
  const std::string value = environment(name);
  if (value.empty()) return {};
  if (value == "~" || value.starts_with("~/")) return fs::path(environment("HOME") + value.substr(1));
  return value;
}

bool is_plain(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

}  // namespace

fs::path hub_home() {
  if (const auto home = path_in("HF_HOME")) return *home;
  if (const auto cache = path_in("XDG_CACHE_HOME")) return *cache / "huggingface";
  return fs::path(environment("HOME")) / ".cache" / "huggingface";
}

fs::path hub_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const auto cache = path_in(name)) return *cache;
  }
  return hub_home() / "hub";
}

fs::path prepared_datasets_cache() {
  if (const auto cache = path_in("HF_DATASETS_CACHE")) return *cache;
  return hub_home() / "datasets";
}

bool is_repository_id(std::string_view id) {
  const bool legal = std::all_of(id.begin(), id.end(), [](unsigned char c) { return c == '/' || is_plain(c); });
  return legal && !id.empty() && id.size() <= 200 && std::count(id.begin(), id.end(), '/') <= 1 && id.front() != '/' &&
         id.back() != '/' && id.front() != '.' && id.find("..") == id.npos && id.find("--") == id.npos;
}

bool is_revision(std::string_view revision) {
  const bool legal = std::all_of(revision.begin(), revision.end(),
                                 [](unsigned char c) { return c == '/' || c == '+' || is_plain(c); });
  return legal && !revision.empty() && revision.size() <= 200 && revision.front() != '/' && revision.back() != '/' &&
         revision.find("..") == revision.npos && revision.find("//") == revision.npos;
}

fs::path repository_folder(RepositoryKind kind, std::string_view id) {
  std::string name = kind == RepositoryKind::kModel ? "models--" : "datasets--";
  for (const char c : id) name += c == '/' ? "--" : std::string(1, c);
  return hub_cache() / name;
}

std::optional<std::string> cached_commit(RepositoryKind kind, std::string_view id, std::string_view revision) {
  const fs::path ref = repository_folder(kind, id) / "refs" / std::string(revision);
  std::error_code error;
  if (!is_revision(revision) || !fs::is_regular_file(ref, error)) return {};
  std::string commit = read_file(ref, 4096);
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r' || commit.back() == ' ')) commit.pop_back();
  if (!is_revision(commit) || commit.find('/') != commit.npos) {
    fail(ExitCode::kBadInput, "{}: \"{}\" is not a commit", ref.string(), commit.substr(0, 80));
  }
  return commit;
}

std::optional<fs::path> cached_snapshot(RepositoryKind kind, std::string_view id, std::string_view revision) {
  const std::string wanted(revision.empty() ? "main" : revision);
  if (!is_repository_id(id) || !is_revision(wanted)) return {};
  const fs::path repository = repository_folder(kind, id);
  std::error_code error;
  if (fs::is_directory(repository / "snapshots" / wanted, error)) return repository / "snapshots" / wanted;
  const auto commit = cached_commit(kind, id, wanted);
  if (!commit || !fs::is_directory(repository / "snapshots" / *commit, error)) return {};
  return repository / "snapshots" / *commit;
}

}  // namespace evalmpi
