#include "evalmpi/eval/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <tuple>
#include <utility>

#include "evalmpi/model/memory.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/model/tensor_table.h"
#include "evalmpi/model/weight_files.h"
#include "inspect_tokenizer.h"

namespace evalmpi::eval {
namespace {

namespace fs = std::filesystem;
using model::ModelSpec;
using model::Slot;
using model::TensorRow;

constexpr int kMaxTp = 256;
constexpr int64_t kSequence = 1000;  // tokens, for the memory of keys and values

std::vector<int> tp_values(const InspectOptions& options) {
  if (options.tp.empty()) return {1, 2, 3, 4, 8};
  std::vector<int> values;
  for (const std::string& text : options.tp) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > kMaxTp) {
      fail(ExitCode::kUsage, "--tp {}: expected whole numbers from 1 to {}, such as 1,2,3", text, kMaxTp);
    }
    values.push_back(value);
  }
  return values;
}

int64_t elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

const char* part_of(Slot slot) {
  switch (slot) {
    case Slot::kProjectIn:
    case Slot::kProjectOut:
    case Slot::kEmbedding: return "embedding";
    case Slot::kPosition: return "positions";
    case Slot::kQueryDown:
    case Slot::kKeyValueDown:
    case Slot::kSinks:
    case Slot::kQuery:
    case Slot::kKey:
    case Slot::kValue:
    case Slot::kAttentionOut: return "attention";
    case Slot::kGate:
    case Slot::kUp:
    case Slot::kDown: return "mlp";
    case Slot::kExpertGate:
    case Slot::kExpertUp:
    case Slot::kExpertDown: return "experts";
    case Slot::kSharedGate:
    case Slot::kSharedUp:
    case Slot::kSharedDown: return "shared_experts";
    case Slot::kRouter:
    case Slot::kRouterCorrection:
    case Slot::kSharedRouter: return "routers";
    case Slot::kHead: return "head";
    default: return "norms";
  }
}

const char* rule_name(model::ShardRule rule) {
  using enum model::ShardRule;
  switch (rule) {
    case kWhole: return "whole";
    case kQueryRows: return "rows of query heads";
    case kKeyValueRows: return "rows of KV heads";
    case kQueryHeads: return "query heads";
    case kKeyValueHeads: return "KV heads";
    case kOneQueryHead: return "with its query head";
    case kOneKeyValueHead: return "with its KV head";
    case kFirst: return "first rank";
    case kQueryColumns: return "columns of query heads";
    case kMlpRows: return "MLP rows";
    case kMlpColumns: return "MLP columns";
    case kExpertRows: return "rows of each expert";
    case kExpertColumns: return "columns of each expert";
    case kSharedRows: return "rows of the shared expert";
    case kSharedColumns: return "columns of the shared expert";
    case kVocabRows: return "vocabulary rows";
  }
  return "";
}

const char* activation_name(ops::Activation activation) {
  switch (activation) {
    case ops::Activation::kSilu: return "silu";
    case ops::Activation::kGeluErf: return "gelu";
    case ops::Activation::kGeluTanh: return "gelu (tanh)";
    case ops::Activation::kRelu: return "relu";
    case ops::Activation::kQuickGelu: return "quick gelu";
  }
  return "";
}

const char* scaling_name(model::RotaryScaling scaling) {
  using enum model::RotaryScaling;
  switch (scaling) {
    case kNone: return "default";
    case kLinear: return "linear";
    case kLlama3: return "llama3";
    case kYarn: return "yarn";
    case kLong: return "longrope";
  }
  return "";
}

Json sizes_json(const ModelSpec& spec) {
  Json sizes = {{"hidden", spec.hidden},     {"layers", spec.layers},          {"query_heads", spec.heads},
                {"kv_heads", spec.kv_heads}, {"head_dim", spec.head_dim},      {"mlp", spec.mlp},
                {"vocabulary", spec.vocab},  {"positions", spec.max_positions}};
  if (spec.experts.count > 0) {
    sizes["experts"] = spec.experts.count;
    sizes["experts_per_token"] = spec.experts.per_token;
    sizes["expert_mlp"] = spec.experts.mlp;
    sizes["shared_expert_mlp"] = spec.experts.shared_mlp;
  }
  return sizes;
}

