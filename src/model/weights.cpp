#include "evalmpi/model/weights.h"

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/base/log.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/tensor_table.h"

namespace evalmpi::model {
namespace {

constexpr int64_t kMaxRotaryElements = int64_t{1} << 31;

// Elements whose exponent bits are all ones: infinities and NaNs.
template <typename Bits>
int64_t count_not_finite(const Bits* values, int64_t count, Bits exponent) {
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) found += (values[i] & exponent) == exponent ? 1 : 0;
  return found;
}

int64_t count_not_finite(const at::Tensor& row) {
  const void* values = row.const_data_ptr();
  switch (row.scalar_type()) {
    case at::kFloat: return count_not_finite(static_cast<const uint32_t*>(values), row.numel(), 0x7f800000u);
    case at::kBFloat16: return count_not_finite(static_cast<const uint16_t*>(values), row.numel(), uint16_t{0x7f80});
    case at::kHalf: return count_not_finite(static_cast<const uint16_t*>(values), row.numel(), uint16_t{0x7c00});
    default: fail(ExitCode::kInternal, "no check for this dtype");
  }
}

void check_finite(const at::Tensor& tensor, const std::string& where) {
  int64_t found = 0;
  if (tensor.is_contiguous()) {
    found = count_not_finite(tensor);
  } else {
    for (int64_t row = 0; row < tensor.size(0); ++row) found += count_not_finite(tensor.select(0, row));
  }
  if (found > 0) {
    fail(ExitCode::kBadInput, "{}: {} of its values are NaN or infinite: the file is damaged, or training diverged",
         where, found);
  }
}

at::Tensor owned(const at::Tensor& tensor, at::ScalarType type) {
  at::Tensor copy = at::empty(tensor.sizes(), type);
  copy.copy_(tensor);
  return copy;
}

class Loader {
 public:
  Loader(const std::filesystem::path& folder, Weights& weights, const LoadOptions& options)
      : checkpoint_(folder), weights_(weights), options_(options), table_(make_tensor_table(weights.spec)) {}

  void load() {
    weights_.layers.resize(static_cast<size_t>(weights_.spec.layers));
    warn_of_strangers();
    const uint64_t total_bytes = total();
    for (const TensorRow& row : table_) {
      const Slice slice = shard_slice(row, weights_.spec, weights_.shard);
      const at::Tensor shard = checkpoint_.read(row.source_name, row.shape, slice.dim, slice.ranges);
      check_finite(shard, checkpoint_.where(row.source_name));
      if (row.layer < 0) {
        place_outside(row, shard);
      } else {
        place_in_layer(row, shard, weights_.layers[static_cast<size_t>(row.layer)]);
      }
      checkpoint_.forget(row.source_name);
      if (options_.progress) options_.progress(checkpoint_.bytes_read(), total_bytes);
    }
    weights_.bytes_read = checkpoint_.bytes_read();
  }

 private:
  // Tensors that the model does not use: a sign of a wrong config.json, but also of harmless leftovers.
  void warn_of_strangers() const {
    std::set<std::string_view> known;
    for (const TensorRow& row : table_) known.insert(row.source_name);
    size_t strangers = 0;
    std::string example;
    for (const auto& [name, entry] : checkpoint_.tensors()) {
      const bool tied_copy = weights_.spec.tied_head && (name == "lm_head.weight" || name == "embed_out.weight");
      if (known.contains(name) || is_known_buffer(name) || tied_copy) continue;
      if (strangers++ == 0) example = name;
    }
    if (strangers == 0) return;
    log::warning("{}: {} tensors are not part of {} and are left out, the first is \"{}\"",
                 checkpoint_.folder().string(), strangers, weights_.spec.architecture, example);
  }

  uint64_t total() const {
    uint64_t bytes = 0;
    for (const TensorRow& row : table_) {
      const TensorEntry* entry = checkpoint_.find(row.source_name);
      if (entry == nullptr) continue;
      const Slice slice = shard_slice(row, weights_.spec, weights_.shard);
      const auto size = static_cast<uint64_t>(row.shape[static_cast<size_t>(slice.dim)]);
      bytes += entry->bytes.size() / size * static_cast<uint64_t>(slice.size());
    }
    return bytes;
  }

  void set_linear(Linear& linear, Part part, const at::Tensor& shard) const {
    if (part == Part::kBias) {
      linear.bias = owned(shard, at::kFloat);
    } else if (options_.pack) {
      linear.weight = ops::PackedLinear::pack(shard);
    } else {
      linear.weight = owned(shard, at::kFloat);
    }
  }

  // The bias of a linear whose input is sharded is added after the sum over tp.
  void set_reduced_linear(Linear& linear, at::Tensor& bias, Part part, const at::Tensor& shard) const {
    if (part == Part::kBias) {
      bias = owned(shard, at::kFloat);
    } else {
      set_linear(linear, part, shard);
    }
  }

  static void set_norm(Norm& norm, Part part, const at::Tensor& whole) {
    (part == Part::kBias ? norm.bias_D : norm.weight_D) = owned(whole, at::kFloat);
  }

