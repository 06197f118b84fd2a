#include "evalmpi/data/remote_files.h"

#include <stdlib.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "data_files.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/hub_cache.h"
#include "resolve.h"
#include "saved.h"

namespace evalmpi::data {
namespace {

namespace fs = std::filesystem;

// A folder of empty files that are named as the repository's, so that the rules for folders hold for it too.
class Skeleton {
 public:
  Skeleton(const std::vector<std::string>& listing, const std::string& readme) {
    std::string name = (fs::temp_directory_path() / "evalmpi-files-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) fail(ExitCode::kCannotWrite, "{}: cannot create a folder", name);
    folder_ = name;
    std::error_code error;
    for (const std::string& path : listing) {
      const fs::path file = safe_path(folder_, path, true);
      fs::create_directories(file.parent_path(), error);
      std::ofstream(file) << (path == "README.md" ? readme : "");
      if (!fs::exists(file, error)) fail(ExitCode::kIo, "{}: cannot create", file.string());
    }
  }
  Skeleton(const Skeleton&) = delete;
  Skeleton& operator=(const Skeleton&) = delete;
  ~Skeleton() {
    std::error_code error;
    fs::remove_all(folder_, error);
  }
  const fs::path& folder() const { return folder_; }

  void add(const DatasetConfig& config) {
    for (const SplitFiles& split : config.splits) {
      for (const fs::path& file : split.files) files_.insert(file.lexically_relative(folder_).generic_string());
    }
  }
  std::vector<std::string> files() const { return {files_.begin(), files_.end()}; }

 private:
  fs::path folder_;
  std::set<std::string> files_;
};

// hf://datasets/org/name[@revision]/path: sets repository and revision and gives the path.
std::string below_repository(const std::string& url, HubDataset& dataset) {
  constexpr std::string_view kScheme = "hf://datasets/";
  const std::string rest = url.substr(kScheme.size());
  const size_t slash = rest.find('/');
  const size_t end = slash == rest.npos ? rest.npos : rest.find('/', slash + 1);
  if (end == rest.npos) return "";
  dataset.id = rest.substr(0, end);
  if (const size_t at = dataset.id.find('@'); at != dataset.id.npos) {
    dataset.revision = dataset.id.substr(at + 1);
    dataset.id.resize(at);
  }
  return rest.substr(end + 1);
}

Json without_urls(const Json& data_files, HubDataset& dataset) {
  if (data_files.is_string() && data_files.get_ref<const std::string&>().starts_with("hf://datasets/")) {
    return below_repository(data_files.get<std::string>(), dataset);
  }
  Json out = data_files;
  if (data_files.is_structured()) {
    for (Json& item : out) item = without_urls(item, dataset);
  }
  return out;
}

}  // namespace

std::optional<HubDataset> hub_dataset(const DatasetReference& reference) {
  check_kwargs(reference);
  HubDataset out;
  out.name = reference.name;
  out.data_dir = text_kwarg(reference, "data_dir");
  out.data_files = without_urls(reference.kwargs.value("data_files", Json()), out);
  if (!out.id.empty()) {
    if (out.revision.empty()) out.revision = "main";
    return out;
  }
  std::error_code error;
  const bool is_local = is_format(reference.path) || fs::path(reference.path).is_absolute() ||
                        fs::is_directory(reference.base_dir / reference.path, error) ||
                        fs::is_directory(reference.path, error) || !is_repository_id(reference.path);
  if (is_local) return {};
  out.id = reference.path;
  out.revision = text_kwarg(reference, "revision");
  if (out.revision.empty()) out.revision = "main";
  return out;
}

std::vector<std::string> needed_files(const HubDataset& dataset, const std::vector<std::string>& listing,
                                      const std::string& readme) {
  Skeleton skeleton(listing, readme);
  if (has_script(skeleton.folder(), dataset.id)) return {};
  std::vector<std::string> names = dataset.all_configs ? config_names(skeleton.folder()) : std::vector{dataset.name};
  if (names.empty()) names.emplace_back();
  for (const std::string& name : names) {
    DatasetReference reference;
    reference.path = dataset.id;
    reference.name = name;
    skeleton.add(resolve_folder(skeleton.folder(), reference, dataset.data_files, dataset.data_dir));
  }
  std::vector<std::string> files = skeleton.files();
  const bool has_readme = std::find(listing.begin(), listing.end(), "README.md") != listing.end();
  if (!files.empty() && has_readme) files.emplace_back("README.md");
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

std::vector<std::string> needed_export_files(const HubDataset& dataset, const std::vector<std::string>& listing) {
  Skeleton skeleton(listing, "");
  if (!dataset.all_configs) {
    skeleton.add(export_config(skeleton.folder(), dataset.name));
    return skeleton.files();
  }
  std::set<std::string> names;
  for (const std::string& path : listing) {
    if (std::count(path.begin(), path.end(), '/') == 2) names.insert(path.substr(0, path.find('/')));
  }
  for (const std::string& name : names) skeleton.add(export_config(skeleton.folder(), name));
  return skeleton.files();
}

}  // namespace evalmpi::data
