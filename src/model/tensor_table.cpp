#include "evalmpi/model/tensor_table.h"

#include <fmt/format.h>

#include <utility>

#include "evalmpi/base/error.h"

namespace evalmpi::model {
namespace {

// A family's spelling of a module: "{}" stands for the layer.
struct SourceModule {
  Slot slot;
  const char* pattern;
  const char* adapter_target;
};

constexpr SourceModule kLlamaModules[] = {
    {Slot::kEmbedding, "model.embed_tokens", ""},
    {Slot::kAttentionNorm, "model.layers.{}.input_layernorm", ""},
    {Slot::kQuery, "model.layers.{}.self_attn.q_proj", "q_proj"},
    {Slot::kKey, "model.layers.{}.self_attn.k_proj", "k_proj"},
    {Slot::kValue, "model.layers.{}.self_attn.v_proj", "v_proj"},
    {Slot::kAttentionOut, "model.layers.{}.self_attn.o_proj", "o_proj"},
    {Slot::kMlpNorm, "model.layers.{}.post_attention_layernorm", ""},
    {Slot::kGate, "model.layers.{}.mlp.gate_proj", "gate_proj"},
    {Slot::kUp, "model.layers.{}.mlp.up_proj", "up_proj"},
    {Slot::kDown, "model.layers.{}.mlp.down_proj", "down_proj"},
    {Slot::kFinalNorm, "model.norm", ""},
    {Slot::kHead, "lm_head", "lm_head"},
};

constexpr SourceModule kGptNeoxModules[] = {
    {Slot::kEmbedding, "gpt_neox.embed_in", ""},
    {Slot::kAttentionNorm, "gpt_neox.layers.{}.input_layernorm", ""},
    {Slot::kQueryKeyValue, "gpt_neox.layers.{}.attention.query_key_value", "query_key_value"},
    {Slot::kAttentionOut, "gpt_neox.layers.{}.attention.dense", "dense"},
    {Slot::kMlpNorm, "gpt_neox.layers.{}.post_attention_layernorm", ""},
    {Slot::kUp, "gpt_neox.layers.{}.mlp.dense_h_to_4h", "dense_h_to_4h"},
    {Slot::kDown, "gpt_neox.layers.{}.mlp.dense_4h_to_h", "dense_4h_to_h"},
    {Slot::kFinalNorm, "gpt_neox.final_layer_norm", ""},
    {Slot::kHead, "embed_out", "embed_out"},
};

std::span<const SourceModule> source_modules(const ModelSpec& spec) {
  if (spec.family == "llama") return kLlamaModules;
  if (spec.family == "gpt_neox") return kGptNeoxModules;
  fail(ExitCode::kInternal, "no tensor names for the family \"{}\"", spec.family);
}

// What a slot is in every family.
struct SlotShape {
  const char* name;  // canonical, below the layer
  int64_t out;       // 0: a norm
  int64_t in;
  ShardRule rule;  // of the weight
  ShardRule bias_rule;
  bool has_bias;
};

SlotShape slot_shape(const ModelSpec& spec, Slot slot) {
  const int64_t D = spec.hidden;
  const int64_t NH = spec.heads * spec.head_dim;
  const int64_t GH = spec.kv_heads * spec.head_dim;
  const bool norm_bias = spec.norm == NormKind::kLayer;
  using enum ShardRule;
  switch (slot) {
    case Slot::kEmbedding: return {"embedding", spec.vocab, D, kVocabRows, kVocabRows, false};
    case Slot::kAttentionNorm: return {"attention_norm", 0, D, kWhole, kWhole, norm_bias};
    case Slot::kQuery: return {"attention.query", NH, D, kQueryRows, kQueryRows, spec.attention_bias};
    case Slot::kKey: return {"attention.key", GH, D, kKeyValueRows, kKeyValueRows, spec.attention_bias};
    case Slot::kValue: return {"attention.value", GH, D, kKeyValueRows, kKeyValueRows, spec.attention_bias};
    case Slot::kQueryKeyValue:
      return {"attention.query_key_value", 3 * NH, D, kFusedRows, kFusedRows, spec.attention_bias};
    case Slot::kAttentionOut: return {"attention.out", D, NH, kQueryColumns, kWhole, spec.attention_bias};
    case Slot::kMlpNorm: return {"mlp_norm", 0, D, kWhole, kWhole, norm_bias};
    case Slot::kGate: return {"mlp.gate", spec.mlp, D, kMlpRows, kMlpRows, spec.mlp_bias};
    case Slot::kUp: return {"mlp.up", spec.mlp, D, kMlpRows, kMlpRows, spec.mlp_bias};
    case Slot::kDown: return {"mlp.down", D, spec.mlp, kMlpColumns, kWhole, spec.mlp_bias};
    case Slot::kFinalNorm: return {"final_norm", 0, D, kWhole, kWhole, norm_bias};
    case Slot::kHead: return {"head", spec.vocab, D, kVocabRows, kVocabRows, false};
  }
  fail(ExitCode::kInternal, "no such slot");
}

void append_rows(const ModelSpec& spec, const SourceModule& module, int64_t layer, std::vector<TensorRow>& table) {
  const SlotShape shape = slot_shape(spec, module.slot);
  TensorRow row;
  const std::string canonical = layer < 0 ? shape.name : fmt::format("layers.{}.{}", layer, shape.name);
  const std::string source = fmt::format(fmt::runtime(module.pattern), layer);
  row.name = canonical + ".weight";
  row.source_name = source + ".weight";
  row.slot = module.slot;
  row.layer = layer;
  row.shape = shape.out == 0 ? std::vector{shape.in} : std::vector{shape.out, shape.in};
  row.rule = shape.rule;
  row.adapter_target = module.adapter_target;
  table.push_back(row);
  if (!shape.has_bias) return;
  row.name = canonical + ".bias";
  row.source_name = source + ".bias";
  row.part = Part::kBias;
  row.shape = {shape.out == 0 ? shape.in : shape.out};
  row.rule = shape.bias_rule;
  table.push_back(std::move(row));
}

bool in_stack(const SourceModule& module) {
  return module.slot != Slot::kEmbedding && module.slot != Slot::kFinalNorm && module.slot != Slot::kHead;
}

Range scaled(const Range& range, int64_t factor) { return {range.begin * factor, range.end * factor}; }

// Rows [head, part, H] of the fused tensor: this place's heads for part 0 (q), then 1 (k), then 2 (v).
std::vector<Range> fused_ranges(const ModelSpec& spec, const RankShard& shard) {
  std::vector<Range> ranges;
  for (int64_t part = 0; part < 3; ++part) {
    const Range& heads = part == 0 ? shard.query_heads : shard.kv_heads;
    for (int64_t head = heads.begin; head < heads.end; ++head) {
      const int64_t begin = (head * 3 + part) * spec.head_dim;
      ranges.push_back({begin, begin + spec.head_dim});
    }
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
  const auto append_outside = [&](Slot slot) {
    for (const SourceModule& module : modules) {
      if (module.slot == slot) append_rows(spec, module, -1, table);
    }
  };
  append_outside(Slot::kEmbedding);
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    for (const SourceModule& module : modules) {
      if (in_stack(module)) append_rows(spec, module, layer, table);
    }
  }
  append_outside(Slot::kFinalNorm);
  if (!spec.tied_head) append_outside(Slot::kHead);
  return table;
}

Slice shard_slice(const TensorRow& row, const ModelSpec& spec, const RankShard& shard) {
  switch (row.rule) {
    case ShardRule::kWhole: return {0, {{0, row.shape[0]}}};
    case ShardRule::kQueryRows: return {0, {scaled(shard.query_heads, spec.head_dim)}};
    case ShardRule::kKeyValueRows: return {0, {scaled(shard.kv_heads, spec.head_dim)}};
    case ShardRule::kFusedRows: return {0, fused_ranges(spec, shard)};
    case ShardRule::kQueryColumns: return {1, {scaled(shard.query_heads, spec.head_dim)}};
    case ShardRule::kMlpRows: return {0, {shard.mlp}};
    case ShardRule::kMlpColumns: return {1, {shard.mlp}};
    case ShardRule::kVocabRows: return {0, {shard.vocab}};
  }
  fail(ExitCode::kInternal, "no such shard rule");
}

std::vector<int64_t> shard_shape(const TensorRow& row, const Slice& slice) {
  std::vector<int64_t> shape = row.shape;
  shape[static_cast<size_t>(slice.dim)] = slice.size();
  return shape;
}

bool is_known_buffer(std::string_view source_name) {
  return source_name.ends_with(".rotary_emb.inv_freq") || source_name.ends_with(".attention.bias") ||
         source_name.ends_with(".masked_bias");
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