  void set_fused(LayerWeights& layer, Part part, const at::Tensor& shard) const {
    const int64_t query_rows = weights_.shard.query_heads.size() * weights_.spec.head_dim;
    const int64_t kv_rows = weights_.shard.kv_heads.size() * weights_.spec.head_dim;
    set_linear(layer.query, part, shard.narrow(0, 0, query_rows));
    set_linear(layer.key, part, shard.narrow(0, query_rows, kv_rows));
    set_linear(layer.value, part, shard.narrow(0, query_rows + kv_rows, kv_rows));
  }

  void place_outside(const TensorRow& row, const at::Tensor& shard) const {
    switch (row.slot) {
      case Slot::kEmbedding:
        if (weights_.spec.tied_head) {
          weights_.head_VD = ops::PackedLinear::pack(shard);
        } else {
          weights_.embedding_VD = owned(shard, shard.scalar_type());
        }
        break;
      case Slot::kFinalNorm: set_norm(weights_.final_norm, row.part, shard); break;
      case Slot::kHead: weights_.head_VD = ops::PackedLinear::pack(shard); break;
      default: fail(ExitCode::kInternal, "{}: not outside the layers", row.name);
    }
  }

  void place_in_layer(const TensorRow& row, const at::Tensor& shard, LayerWeights& layer) const {
    switch (row.slot) {
      case Slot::kAttentionNorm: set_norm(layer.attention_norm, row.part, shard); break;
      case Slot::kQuery: set_linear(layer.query, row.part, shard); break;
      case Slot::kKey: set_linear(layer.key, row.part, shard); break;
      case Slot::kValue: set_linear(layer.value, row.part, shard); break;
      case Slot::kQueryKeyValue: set_fused(layer, row.part, shard); break;
      case Slot::kAttentionOut:
        set_reduced_linear(layer.attention_out, layer.attention_out_bias_D, row.part, shard);
        break;
      case Slot::kMlpNorm: set_norm(layer.mlp_norm, row.part, shard); break;
      case Slot::kGate: set_linear(layer.gate, row.part, shard); break;
      case Slot::kUp: set_linear(layer.up, row.part, shard); break;
      case Slot::kDown: set_reduced_linear(layer.down, layer.down_bias_D, row.part, shard); break;
      default: fail(ExitCode::kInternal, "{}: not in a layer", row.name);
    }
  }

  Checkpoint checkpoint_;
  Weights& weights_;
  const LoadOptions& options_;
  std::vector<TensorRow> table_;
};

int64_t bytes_of_tensor(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
}

int64_t bytes_of_norm(const Norm& norm) { return bytes_of_tensor(norm.weight_D) + bytes_of_tensor(norm.bias_D); }

}  // namespace

at::Tensor Linear::operator()(const at::Tensor& x_TK) const {
  return std::visit([&](const auto& stored) { return ops::linear(x_TK, stored, bias); }, weight);
}

int64_t Linear::bytes() const {
  const auto* packed = std::get_if<ops::PackedLinear>(&weight);
  return bytes_of_tensor(bias) + (packed ? packed->bytes() : bytes_of_tensor(std::get<at::Tensor>(weight)));
}

int64_t Weights::bytes() const {
  int64_t total = bytes_of_tensor(embedding_VD) + bytes_of_norm(final_norm) + head_VD.bytes() +
                  bytes_of_tensor(rotary_cos_PR) + bytes_of_tensor(rotary_sin_PR);
  for (const LayerWeights& layer : layers) {
    total += bytes_of_norm(layer.attention_norm) + bytes_of_norm(layer.mlp_norm);
    total += bytes_of_tensor(layer.attention_out_bias_D) + bytes_of_tensor(layer.down_bias_D);
    for (const Linear* linear :
         {&layer.query, &layer.key, &layer.value, &layer.attention_out, &layer.gate, &layer.up, &layer.down}) {
      total += linear->bytes();
    }
  }
  return total;
}

std::shared_ptr<const Weights> load_weights(const std::filesystem::path& folder, const ModelSpec& spec,
                                            const ShardPlan& plan, int tp_rank, const LoadOptions& options) {
  EVALMPI_CHECK(!c10::InferenceMode::is_enabled());
  EVALMPI_CHECK(tp_rank >= 0 && tp_rank < plan.tp());
  auto weights = std::make_shared<Weights>();
  weights->spec = spec;
  weights->shard = plan.ranks[static_cast<size_t>(tp_rank)];
  Loader(folder, *weights, options).load();
  const int64_t positions = options.max_positions == 0 ? spec.max_positions : options.max_positions;
  if (positions > kMaxRotaryElements / spec.rotary.dims) {
    fail(ExitCode::kBadInput, "{}: rotary tables for {} positions are too large; ask for a shorter maximum length",
         folder.string(), positions);
  }
  const RotaryTables tables = make_rotary_tables(spec.rotary, positions);
  weights->rotary_cos_PR = tables.cos_PR;
  weights->rotary_sin_PR = tables.sin_PR;
  return weights;
}

}  // namespace evalmpi::model
