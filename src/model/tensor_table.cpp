#include "evalmpi/model/tensor_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "evalmpi/base/error.h"
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
  const int64_t NH = spec.heads * spec.head_dim, GH = spec.kv_heads * spec.head_dim;
  const bool qkv_bias = spec.query_key_value_bias, mlp_bias = spec.mlp_bias;
  using enum ShardRule;
  switch (slot) {
    case Slot::kEmbedding: return {"embedding", V, D, kVocabRows, kVocabRows, false};
    case Slot::kPosition: return {"position", spec.learned_positions, D, kWhole, kWhole, false};
    case Slot::kEmbeddingNorm: return norm_shape(spec, "embedding_norm");
    case Slot::kAttentionNorm: return norm_shape(spec, "attention_norm");
    case Slot::kQuery: return {"attention.query", NH, D, kQueryRows, kQueryRows, qkv_bias};
    case Slot::kKey: return {"attention.key", GH, D, kKeyValueRows, kKeyValueRows, qkv_bias};
    case Slot::kValue: return {"attention.value", GH, D, kKeyValueRows, kKeyValueRows, qkv_bias};
    case Slot::kQueryNorm:
      return query_key_norm_shape(spec, "attention.query_norm", spec.heads, kQueryHeads, kQueryRows);
    case Slot::kKeyNorm:
      return query_key_norm_shape(spec, "attention.key_norm", spec.kv_heads, kKeyValueHeads, kKeyValueRows);
    case Slot::kAttentionOut: return {"attention.out", D, NH, kQueryColumns, kWhole, spec.attention_out_bias};
    case Slot::kAttentionPostNorm: return norm_shape(spec, "attention_post_norm");
    case Slot::kMlpNorm: return norm_shape(spec, "mlp_norm");
    case Slot::kGate: return {"mlp.gate", F, D, kMlpRows, kMlpRows, mlp_bias};
    case Slot::kUp: return {"mlp.up", F, D, kMlpRows, kMlpRows, mlp_bias};
    case Slot::kDown: return {"mlp.down", D, F, kMlpColumns, kWhole, mlp_bias};
    case Slot::kRouter: return {"mlp.router", spec.experts.count, D, kWhole, kWhole, false};
    case Slot::kExpertGate: return {"gate", E, D, kExpertRows, kExpertRows, false};
    case Slot::kExpertUp: return {"up", E, D, kExpertRows, kExpertRows, false};
    case Slot::kExpertDown: return {"down", D, E, kExpertColumns, kWhole, false};
    case Slot::kSharedRouter: return {"mlp.shared_router", 1, D, kWhole, kWhole, false};
    case Slot::kSharedGate: return {"mlp.shared_gate", S, D, kSharedRows, kSharedRows, false};
    case Slot::kSharedUp: return {"mlp.shared_up", S, D, kSharedRows, kSharedRows, false};
    case Slot::kSharedDown: return {"mlp.shared_down", D, S, kSharedColumns, kWhole, false};
    case Slot::kMlpPostNorm: return norm_shape(spec, "mlp_post_norm");
    case Slot::kFinalNorm: return norm_shape(spec, "final_norm");
    case Slot::kHead: return {"head", V, D, kVocabRows, kVocabRows, spec.head_bias};
  }
  fail(ExitCode::kInternal, "no such slot");
}

enum class Place { kBefore, kLayer, kExpert, kAfter };

Place place_of(Slot slot) {
  switch (slot) {
    case Slot::kEmbedding:
    case Slot::kPosition:
    case Slot::kEmbeddingNorm: return Place::kBefore;
    case Slot::kExpertGate:
    case Slot::kExpertUp:
    case Slot::kExpertDown: return Place::kExpert;
    case Slot::kFinalNorm:
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
    case Slot::kMlpPostNorm: return spec.norm_has_weight && spec.norm_after;
    case Slot::kFinalNorm: return spec.norm_has_weight;
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
    case Fusion::kGateUp:
      source_rows = 2 * spec.mlp;
      layout.offset = module.slot == Slot::kGate ? 0 : spec.mlp;
      break;
  }
  layout.shape = {source_rows};
  return layout;
}

