#include "evalmpi/model/tensor_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "evalmpi/base/error.h"
#include "mxfp4.h"
#include "source_names.h"

namespace evalmpi::model {
namespace {

// What a slot is in every family.
struct SlotShape {
  const char* name;  // canonical, below the layer
  int64_t out;       // 0: a vector of `in`
  int64_t in;
  ShardRule rule;  // of the weight
  ShardRule bias_rule;
  bool has_bias;
};

SlotShape norm_shape(const ModelSpec& spec, const char* name) {
  return {name, 0, spec.hidden, ShardRule::kWhole, ShardRule::kWhole, spec.norm_has_bias};
}

SlotShape query_key_norm_shape(const ModelSpec& spec, const char* name, int64_t heads, ShardRule heads_rule,
                               ShardRule rows_rule) {
  switch (spec.query_key_norm) {
    case QueryKeyNorm::kEachHead: return {name, heads, spec.head_dim, heads_rule, heads_rule, false};
    case QueryKeyNorm::kAll: return {name, 0, heads * spec.head_dim, rows_rule, rows_rule, false};
    default: return {name, 0, spec.head_dim, ShardRule::kWhole, ShardRule::kWhole, false};
  }
}

SlotShape slot_shape(const ModelSpec& spec, Slot slot) {
  const int64_t D = spec.hidden, V = spec.vocab, F = spec.mlp, E = spec.experts.mlp, S = spec.experts.shared_mlp;
  const LatentSpec& latent = spec.latent;
  const bool is_latent = latent.key_value_rank > 0;
  const int64_t NH = spec.heads * spec.head_dim, GH = spec.kv_heads * (spec.head_dim - latent.rotary_dim);
  const int64_t NU = spec.heads * spec.value_dim(), GU = spec.kv_heads * spec.value_dim(), W = spec.token_width();
  const int64_t C = is_latent ? latent.key_value_rank : D, Q = latent.query_rank > 0 ? latent.query_rank : D;
  const bool qkv_bias = spec.query_key_value_bias, mlp_bias = spec.mlp_bias, expert_bias = spec.experts.bias;
  using enum ShardRule;
  switch (slot) {
    case Slot::kEmbedding: return {"embedding", V, W, kVocabRows, kVocabRows, false};
    case Slot::kPosition: return {"position", spec.learned_positions, D, kWhole, kWhole, false};
    case Slot::kEmbeddingNorm: return norm_shape(spec, "embedding_norm");
    case Slot::kProjectIn: return {"project_in", D, W, kWhole, kWhole, false};
    case Slot::kAttentionNorm: return norm_shape(spec, "attention_norm");
    case Slot::kQueryDown: return {"attention.query_down", Q, D, kWhole, kWhole, spec.attention_out_bias};
    case Slot::kQueryDownNorm: return {"attention.query_down_norm", 0, Q, kWhole, kWhole, false};
    case Slot::kKeyValueDown:
      return {"attention.key_value_down", C + latent.rotary_dim, D, kWhole, kWhole, spec.attention_out_bias};
    case Slot::kKeyValueDownNorm: return {"attention.key_value_down_norm", 0, C, kWhole, kWhole, false};
    case Slot::kQuery: return {"attention.query", NH, Q, kQueryRows, kQueryRows, qkv_bias};
    case Slot::kKey: return {"attention.key", GH, C, kKeyValueRows, kKeyValueRows, qkv_bias};
    case Slot::kValue: return {"attention.value", GU, C, kKeyValueRows, kKeyValueRows, qkv_bias};
    case Slot::kQueryNorm:
      return query_key_norm_shape(spec, "attention.query_norm", spec.heads, kQueryHeads, kQueryRows);
    case Slot::kKeyNorm:
      return query_key_norm_shape(spec, "attention.key_norm", spec.kv_heads, kKeyValueHeads, kKeyValueRows);
    case Slot::kSinks: return {"attention.sinks", 0, spec.heads, kQueryHeads, kQueryHeads, false};
    case Slot::kAttentionOut: return {"attention.out", D, NU, kQueryColumns, kWhole, spec.attention_out_bias};
    case Slot::kAttentionPostNorm: return norm_shape(spec, "attention_post_norm");
    case Slot::kMlpNorm: return norm_shape(spec, "mlp_norm");
    case Slot::kGate: return {"mlp.gate", F, D, kMlpRows, kMlpRows, mlp_bias};
    case Slot::kUp: return {"mlp.up", F, D, kMlpRows, kMlpRows, mlp_bias};
    case Slot::kDown: return {"mlp.down", D, F, kMlpColumns, kWhole, mlp_bias};
    case Slot::kRouter: return {"mlp.router", spec.experts.count, D, kWhole, kWhole, spec.experts.router_bias};
    case Slot::kRouterCorrection: return {"mlp.router_correction", 0, spec.experts.count, kWhole, kWhole, false};
    case Slot::kExpertGate: return {"gate", E, D, kExpertRows, kExpertRows, expert_bias};
    case Slot::kExpertUp: return {"up", E, D, kExpertRows, kExpertRows, expert_bias};
    case Slot::kExpertDown: return {"down", D, E, kExpertColumns, kFirst, expert_bias};
    case Slot::kSharedRouter: return {"mlp.shared_router", 1, D, kWhole, kWhole, false};
    case Slot::kSharedGate: return {"mlp.shared_gate", S, D, kSharedRows, kSharedRows, false};
    case Slot::kSharedUp: return {"mlp.shared_up", S, D, kSharedRows, kSharedRows, false};
    case Slot::kSharedDown: return {"mlp.shared_down", D, S, kSharedColumns, kWhole, false};
    case Slot::kMlpPostNorm: return norm_shape(spec, "mlp_post_norm");
    case Slot::kFinalNorm: return norm_shape(spec, "final_norm");
    case Slot::kProjectOut: return {"project_out", W, D, kWhole, kWhole, false};
    case Slot::kHead: return {"head", V, W, kVocabRows, kVocabRows, spec.head_bias};
  }
  fail(ExitCode::kInternal, "no such slot");
}

enum class Place { kBefore, kLayer, kExpert, kAfter };

Place place_of(Slot slot) {
  switch (slot) {
    case Slot::kEmbedding:
    case Slot::kPosition:
    case Slot::kProjectIn:
    case Slot::kEmbeddingNorm: return Place::kBefore;
    case Slot::kExpertGate:
    case Slot::kExpertUp:
    case Slot::kExpertDown: return Place::kExpert;
    case Slot::kFinalNorm:
    case Slot::kProjectOut:
    case Slot::kHead: return Place::kAfter;
    default: return Place::kLayer;
  }
}

// Whether the model has this module, in `layer`.
bool is_present(const ModelSpec& spec, Slot slot, int64_t layer) {
  const bool has_experts = layer >= 0 && spec.layer[static_cast<size_t>(layer)].has_experts;
  switch (slot) {
    case Slot::kEmbeddingNorm: return spec.embedding_norm;
    case Slot::kPosition: return spec.learned_positions > 0;
    case Slot::kAttentionNorm: return spec.norm_has_weight && spec.norm_before;
    case Slot::kMlpNorm: return spec.norm_has_weight && spec.norm_before && !spec.parallel_shares_norm;
    case Slot::kAttentionPostNorm:
    case Slot::kMlpPostNorm: return spec.norm_has_weight && (spec.norm_after || spec.norm_of_sum);
    case Slot::kFinalNorm: return spec.norm_has_weight && spec.final_norm;
    case Slot::kProjectIn:
    case Slot::kProjectOut: return spec.token_width() != spec.hidden;
    case Slot::kQueryDown:
    case Slot::kQueryDownNorm: return spec.latent.query_rank > 0;
    case Slot::kKeyValueDown:
    case Slot::kKeyValueDownNorm: return spec.latent.key_value_rank > 0;
    case Slot::kSinks: return spec.attention_sinks;
    case Slot::kRouterCorrection: return has_experts && spec.experts.router_correction;
    case Slot::kQueryNorm:
    case Slot::kKeyNorm: return spec.query_key_norm != QueryKeyNorm::kNone;
    case Slot::kGate: return !has_experts && spec.gated_mlp;
    case Slot::kUp:
    case Slot::kDown: return !has_experts;
    case Slot::kRouter:
    case Slot::kExpertGate:
    case Slot::kExpertUp:
    case Slot::kExpertDown: return has_experts;
    case Slot::kSharedGate:
    case Slot::kSharedUp:
    case Slot::kSharedDown: return has_experts && spec.experts.shared_mlp > 0;
    case Slot::kSharedRouter: return has_experts && spec.experts.has_shared_gate;
    case Slot::kHead: return !spec.tied_head;
    default: return true;
  }
}

// Rows of the file's tensor that holds this one, and where this one's lie in it.
SourceLayout fused_layout(const ModelSpec& spec, const SourceModule& module, int64_t rows) {
  const int64_t query = spec.heads * spec.head_dim, key = spec.kv_heads * spec.head_dim;
  SourceLayout layout;
  layout.group_rows = layout.group_stride = std::max<int64_t>(rows, 1);
  int64_t source_rows = rows;
  const bool is_query = module.slot == Slot::kQuery, is_key = module.slot == Slot::kKey;
  const bool is_gate =
      module.slot == Slot::kGate || module.slot == Slot::kExpertGate || module.slot == Slot::kSharedGate;
  switch (module.fusion) {
    case Fusion::kNone: break;
    case Fusion::kQueryKeyValue:
      source_rows = query + 2 * key;
      layout.offset = is_query ? 0 : is_key ? query : query + key;
      break;
    case Fusion::kPerGroup: {
      const int64_t queries = spec.query_heads_per_kv_head() * spec.head_dim;
      source_rows = query + 2 * key;
      layout.group_rows = is_query ? queries : spec.head_dim;
      layout.group_stride = queries + 2 * spec.head_dim;
      layout.offset = is_query ? 0 : is_key ? queries : queries + spec.head_dim;
      break;
    }
    case Fusion::kKeyValuePerHead: {
      const int64_t own = spec.head_dim - spec.latent.rotary_dim;
      layout.group_rows = is_key ? own : spec.value_dim();
      layout.group_stride = own + spec.value_dim();
      layout.offset = is_key ? 0 : own;
      source_rows = spec.kv_heads * layout.group_stride;
      break;
    }
    case Fusion::kGateUp:
      source_rows = 2 * rows;
      layout.offset = is_gate ? 0 : rows;
      break;
    case Fusion::kGateUpInTurns:
      source_rows = 2 * rows;
      layout.offset = is_gate ? 0 : 1;
      layout.group_rows = 1;
      layout.group_stride = 2;
      break;
  }
  layout.shape = {source_rows};
  return layout;
}

// Which of a layer's experts or heads a row is for; -1: all.
struct Member {
  int64_t expert = -1;
  int64_t head = -1;
  int64_t number() const { return std::max(expert, head); }
};

bool counts_members(std::string_view pattern) { return pattern.find("{}") != pattern.rfind("{}"); }

std::string canonical_name(const char* name, int64_t layer, const Member& member) {
  if (layer < 0) return name;
  if (member.expert >= 0) return fmt::format("layers.{}.mlp.experts.{}.{}", layer, member.expert, name);
  return member.head < 0 ? fmt::format("layers.{}.{}", layer, name)
                         : fmt::format("layers.{}.{}.{}", layer, name, member.head);
}

// [out, in] as the file has it: fused, transposed, in blocks of 4 bits, stacked with the other experts'.
SourceLayout weight_layout(const ModelSpec& spec, const SourceModule& module, const SlotShape& shape, int64_t expert) {
  SourceLayout layout = fused_layout(spec, module, shape.out == 0 ? shape.in : shape.out);
  if (shape.out > 0 && expert >= 0 && spec.experts.is_mxfp4) {
    layout.storage = Storage::kMxfp4;
    layout.shape.insert(layout.shape.end(), {shape.in / kMxfp4Block, kMxfp4Block / 2});
  } else if (shape.out > 0) {
    layout.shape.push_back(shape.in);
    layout.is_transposed = module.is_transposed;
    if (module.is_transposed) std::swap(layout.shape[0], layout.shape[1]);
  }
  return layout;
}

void stack(const ModelSpec& spec, int64_t expert, SourceLayout& layout) {
  layout.index = expert;
  layout.shape.insert(layout.shape.begin(), spec.experts.count);
}

void append_rows(const ModelSpec& spec, const SourceModule& module, int64_t layer, const Member& member,
                 std::vector<TensorRow>& table) {
  SlotShape shape = slot_shape(spec, module.slot);
  if (member.head >= 0) {
    shape.out = 0;
    shape.rule = module.slot == Slot::kQueryNorm ? ShardRule::kOneQueryHead : ShardRule::kOneKeyValueHead;
  }
  const bool is_parameter = module.naming == Naming::kParameter;
  const bool is_stacked = member.expert >= 0 && !counts_members(module.pattern);
  const std::string canonical = canonical_name(shape.name, layer, member);
  const std::string source = fmt::format(fmt::runtime(module.pattern), layer, member.number());
  TensorRow row;
  row.name = canonical + ".weight";
  row.source_name = is_parameter ? source : source + ".weight";
  row.slot = module.slot;
  row.layer = layer;
  row.expert = member.expert;
  row.head = member.head;
  row.rule = shape.rule;
  row.adapter_target = module.adapter_target;
  row.is_adaptable = module.naming == Naming::kModule && !is_stacked;
  row.source = weight_layout(spec, module, shape, member.expert);
  if (row.source.storage == Storage::kMxfp4) row.source_name = source + "_blocks";
  if (is_stacked) stack(spec, member.expert, row.source);
  row.shape = shape.out == 0 ? std::vector<int64_t>{shape.in} : std::vector<int64_t>{shape.out, shape.in};
  table.push_back(row);
  if (!shape.has_bias) return;
  row.name = canonical + ".bias";
  row.source_name = source + (is_parameter ? "_bias" : ".bias");
  row.part = Part::kBias;
  row.shape = {shape.out == 0 ? shape.in : shape.out};
  row.rule = shape.bias_rule;
  row.source = fused_layout(spec, module, row.shape[0]);
  if (is_stacked) stack(spec, member.expert, row.source);
  table.push_back(std::move(row));
}

Range scaled(const Range& range, int64_t factor) { return {range.begin * factor, range.end * factor}; }

// Logical rows as rows of the file, neighbours joined.
std::vector<Range> source_ranges(const SourceLayout& layout, const Range& rows) {
  std::vector<Range> ranges;
  for (int64_t row = rows.begin; row < rows.end;) {
    const int64_t group = row / layout.group_rows;
    const int64_t end = std::min(rows.end, (group + 1) * layout.group_rows);
    const int64_t begin = layout.offset + group * layout.group_stride + row % layout.group_rows;
    if (!ranges.empty() && ranges.back().end == begin) {
      ranges.back().end = begin + end - row;
    } else {
      ranges.push_back({begin, begin + end - row});
    }
    row = end;
  }
  return ranges;
}

int64_t product(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

}  // namespace

std::vector<TensorRow> make_tensor_table(const ModelSpec& spec) {
  const std::span<const SourceModule> modules = source_modules(spec);
  std::vector<TensorRow> table;
  const auto append = [&](Place place, int64_t layer) {
    for (const SourceModule& module : modules) {
      if (place_of(module.slot) != place || !is_present(spec, module.slot, layer)) continue;
      const bool is_expert = place == Place::kExpert, is_head = !is_expert && counts_members(module.pattern);
      const int64_t heads = module.slot == Slot::kQueryNorm ? spec.heads : spec.kv_heads;
      if (!is_expert && !is_head) append_rows(spec, module, layer, {}, table);
      for (int64_t i = 0; is_expert && i < spec.experts.count; ++i) append_rows(spec, module, layer, {i, -1}, table);
      for (int64_t i = 0; is_head && i < heads; ++i) append_rows(spec, module, layer, {-1, i}, table);
    }
  };
  append(Place::kBefore, -1);
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    append(Place::kLayer, layer);
    append(Place::kExpert, layer);
  }
  append(Place::kAfter, -1);
  return table;
}

Slice shard_slice(const TensorRow& row, const ModelSpec& spec, const RankShard& shard) {
  const auto whole_if = [&](bool is_here) { return Slice{0, {{0, is_here ? row.shape[0] : 0}}}; };
  const auto has = [](const Range& range, int64_t head) { return range.begin <= head && head < range.end; };
  switch (row.rule) {
    case ShardRule::kWhole: return {0, {{0, row.shape[0]}}};
    case ShardRule::kQueryRows: return {0, {scaled(shard.query_heads, row.shape[0] / spec.heads)}};
    case ShardRule::kKeyValueRows: return {0, {scaled(shard.kv_heads, row.shape[0] / spec.kv_heads)}};
    case ShardRule::kQueryHeads: return {0, {shard.query_heads}};
    case ShardRule::kKeyValueHeads: return {0, {shard.kv_heads}};
    case ShardRule::kOneQueryHead: return whole_if(has(shard.query_heads, row.head));
    case ShardRule::kOneKeyValueHead: return whole_if(has(shard.kv_heads, row.head));
    case ShardRule::kQueryColumns: return {1, {scaled(shard.query_heads, row.shape[1] / spec.heads)}};
    case ShardRule::kMlpRows: return {0, {shard.mlp}};
    case ShardRule::kMlpColumns: return {1, {shard.mlp}};
    case ShardRule::kExpertRows: return {0, {shard.expert_mlp}};
    case ShardRule::kExpertColumns: return {1, {shard.expert_mlp}};
    case ShardRule::kSharedRows: return {0, {shard.shared_mlp}};
    case ShardRule::kSharedColumns: return {1, {shard.shared_mlp}};
    case ShardRule::kVocabRows: return {0, {shard.vocab}};
    case ShardRule::kFirst: return whole_if(shard.is_first);
  }
  fail(ExitCode::kInternal, "no such shard rule");
}

Slice source_slice(const TensorRow& row, const Slice& slice) {
  const SourceLayout& layout = row.source;
  Slice source{.dim = layout.is_transposed ? 1 - slice.dim : slice.dim, .ranges = {}, .index = layout.index};
  if (slice.dim != 0) {
    EVALMPI_CHECK(layout.offset == 0 && layout.group_stride == layout.group_rows);
    source.ranges = slice.ranges;
    return source;
  }
  if (layout.group_rows == 1) source.step = layout.group_stride;
  for (const Range& range : slice.ranges) {
    if (layout.group_rows == 1) {
      const int64_t begin = layout.offset + range.begin * layout.group_stride;
      source.ranges.push_back({begin, begin + std::max<int64_t>(0, (range.size() - 1) * layout.group_stride + 1)});
      continue;
    }
    for (const Range& part : source_ranges(layout, range)) source.ranges.push_back(part);
  }
  return source;
}

std::vector<int64_t> shard_shape(const TensorRow& row, const Slice& slice) {
  std::vector<int64_t> shape = row.shape;
  shape[static_cast<size_t>(slice.dim)] = slice.size();
  return shape;
}

bool is_known_buffer(std::string_view source_name) {
  return source_name.ends_with(".rotary_emb.inv_freq") || source_name.ends_with(".attention.bias") ||
         source_name.ends_with(".attn.bias") || source_name.ends_with(".masked_bias");
}

int64_t count_parameters(std::span<const TensorRow> table) {
  int64_t total = 0;
  for (const TensorRow& row : table) total += product(row.shape);
  return total;
}

int64_t count_parameters(std::span<const TensorRow> table, const ModelSpec& spec, const RankShard& shard) {
  int64_t total = 0;
  for (const TensorRow& row : table) total += product(shard_shape(row, shard_slice(row, spec, shard)));
  return total;
}

}  // namespace evalmpi::model