// What differs from the plainest transformer, in words.
Json details_json(const ModelSpec& spec) {
  Json words = Json::array();
  words.push_back(fmt::format("{} norm{} (eps {}){}", spec.norm == model::NormKind::kRms ? "RMS" : "layer",
                              spec.norm_has_weight ? "" : " without weights", spec.norm_eps,
                              spec.norm_of_sum  ? ", of sums"
                              : spec.norm_after ? (spec.norm_before ? ", before and after" : ", after")
                                                : ""));
  words.push_back(fmt::format("{}{}", activation_name(spec.activation), spec.gated_mlp ? ", gated" : ""));
  words.push_back(spec.tied_head ? "tied head" : "separate head");
  const auto say = [&](bool is_so, std::string text) {
    if (is_so) words.push_back(std::move(text));
  };
  say(spec.parallel_residual, "attention and MLP side by side");
  say(spec.query_key_value_bias, "bias of queries, keys, values");
  say(spec.attention_out_bias, "bias of attention's output");
  say(spec.mlp_bias, "bias in MLP");
  say(spec.head_bias, "bias of the head");
  say(spec.query_key_norm != model::QueryKeyNorm::kNone, "norms of queries and keys");
  say(spec.query_key_value_clip > 0, fmt::format("queries, keys, values clipped at {}", spec.query_key_value_clip));
  say(spec.attention_soft_cap > 0, fmt::format("scores capped at {}", spec.attention_soft_cap));
  say(spec.logit_soft_cap > 0, fmt::format("logits capped at {}", spec.logit_soft_cap));
  say(spec.attention_sinks, "attention sinks");
  say(spec.latent.key_value_rank > 0,
      fmt::format("latent attention: keys and values from {} numbers a token, values of {} dimensions a head",
                  spec.latent.key_value_rank, spec.latent.value_dim));
  say(spec.experts.is_mxfp4, "experts in MXFP4, widened to bfloat16 when loaded");
  say(spec.token_width() != spec.hidden, fmt::format("embedding of {} projected", spec.token_width()));
  say(spec.embedding_norm, "norm of the embedding");
  say(spec.embedding_scale != 1, fmt::format("embedding times {:.6g}", spec.embedding_scale));
  say(spec.residual_scale != 1, fmt::format("residuals times {:.6g}", spec.residual_scale));
  say(spec.logit_scale != 1, fmt::format("logits times {:.6g}", spec.logit_scale));
  say(spec.learned_positions > 0, fmt::format("{} learned positions", spec.learned_positions));
  say(spec.alibi != model::Alibi::kNone, "ALiBi");
  return words;
}

Json rotary_json(const ModelSpec& spec, int index) {
  if (index < 0 || static_cast<size_t>(index) >= spec.rotaries.size()) return nullptr;
  const model::RotarySpec& rotary = spec.rotaries[static_cast<size_t>(index)];
  return {{"kind", scaling_name(rotary.scaling)},
          {"theta", rotary.theta},
          {"dims", rotary.dims},
          {"interleaved", rotary.is_interleaved},
          {"factor", rotary.factor}};
}

// Layers that are alike, e.g. {"layers": "0-4, 6", "count": 6, ...}.
Json layers_json(const ModelSpec& spec) {
  struct Kind {
    const model::LayerSpec* like;
    std::vector<int64_t> layers;
  };
  std::vector<Kind> kinds;
  for (int64_t i = 0; i < spec.layers; ++i) {
    const model::LayerSpec& layer = spec.layer[static_cast<size_t>(i)];
    const auto same = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& kind) {
      return kind.like->sliding_window == layer.sliding_window && kind.like->rotary == layer.rotary &&
             kind.like->has_experts == layer.has_experts;
    });
    if (same == kinds.end()) {
      kinds.push_back({&layer, {i}});
    } else {
      same->layers.push_back(i);
    }
  }
  Json list = Json::array();
  for (const Kind& kind : kinds) {
    std::string names;
    for (size_t i = 0; i < kind.layers.size();) {
      size_t end = i;
      while (end + 1 < kind.layers.size() && kind.layers[end + 1] == kind.layers[end] + 1) ++end;
      names += names.empty() ? "" : ", ";
      names += end == i ? fmt::format("{}", kind.layers[i]) : fmt::format("{}-{}", kind.layers[i], kind.layers[end]);
      i = end + 1;
    }
    list.push_back({{"layers", names},
                    {"count", kind.layers.size()},
                    {"window", kind.like->sliding_window > 0 ? Json(kind.like->sliding_window) : Json(nullptr)},
                    {"rotary", rotary_json(spec, kind.like->rotary)},
                    {"experts", kind.like->has_experts}});
  }
  return list;
}

