#include <cstdlib>
#include <string>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/model/spec.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path hub_cache() {
  if (const std::string cache = environment("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = environment("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) {
    return fs::path(cache) / "huggingface" / "hub";
  }
  return fs::path(environment("HOME")) / ".cache" / "huggingface" / "hub";
}

// "name" or "org/name" of letters, digits, '-', '_' and '.', as the hub allows.
bool is_hub_id(std::string_view name) {
  size_t slashes = 0;
  for (const char c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (c == '/') ++slashes;
    if (!plain && c != '/') return false;
  }
  return !name.empty() && name.size() <= 200 && slashes <= 1 && name.front() != '/' && name.back() != '/' &&
         name.front() != '.' && name.find("..") == std::string_view::npos;
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

fs::path resolve_model_folder(std::string_view name) {
  const fs::path folder{std::string(name)};
  if (fs::is_directory(folder)) return folder;
  if (fs::is_regular_file(folder)) {
    fail(ExitCode::kBadInput, "{}: a file{}; a model is a folder with config.json, *.safetensors and tokenizer.json",
         name, name.ends_with(".gguf") ? " in GGUF, the format of llama.cpp, which is not supported" : "");
  }
  if (!is_hub_id(name)) {
    fail(ExitCode::kMissingInput, "{}: no such folder, and not the id of a model on the Hugging Face hub (ORG/NAME)",
         name);
  }
  std::string cached = "models--";
  for (const char c : name) cached += c == '/' ? "--" : std::string(1, c);
  const fs::path root = hub_cache() / cached;
  const fs::path main = root / "refs" / "main";
  if (!fs::exists(main)) {
    fail(ExitCode::kMissingInput,
         "{}: no such folder, and not in the Hugging Face cache (looked for {}). Download it with `hf download {}`, "
         "or set HF_HOME to the cache that holds it",
         name, main.string(), name);
  }
  const fs::path snapshot = safe_path(root / "snapshots", trimmed(read_file(main, 1000)));
  if (!fs::is_directory(snapshot)) {
    fail(ExitCode::kMissingInput, "{}: the Hugging Face cache names the snapshot {}, which does not exist", name,
         snapshot.string());
  }
  return snapshot;
}

}  // namespace evalmpi::model
