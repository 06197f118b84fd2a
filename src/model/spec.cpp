#include "evalmpi/model/spec.h"

#include <algorithm>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "config_reader.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "families.h"
#include "other_formats.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// Levenshtein's distance.
size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

std::vector<std::string> nearest_architectures(const std::string& name, size_t count) {
  std::vector<std::string> names = supported_architectures();
  const std::string bounded = name.substr(0, 200);
  std::stable_sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    return edits_between(a, bounded) < edits_between(b, bounded);
  });
  names.resize(std::min(count, names.size()));
  return names;
}

// By architectures[0]; by model_type where a config.json names no architecture.
const FamilyReader& find_family(const ConfigReader& config) {
  std::string architecture;
  if (config.has("architectures") && config.raw("architectures").is_array() && !config.raw("architectures").empty() &&
      config.raw("architectures")[0].is_string()) {
    architecture = config.raw("architectures")[0].get<std::string>();
  }
  const std::string model_type = config.text_or("model_type", "");
  for (const FamilyReader& family : family_readers()) {
    if (architecture.empty() ? model_type == family.model_type : architecture == family.architecture) return family;
  }
  const std::string name = architecture.empty() ? model_type : architecture;
  fail(ExitCode::kBadInput, "{}: the architecture \"{}\" is not supported. Of the {} that are, the nearest are: {}.",
       config.where(), name, family_readers().size(), joined(nearest_architectures(name, 4)));
}

DType read_source_dtype(const ConfigReader& config) {
  const std::string name = config.text_or("dtype", config.text_or("torch_dtype", "float32").c_str());
  if (name == "bfloat16") return DType::kBFloat16;
  if (name == "float16") return DType::kFloat16;
  return DType::kFloat32;
}

// An id, a list of ids, or nothing.
std::vector<int64_t> read_ids(const ConfigReader& config, const char* key) {
  if (!config.has(key)) return {};
  const Json& value = config.raw(key);
  if (!value.is_array()) return {config.integer(key, -1, kMaxVocab)};
  std::vector<int64_t> ids;
  for (const Json& element : value) {
    if (!element.is_number_integer() || element.get<int64_t>() < 0 || element.get<int64_t>() > kMaxVocab) {
      fail(ExitCode::kBadInput, "{}: \"{}\" must be a token id or a list of them", config.where(), key);
    }
    ids.push_back(element.get<int64_t>());
  }
  return ids;
}

// generate() of transformers reads the generation config, and the model's config where there is none.
void read_special_ids(const ConfigReader& config, const fs::path& folder, ModelSpec& spec) {
  spec.eos_ids = read_ids(config, "eos_token_id");
  std::vector<int64_t> bos = read_ids(config, "bos_token_id");
  const fs::path path = folder / "generation_config.json";
  if (fs::exists(path)) {
    spec.generation_config = read_json_file(path);
    const ConfigReader generation(spec.generation_config, path.string());
    if (generation.has("eos_token_id")) spec.eos_ids = read_ids(generation, "eos_token_id");
    if (generation.has("bos_token_id")) bos = read_ids(generation, "bos_token_id");
  }
  std::erase_if(spec.eos_ids, [](int64_t id) { return id < 0; });
  spec.bos_id = bos.empty() ? -1 : bos.front();
}

void check_sizes(const ModelSpec& spec, const std::string& where) {
  if (spec.experts.count * spec.layers > kMaxExpertsInAll) {
    fail(ExitCode::kBadInput, "{}: {} layers of {} experts cannot be", where, spec.layers, spec.experts.count);
  }
  if (spec.heads % spec.kv_heads != 0) {
    fail(ExitCode::kBadInput, "{}: num_attention_heads {} is not a multiple of num_key_value_heads {}", where,
         spec.heads, spec.kv_heads);
  }
  if (spec.heads * std::max(spec.head_dim, spec.value_dim()) > 4 * kMaxHidden) {
    fail(ExitCode::kBadInput, "{}: {} heads of {} dimensions cannot be", where, spec.heads, spec.head_dim);
  }
}

}  // namespace

int64_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return "float32";
    case DType::kBFloat16: return "bfloat16";
    case DType::kFloat16: return "float16";
  }
  return "unknown";
}

std::vector<std::string> supported_architectures() {
  std::vector<std::string> names;
  for (const FamilyReader& family : family_readers()) names.emplace_back(family.architecture);
  return names;
}

int64_t ModelSpec::uniform_positions() const {
  int64_t positions = max_positions;
  for (const RotarySpec& rotary : rotaries) {
    if (rotary.scaling == RotaryScaling::kLong) positions = std::min(positions, rotary.original_max_positions);
  }
  return positions;
}

ModelSpec read_model_spec(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  if (!fs::exists(path)) {
    fail_other_format(folder);
    fail(ExitCode::kMissingInput,
         "{}: no config.json. A model folder holds config.json, *.safetensors and tokenizer.json, as saved by "
         "transformers' save_pretrained",
         folder.string());
  }
  ModelSpec spec;
  spec.config = parse_json(read_file(path, kMaxConfigBytes), path.string());
  const ConfigReader config(spec.config, path.string());
  const FamilyReader& family = find_family(config);
  check_plain_weights(config, family.reads_mxfp4);
  spec.architecture = family.architecture;
  spec.family = family.model_type;
  family.read(config, spec);
  spec.layer.resize(static_cast<size_t>(spec.layers));
  spec.source_dtype = read_source_dtype(config);
  read_special_ids(config, folder, spec);
  check_sizes(spec, path.string());
  return spec;
}

}  // namespace evalmpi::model