Json parameters_json(const ModelSpec& spec, const std::vector<TensorRow>& table) {
  Json parts = Json::object();
  for (const char* part :
       {"embedding", "positions", "attention", "mlp", "experts", "shared_experts", "routers", "norms", "head"}) {
    parts[part] = 0;
  }
  int64_t total = 0, active = 0;
  for (const TensorRow& row : table) {
    const int64_t count = elements(row.shape);
    Json& part = parts[part_of(row.slot)];
    part = part.get<int64_t>() + count;
    total += count;
    if (row.expert < spec.experts.per_token) active += count;
  }
  return {{"total", total}, {"active_per_token", active}, {"parts", parts}};
}

struct Dtypes {
  std::map<std::string, std::pair<int64_t, uint64_t>> found;  // name -> tensors, bytes

  // Of most bytes, as it stays in memory.
  model::DType kept(const ModelSpec& spec) const {
    const auto most = std::max_element(found.begin(), found.end(),
                                       [](const auto& a, const auto& b) { return a.second.second < b.second.second; });
    if (most == found.end()) return spec.source_dtype;
    if (most->first == "F32") return model::DType::kFloat32;
    return most->first == "F16" ? model::DType::kFloat16 : model::DType::kBFloat16;
  }
};

Dtypes dtypes_of(const model::Checkpoint& checkpoint) {
  Dtypes dtypes;
  for (const auto& [name, entry] : checkpoint.tensors()) {
    auto& [tensors, bytes] = dtypes.found[entry.dtype];
    ++tensors;
    bytes += entry.bytes.size();
  }
  return dtypes;
}

Json files_json(const model::Checkpoint& checkpoint, const Dtypes& dtypes, const std::vector<std::string>& left_out) {
  std::vector<int64_t> tensors(checkpoint.files().size(), 0);
  for (const auto& [name, entry] : checkpoint.tensors()) ++tensors[entry.file];
  Json names = Json::array();
  uint64_t bytes = 0;
  for (size_t i = 0; i < checkpoint.files().size(); ++i) {
    const uint64_t size = fs::file_size(checkpoint.files()[i]);
    bytes += size;
    names.push_back({{"name", checkpoint.files()[i].filename().string()}, {"bytes", size}, {"tensors", tensors[i]}});
  }
  Json kinds = Json::object();
  for (const auto& [name, counts] : dtypes.found) kinds[name] = {{"tensors", counts.first}, {"bytes", counts.second}};
  return {{"count", checkpoint.files().size()},
          {"bytes", bytes},
          {"dtypes", kinds},
          {"files", names},
          {"left_out", left_out}};
}

Json tp_json(const ModelSpec& spec, const std::vector<TensorRow>& table, const model::Checkpoint& checkpoint,
             model::DType dtype, int tp) {
  const model::ShardPlan plan = model::make_shard_plan(spec, tp);
  Json ranks = Json::array();
  int64_t least = 0, most = 0, sum = 0;
  for (int rank = 0; rank < tp; ++rank) {
    const model::RankShard& shard = plan.ranks[static_cast<size_t>(rank)];
    const model::PlaceMemory memory = model::place_memory(spec, plan, rank, dtype);
    const int64_t parameters = model::count_parameters(table, spec, shard);
    least = rank == 0 ? parameters : std::min(least, parameters);
    most = std::max(most, parameters);
    sum += parameters;
    ranks.push_back(
        {{"rank", rank},
         {"query_heads", shard.query_heads.size()},
         {"kv_heads", shard.kv_heads.size()},
         {"mlp", shard.mlp.size()},
         {"expert_mlp", shard.expert_mlp.size()},
         {"shared_expert_mlp", shard.shared_mlp.size()},
         {"vocabulary", shard.vocab.size()},
         {"parameters", parameters},
         {"weight_bytes", memory.weight_bytes},
         {"key_value_bytes_per_1000_tokens", memory.of_lane({.paths = 1, .positions = kSequence}).key_values},
         {"largest_tensor_bytes", memory.largest_tensor_bytes},
         {"bytes_read", model::bytes_to_read(checkpoint, table, spec, shard)}});
  }
  const double mean = static_cast<double>(sum) / tp;
  return {{"tp", tp},
          {"parameters_least", least},
          {"parameters_most", most},
          {"balance", most > 0 ? mean / static_cast<double>(most) : 1.0},
          {"ranks", ranks}};
}

