#include <string>

#include "evalmpi/base/error.h"
#include "evalmpi/base/hub_cache.h"
#include "evalmpi/model/spec.h"

namespace evalmpi::model {
namespace fs = std::filesystem;

fs::path resolve_model_folder(std::string_view name) {
  const fs::path folder{std::string(name)};
  if (fs::is_directory(folder)) return folder;
  if (fs::is_regular_file(folder)) {
    fail(ExitCode::kBadInput, "{}: a file{}; a model is a folder with config.json, *.safetensors and tokenizer.json",
         name, name.ends_with(".gguf") ? " in GGUF, the format of llama.cpp, which is not supported" : "");
  }
  if (!is_repository_id(name)) {
    fail(ExitCode::kMissingInput, "{}: no such folder, and not the id of a model on the Hugging Face hub (ORG/NAME)",
         name);
  }
  if (const auto snapshot = cached_snapshot(RepositoryKind::kModel, name)) return *snapshot;
  if (const auto commit = cached_commit(RepositoryKind::kModel, name, "main")) {
    fail(ExitCode::kMissingInput, "{}: the Hugging Face cache names the snapshot {}, which does not exist in {}", name,
         *commit, repository_folder(RepositoryKind::kModel, name).string());
  }
  fail(ExitCode::kMissingInput,
       "{}: no such folder, and not in the Hugging Face cache (looked for refs/main and its snapshot in {}). Download "
       "it with `evalmpi fetch {}`, or set HF_HOME to the cache that holds it",
       name, repository_folder(RepositoryKind::kModel, name).string(), name);
}

}  // namespace evalmpi::model