void append_rows(const ModelSpec& spec, const SourceModule& module, int64_t layer, int64_t expert,
                 std::vector<TensorRow>& table) {
  const SlotShape shape = slot_shape(spec, module.slot);
  TensorRow row;
  const std::string canonical = layer < 0    ? shape.name
                                : expert < 0 ? fmt::format("layers.{}.{}", layer, shape.name)
                                             : fmt::format("layers.{}.mlp.experts.{}.{}", layer, expert, shape.name);
  const std::string source = fmt::format(fmt::runtime(module.pattern), layer, expert);
  row.name = canonical + ".weight";
  row.source_name = source + ".weight";
  row.slot = module.slot;
  row.layer = layer;
  row.expert = expert;
  row.rule = shape.rule;
  row.adapter_target = module.adapter_target;
  row.source = fused_layout(spec, module, shape.out == 0 ? shape.in : shape.out);
  if (shape.out == 0) {
    row.shape = {shape.in};
  } else {
    row.shape = {shape.out, shape.in};
    row.source.shape.push_back(shape.in);
    row.source.is_transposed = module.is_transposed;
    if (module.is_transposed) std::swap(row.source.shape[0], row.source.shape[1]);
  }
  table.push_back(row);
  if (!shape.has_bias) return;
  row.name = canonical + ".bias";
  row.source_name = source + ".bias";
  row.part = Part::kBias;
  row.shape = {shape.out == 0 ? shape.in : shape.out};
  row.rule = shape.bias_rule;
  row.source = fused_layout(spec, module, row.shape[0]);
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

int64_t Slice::size() const {
  int64_t total = 0;
  for (const Range& range : ranges) total += range.size();
  return total;
}

std::vector<TensorRow> make_tensor_table(const ModelSpec& spec) {
  const std::span<const SourceModule> modules = source_modules(spec);
  std::vector<TensorRow> table;
  const auto append = [&](Place place, int64_t layer) {
    for (const SourceModule& module : modules) {
      if (place_of(module.slot) != place || !is_present(spec, module.slot, layer)) continue;
      const int64_t experts = place == Place::kExpert ? spec.experts.count : 0;
      if (place != Place::kExpert) append_rows(spec, module, layer, -1, table);
      for (int64_t expert = 0; expert < experts; ++expert) append_rows(spec, module, layer, expert, table);
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
  switch (row.rule) {
    case ShardRule::kWhole: return {0, {{0, row.shape[0]}}};
    case ShardRule::kQueryRows: return {0, {scaled(shard.query_heads, spec.head_dim)}};
    case ShardRule::kKeyValueRows: return {0, {scaled(shard.kv_heads, spec.head_dim)}};
    case ShardRule::kQueryHeads: return {0, {shard.query_heads}};
    case ShardRule::kKeyValueHeads: return {0, {shard.kv_heads}};
    case ShardRule::kQueryColumns: return {1, {scaled(shard.query_heads, spec.head_dim)}};
    case ShardRule::kMlpRows: return {0, {shard.mlp}};
    case ShardRule::kMlpColumns: return {1, {shard.mlp}};
    case ShardRule::kExpertRows: return {0, {shard.expert_mlp}};
    case ShardRule::kExpertColumns: return {1, {shard.expert_mlp}};
    case ShardRule::kSharedRows: return {0, {shard.shared_mlp}};
    case ShardRule::kSharedColumns: return {1, {shard.shared_mlp}};
    case ShardRule::kVocabRows: return {0, {shard.vocab}};
  }
  fail(ExitCode::kInternal, "no such shard rule");
}

Slice source_slice(const TensorRow& row, const Slice& slice) {
  Slice source{row.source.is_transposed ? 1 - slice.dim : slice.dim, {}};
  if (slice.dim != 0) {
    EVALMPI_CHECK(row.source.offset == 0 && row.source.group_stride == row.source.group_rows);
    source.ranges = slice.ranges;
    return source;
  }
  for (const Range& range : slice.ranges) {
    for (const Range& part : source_ranges(row.source, range)) source.ranges.push_back(part);
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