// The modules that an adapter can name, with the size of each kind.
Json adapters_json(const std::vector<TensorRow>& table) {
  std::map<std::tuple<std::string, int64_t, int64_t>, std::vector<std::string>> modules;
  std::vector<std::string> order;
  for (const TensorRow& row : table) {
    if (row.adapter_target.empty() || row.part != model::Part::kWeight || row.source.shape.size() != 2) continue;
    const size_t in = row.source.is_transposed ? 0 : 1;
    auto& names = modules[{row.adapter_target, row.source.shape[1 - in], row.source.shape[in]}];
    // The rows of a fused tensor follow each other.
    if (names.empty() || names.back() != row.source_name) names.push_back(row.source_name);
    if (std::find(order.begin(), order.end(), row.adapter_target) == order.end()) order.push_back(row.adapter_target);
  }
  Json list = Json::array();
  for (const std::string& target : order) {
    for (const auto& [key, names] : modules) {
      if (std::get<0>(key) != target) continue;
      list.push_back(
          {{"module", target}, {"out", std::get<1>(key)}, {"in", std::get<2>(key)}, {"count", names.size()}});
    }
  }
  return list;
}

Json generation_json(const ModelSpec& spec) {
  Json settings = Json::object();
  if (spec.generation_config.is_object()) {
    for (const auto& [key, value] : spec.generation_config.items()) {
      if (!key.starts_with("_") && key != "transformers_version") settings[key] = value;
    }
  }
  return {{"has_file", spec.generation_config.is_object()},
          {"bos_id", spec.bos_id < 0 ? Json(nullptr) : Json(spec.bos_id)},
          {"eos_ids", spec.eos_ids},
          {"settings", settings}};
}

Json tensors_json(const std::vector<TensorRow>& table, const model::Checkpoint& checkpoint) {
  Json list = Json::array();
  for (const TensorRow& row : table) {
    const std::string name = model::name_in_files(checkpoint, row);
    const model::TensorEntry* entry = checkpoint.find(name);
    list.push_back(
        {{"name", row.name},
         {"shape", row.shape},
         {"source", name},
         {"source_shape", entry == nullptr ? Json(nullptr) : Json(entry->shape)},
         {"dtype", entry == nullptr ? Json(nullptr) : Json(entry->dtype)},
         {"file", entry == nullptr ? Json(nullptr) : Json(checkpoint.files()[entry->file].filename().string())},
         {"shard_rule", rule_name(row.rule)}});
  }
  return list;
}

}  // namespace

std::vector<Field> fields(InspectOptions& o) {
  return {list_field("tp", "N,N,...", o.tp,
                     "Tensor-parallel sizes to show (default 1,2,3,4,8). Any size fits any model.", Affects::kOutput),
          switch_field("tensors", o.tensors,
                       "Also list every tensor: its name here and in the files, shape, dtype, file, and "
                       "how it is cut for tensor parallelism.",
                       Affects::kOutput),
          switch_field("json", o.json, "Print one JSON object with all of it instead of text.", Affects::kOutput)};
}

Inspection inspect(const InspectOptions& options) {
  const std::vector<int> tps = tp_values(options);
  const fs::path folder = model::resolve_model_folder(options.model);
  const ModelSpec spec = model::read_model_spec(folder);
  const std::vector<TensorRow> table = model::make_tensor_table(spec);
  const model::Checkpoint checkpoint(folder);
  const Dtypes dtypes = dtypes_of(checkpoint);

  Inspection inspection;
  Json& facts = inspection.facts;
  facts["model"] = options.model;
  facts["folder"] = folder.string();
  facts["architecture"] = spec.architecture;
  facts["family"] = spec.family;
  facts["config_dtype"] = model::name_of(spec.source_dtype);
  facts["sizes"] = sizes_json(spec);
  facts["details"] = details_json(spec);
  facts["layers"] = layers_json(spec);
  facts["parameters"] = parameters_json(spec, table);
  facts["files"] = files_json(checkpoint, dtypes, model::names_left_out(checkpoint, table, spec));
  facts["tokenizer"] = tokenizer_facts(folder, spec.vocab, inspection.problem);
  facts["generation"] = generation_json(spec);
  facts["adapters"] = adapters_json(table);
  try {
    model::check_headers(checkpoint, table);
  } catch (const Error& error) {
    inspection.problem = error;  // before the tokenizer's: nothing runs without weights
  }
  facts["problem"] = inspection.problem ? Json(inspection.problem->what()) : Json(nullptr);
  facts["dtype_in_memory"] = model::name_of(dtypes.kept(spec));
  facts["tp"] = Json::array();
  for (const int tp : tps) facts["tp"].push_back(tp_json(spec, table, checkpoint, dtypes.kept(spec), tp));
  if (options.tensors) facts["tensors"] = tensors_json(table, checkpoint);
  return inspection;
}

}  // namespace evalmpi::eval
