#include "evalmpi/model/adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "adapter_config.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/json.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kTensorFile = "adapter_model.safetensors";
constexpr const char* kPrefix = "base_model.model.";
constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;

// What an adapter's names refer to: a model whose head is a module of its own, even where it shares the embedding's
// weight.
ModelSpec untied(ModelSpec spec) {
  spec.tied_head = false;
  return spec;
}

std::string module_of(const TensorRow& row) { return row.source_name.substr(0, row.source_name.rfind('.')); }

bool is_linear(const TensorRow& row) {
  if (row.part != Part::kWeight || row.shape.size() != 2 || !row.is_adaptable) return false;
  switch (row.slot) {
    case Slot::kEmbedding:
    case Slot::kPosition:
    case Slot::kQueryNorm:
    case Slot::kKeyNorm: return false;
    default: return true;
  }
}

std::string shown(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

fs::path tensor_file(const fs::path& folder) {
  std::error_code ignored;
  if (fs::exists(folder / kTensorFile, ignored)) return kTensorFile;
  if (fs::exists(folder / "adapter_model.bin", ignored)) {
    fail(ExitCode::kMissingInput,
         "{}: no {}; adapter_model.bin can run code when it is read and is not supported: load the adapter with PEFT "
         "and save it with save_pretrained",
         folder.string(), kTensorFile);
  }
  fail(ExitCode::kMissingInput, "{}: no {}: not a folder that PEFT's save_pretrained wrote", folder.string(),
       kTensorFile);
}

Hash128 digest_of(const std::string& config, const fs::path& path) {
  const MappedFile map(path);
  return Hasher().add(std::string_view("evalmpi adapter 1")).add(config).add(hash128(map.bytes())).finish();
}

// Goes through a model's modules and an adapter's tensors and keeps account of the latter.
class Matcher {
 public:
  Matcher(const AdapterConfig& config, const Checkpoint& file, const ModelSpec& spec)
      : config_(config), file_(file), table_(make_tensor_table(untied(spec))) {}

  void run() {
    for (const TensorRow& row : table_) {
      if (row.part == Part::kWeight) match_weight(row);
    }
    for (const TensorRow& row : table_) {
      if (row.part == Part::kBias) match_bias(row);
    }
    if (modules.empty()) {
      fail(ExitCode::kBadInput, "{}: \"target_modules\" matches no module of the model", config_where());
    }
    if (config_.has_modules_to_save() && !found_saved_) {
      fail(ExitCode::kBadInput, "{}: \"modules_to_save\" matches no module of the model", config_where());
    }
    check_all_known();
  }

  std::map<std::string, AdapterModule> modules;
  std::map<std::string, std::string> replacements;
  bool touches_tables = false;  // embedding or head

 private:
  std::string config_where() const { return (file_.folder() / kConfigFile).string(); }

  bool expect(const std::string& name, const std::vector<int64_t>& shape, bool is_optional = false) {
    const TensorEntry* entry = file_.find(name);
    if (entry == nullptr) {
      if (is_optional) return false;
      fail(ExitCode::kBadInput, "{} is missing; expected the shape {}", where(name), shown(shape));
    }
    if (entry->shape != shape) {
      fail(ExitCode::kBadInput, "{} has the shape {}; the model and {} ask for {}: is it another model's adapter?",
           where(name), shown(entry->shape), kConfigFile, shown(shape));
    }
    known_.insert(name);
    return true;
  }

  std::string where(const std::string& name) const {
    return fmt::format("{}: tensor \"{}\"", file_.files().front().string(), name);
  }

  void replace(const TensorRow& row, const std::string& name) {
    replacements.emplace(row.source_name, name);
    touches_tables = touches_tables || row.slot == Slot::kEmbedding || row.slot == Slot::kHead;
  }

  void match_weight(const TensorRow& row) {
    const std::string module = module_of(row);
    if (config_.saves(module)) {
      found_saved_ = true;
      saved_.insert(module);
      expect(kPrefix + row.source_name, row.source.shape);
      return replace(row, kPrefix + row.source_name);
    }
    const bool linear = is_linear(row);
    if (!config_.targets(module, linear, row.slot == Slot::kHead)) return;
    if (row.slot == Slot::kEmbedding) return match_embedding(row, module);
    if (!linear) {
      fail(ExitCode::kBadInput, "{}: LoRA on {}, which is no linear module, is not supported", config_where(), module);
    }
    const AdapterModule& adapter = add_module(module);
    const int64_t out = row.source.shape[row.source.is_transposed ? 1 : 0];
    expect(adapter.tensors + ".lora_A.weight", {adapter.rank, row.shape[1]});
    expect(adapter.tensors + ".lora_B.weight", {out, adapter.rank});
    if (adapter.has_magnitude) expect(adapter.tensors + ".lora_magnitude_vector", {out});
    match_base_layer(row, adapter);
  }

  void match_embedding(const TensorRow& row, const std::string& module) {
    if (config_.use_dora()) {
      fail(ExitCode::kBadInput, "{}: DoRA on {}, an embedding, is not supported", config_where(), module);
    }
    const AdapterModule& adapter = add_module(module);
    expect(adapter.tensors + ".lora_embedding_A", {adapter.rank, row.shape[0]});
    expect(adapter.tensors + ".lora_embedding_B", {row.shape[1], adapter.rank});
    match_base_layer(row, adapter);
    touches_tables = true;
  }

  const AdapterModule& add_module(const std::string& module) {
    return modules
        .insert_or_assign(module, AdapterModule{.tensors = kPrefix + module,
                                                .rank = config_.rank(module),
                                                .scale = config_.scale(module),
                                                .has_magnitude = config_.use_dora()})
        .first->second;
  }

  // PEFT saves the weights of embeddings and heads beside their LoRA.
  void match_base_layer(const TensorRow& row, const AdapterModule& adapter) {
    touches_tables = touches_tables || row.slot == Slot::kHead;
    const std::string name = adapter.tensors + ".base_layer.weight";
    if (expect(name, row.source.shape, /*is_optional=*/true)) replace(row, name);
  }

  void match_bias(const TensorRow& row) {
    const std::string module = module_of(row);
    if (saved_.contains(module)) {
      expect(kPrefix + row.source_name, row.source.shape);
      return replace(row, kPrefix + row.source_name);
    }
    const bool has_lora = modules.contains(module);
    const bool is_trained =
        config_.bias() == TrainedBias::kAll || (config_.bias() == TrainedBias::kLoraOnly && has_lora);
    if (!is_trained) return;
    const std::string name = has_lora ? kPrefix + module + ".base_layer.bias" : kPrefix + row.source_name;
    expect(name, row.source.shape);
    replace(row, name);
  }

  // With "bias": "all", PEFT saves the biases of modules_to_save twice more, by the names they have while it trains.
  bool is_leftover(const std::string& name) const {
    for (const std::string_view suffix : {".original_module.bias", ".modules_to_save.bias"}) {
      if (!name.starts_with(kPrefix) || !name.ends_with(suffix)) continue;
      const size_t begin = std::string_view(kPrefix).size();
      if (saved_.contains(name.substr(begin, name.size() - suffix.size() - begin))) return true;
    }
    return false;
  }

  void check_all_known() const {
    for (const auto& [name, entry] : file_.tensors()) {
      if (known_.contains(name) || is_leftover(name)) continue;
      fail(ExitCode::kBadInput, "{} is unknown: neither {} nor the model asks for it", where(name), kConfigFile);
    }
  }

  const AdapterConfig& config_;
  const Checkpoint& file_;
  std::vector<TensorRow> table_;
  std::set<std::string> known_;
  std::set<std::string> saved_;
  bool found_saved_ = false;
};

}  // namespace

