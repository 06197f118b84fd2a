#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <iterator>

#include "data_files.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"

namespace evalmpi::data {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxReadmeBytes = uint64_t{16} << 20;
constexpr int kMaxDepth = 50;

// The YAML between the first line "---" and the next one; empty when there is none.
std::string front_matter(const std::string& readme) {
  const auto line_at = [&](size_t start) {
    const size_t end = readme.find('\n', start);
    std::string line = readme.substr(start, end == readme.npos ? readme.npos : end - start);
    if (line.ends_with('\r')) line.pop_back();
    return std::pair(line, end == readme.npos ? readme.size() : end + 1);
  };
  auto [first, position] = line_at(0);
  if (first != "---") return "";
  const size_t start = position;
  while (position < readme.size()) {
    const auto [line, next] = line_at(position);
    if (line == "---") return readme.substr(start, position - start);
    position = next;
  }
  return "";
}

// YAML as Json; every scalar stays text. `budget` bounds aliases' growth.
Json to_json(const YAML::Node& node, int depth, size_t& budget) {
  if (depth > kMaxDepth || budget-- == 0) throw YAML::Exception(node.Mark(), "nested too deeply or too large");
  if (node.IsScalar()) return node.Scalar();
  if (node.IsSequence()) {
    Json out = Json::array();
    for (const YAML::Node& item : node) out.push_back(to_json(item, depth + 1, budget));
    return out;
  }
  if (node.IsMap()) {
    Json out = Json::object();
    for (const auto& item : node) {
      if (item.first.IsScalar()) out[item.first.Scalar()] = to_json(item.second, depth + 1, budget);
    }
    return out;
  }
  return nullptr;
}

bool as_flag(const Json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return text == "true" || text == "True" || text == "TRUE" || text == "yes" || text == "on";
}

std::string config_name(const Json& config) {
  return config.is_object() && config.contains("config_name") && config["config_name"].is_string()
             ? config["config_name"].get<std::string>()
             : "";
}

// The objects of the front matter's list `key` (a single object counts as a list of one).
std::vector<Json> list_of(const Json& card, const std::string& key) {
  const auto found = card.find(key);
  if (found == card.end()) return {};
  if (found->is_object()) return {*found};
  std::vector<Json> objects;
  if (found->is_array()) {
    std::copy_if(found->begin(), found->end(), std::back_inserter(objects),
                 [](const Json& it) { return it.is_object(); });
  }
  return objects;
}

Json read_card(const fs::path& directory) {
  const fs::path readme = directory / "README.md";
  std::error_code error;
  if (!fs::is_regular_file(readme, error)) return Json::object();
  const std::string yaml = front_matter(read_file(readme, kMaxReadmeBytes));
  try {
    size_t budget = 1'000'000;
    Json card = to_json(YAML::Load(yaml), 0, budget);
    return card.is_object() ? card : Json::object();
  } catch (const YAML::Exception& problem) {
    fail(ExitCode::kBadInput, "{}: the YAML front matter cannot be read: {}", readme.string(), problem.what());
  }
}

// The index of the config asked for, or of the default one.
size_t choose_config(const std::vector<Json>& configs, const std::string& name, const fs::path& directory) {
  std::string names;
  for (size_t i = 0; i < configs.size(); ++i) {
    const std::string this_name = config_name(configs[i]);
    names += (names.empty() ? "" : ", ") + this_name;
    if (!name.empty() && this_name == name) return i;
  }
  if (!name.empty()) {
    fail(ExitCode::kMissingInput, "{}: the dataset has no config '{}'; it has {}", directory.string(), name, names);
  }
  for (size_t i = 0; i < configs.size(); ++i) {
    if (configs.size() == 1 || config_name(configs[i]) == "default" || as_flag(configs[i].value("default", Json())))
      return i;
  }
  fail(ExitCode::kMissingInput, "{}: the dataset has no default config; set dataset_name to one of {}",
       directory.string(), names);
}

// The features of the config in `dataset_info`, or null.
Json features_of(const Json& card, const std::string& name) {
  const std::vector<Json> infos = list_of(card, "dataset_info");
  for (const Json& info : infos) {
    const std::string info_name = config_name(info);
    if (info.contains("features") && (info_name == name || (info_name.empty() && infos.size() == 1)))
      return info["features"];
  }
  return nullptr;
}

// A copy without README may keep each config in a folder of its own.
DatasetConfig config_without_readme(const fs::path& directory, const std::string& name) {
  std::error_code error;
  const bool has_folder = !name.empty() && name.find_first_of("/\\") == name.npos && name != ".." &&
                          fs::is_directory(directory / name, error);
  DatasetConfig out;
  out.name = name.empty() ? "default" : name;
  if (has_folder) out.splits = default_splits(directory / name);
  if (out.splits.empty()) out.splits = default_splits(directory);
  return out;
}

}  // namespace

std::vector<std::string> config_names(const fs::path& directory) {
  std::vector<std::string> names;
  for (const Json& config : list_of(read_card(directory), "configs")) names.push_back(config_name(config));
  return names;
}

DatasetConfig read_config(const fs::path& directory, const std::string& name) {
  const Json card = read_card(directory);
  const std::vector<Json> configs = list_of(card, "configs");
  if (configs.empty()) {
    DatasetConfig out = config_without_readme(directory, name);
    out.features = features_of(card, name.empty() ? "default" : name);
    return out;
  }
  const Json& config = configs[choose_config(configs, name, directory)];
  DatasetConfig out;
  out.name = config_name(config);
  out.features = features_of(card, out.name);
  fs::path base = directory;
  if (config.contains("data_dir") && config["data_dir"].is_string()) {
    base = safe_path(directory, config["data_dir"].get<std::string>(), true);
  }
  for (const char* key : {"sep", "delimiter", "column_names", "names", "field", "sample_by", "keep_linebreaks"}) {
    if (config.contains(key)) out.reader_kwargs[key] = config[key];
  }
  const std::string where = (directory / "README.md").string();
  out.splits =
      config.contains("data_files") ? resolve_data_files(base, config["data_files"], where) : default_splits(base);
  std::erase_if(out.splits, [](const SplitFiles& split) { return split.files.empty(); });
  for (const SplitFiles& split : out.splits) {
    for (const fs::path& file : split.files) {
      const fs::path relative = file.lexically_normal().lexically_relative(directory.lexically_normal());
      if (relative.empty() || *relative.begin() == "..") {
        fail(ExitCode::kBadInput, "{}: data_files name '{}', which is outside of the dataset", where, file.string());
      }
    }
  }
  return out;
}

}  // namespace evalmpi::data