Adapter::Adapter(const fs::path& folder, const ModelSpec& spec) : folder_(folder), file_(folder, tensor_file(folder)) {
  const fs::path path = folder / kConfigFile;
  const std::string text = read_file(path, kMaxConfigBytes);
  const Json json = parse_json(text, path.string());
  const AdapterConfig config(json, path.string());
  Matcher matcher(config, file_, spec);
  matcher.run();
  modules_ = std::move(matcher.modules);
  replacements_ = std::move(matcher.replacements);
  unties_head_ = spec.tied_head && matcher.touches_tables;
  if (unties_head_ && json.contains("ensure_weight_tying") && json.at("ensure_weight_tying") == true) {
    fail(ExitCode::kBadInput,
         "{}: \"ensure_weight_tying\" with trained embeddings is not supported; merge the adapter into the model with "
         "PEFT",
         path.string());
  }
  digest_ = digest_of(text, file_.files().front());
}

const AdapterModule* Adapter::find(const TensorRow& row) const {
  if (row.part != Part::kWeight) return nullptr;
  const auto found = modules_.find(module_of(row));
  return found == modules_.end() ? nullptr : &found->second;
}

const std::string* Adapter::replacement(const TensorRow& row) const {
  const auto found = replacements_.find(row.source_name);
  return found == replacements_.end() ? nullptr : &found->second;
}

ModelSpec with_adapter(ModelSpec spec, const fs::path& folder) {
  const auto adapter = std::make_shared<const Adapter>(folder, spec);
  if (adapter->unties_head()) spec.tied_head = false;
  spec.adapter = adapter;
  return spec;
}

}  // namespace evalmpi::model
