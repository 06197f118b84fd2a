#include "evalmpi/model/weights.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "adapter_terms.h"
#include "device_copy.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/log.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/tensor_table.h"
#include "evalmpi/model/weight_files.h"
#include "mxfp4.h"

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
  // Rows are contiguous, or columns where the file is transposed.
  const bool is_transposed = tensor.dim() == 2 && tensor.stride(1) != 1 && tensor.stride(0) == 1;
  const at::Tensor in_file = is_transposed ? tensor.t() : tensor;
  if (in_file.is_contiguous()) {
    found = count_not_finite(in_file);
  } else {
    for (int64_t row = 0; row < in_file.size(0); ++row) found += count_not_finite(in_file.select(0, row).contiguous());
  }
  if (found > 0) {
    fail(ExitCode::kBadInput, "{}: {} of its values are NaN or infinite: the file is damaged, or training diverged",
         where, found);
  }
}

class Loader {
 public:
  Loader(const std::filesystem::path& folder, Weights& weights, const LoadOptions& options)
      : checkpoint_(folder), weights_(weights), options_(options), table_(make_tensor_table(weights.spec)) {}

  void load() {
    weights_.layers.resize(static_cast<size_t>(weights_.spec.layers));
    for (LayerWeights& layer : weights_.layers) make_head_norms(layer);
    for (int64_t i = 0; i < weights_.spec.layers; ++i) {
      const auto at = static_cast<size_t>(i);
      if (weights_.spec.layer[at].has_experts) {
        weights_.layers[at].experts.resize(static_cast<size_t>(weights_.spec.experts.count));
      }
    }
    if (!weights_.spec.norm_has_weight) set_weightless_norms();
    warn_of_strangers();
    total_bytes_ = bytes_to_read(checkpoint_, table_, weights_.spec, weights_.shard);
    make_units();
    load_all_units();
    if (failure_) std::rethrow_exception(failure_);
    weights_.bytes_read = checkpoint_.bytes_read();
  }

  // After load() of the model below the adapter.
  void put_on(const Adapter& adapter) {
    weights_.spec.tied_head = weights_.spec.tied_head && !adapter.unties_head();
    table_ = make_tensor_table(weights_.spec);
    if (adapter.unties_head()) {
      for (const TensorRow& row : table_) {
        if (row.slot == Slot::kEmbedding) place_outside(row, read_below(adapter, row, slice_of(row)));
      }
    }
    for (const TensorRow& row : table_) {
      if (adapter.replacement(row) == nullptr) continue;
      const at::Tensor shard = read_below(adapter, row, slice_of(row));
      if (row.layer < 0) {
        place_outside(row, shard);
      } else {
        place_in_layer(row, shard, weights_.layers[static_cast<size_t>(row.layer)]);
      }
    }
    add_adapter_terms(
        adapter, [&](const TensorRow& row, const Slice& slice) { return read_below(adapter, row, slice); },
        options_.pack, weights_);
    weights_.bytes_read = checkpoint_.bytes_read() + adapter.file().bytes_read();
  }

 private:
  Slice slice_of(const TensorRow& row) const { return shard_slice(row, weights_.spec, weights_.shard); }

  // [out, in] of the adapter's own tensor, or else of the model's, whose tied head is the embedding.
  at::Tensor read_below(const Adapter& adapter, const TensorRow& row, const Slice& slice) const {
    const std::string* replacement = adapter.replacement(row);
    const bool is_tied = replacement == nullptr && row.slot == Slot::kHead && adapter.unties_head();
    const TensorRow& source = is_tied ? table_.front() : row;
    const Checkpoint& file = replacement != nullptr ? adapter.file() : checkpoint_;
    const std::string name = replacement != nullptr ? *replacement : name_in_files(checkpoint_, source);
    const at::Tensor tensor = read_row(file, name, source, slice);
    check_finite(tensor, file.where(name));
    return tensor;
  }

  // The rows that one tensor of the files holds: fused projections hold several. One thread reads them all.
  struct Unit {
    std::string name;
    std::vector<size_t> rows;  // of the table, ascending
  };

  void make_units() {
    std::map<std::string, size_t> unit_of_name;
    for (size_t row = 0; row < table_.size(); ++row) {
      const std::string name = name_in_files(checkpoint_, table_[row]);
      const auto [found, is_new] = unit_of_name.emplace(name, units_.size());
      if (is_new) units_.push_back({name, {}});
      units_[found->second].rows.push_back(row);
    }
  }

  void load_all_units() {
    const size_t threads = std::min(static_cast<size_t>(std::max(options_.threads, 1)), units_.size());
    if (threads <= 1) return load_units();
    std::vector<std::jthread> team;
    for (size_t i = 0; i < threads; ++i) {
      team.emplace_back([this] {
        at::set_num_threads(1);  // of this thread's copies
        load_units();
      });
    }
  }

  // Each thread takes the next unit that nobody has. After a failure only rows before it are still tried, so that the
  // first row that fails is found whatever the threads do.
  void load_units() {
    for (size_t i = next_unit_++; i < units_.size() && units_[i].rows.front() < failed_row_; i = next_unit_++) {
      for (const size_t row : units_[i].rows) {
        if (row >= failed_row_) break;
        try {
          load_row(table_[row], units_[i].name);
        } catch (...) {
          const std::lock_guard lock(mutex_);
          if (row < failed_row_) failure_ = std::current_exception(), failed_row_ = row;
        }
      }
      checkpoint_.forget(units_[i].name);
      if (table_[units_[i].rows.front()].source.storage == Storage::kMxfp4) {
        checkpoint_.forget(mxfp4_scales_name(units_[i].name));
      }
    }
  }

  void load_row(const TensorRow& row, const std::string& name) {
    const at::Tensor shard = read_row(checkpoint_, name, row, slice_of(row));
    check_finite(shard, checkpoint_.where(name));
    if (row.layer < 0) {
      place_outside(row, shard);
    } else {
      place_in_layer(row, shard, weights_.layers[static_cast<size_t>(row.layer)]);
    }
    if (!options_.progress) return;
    const std::lock_guard lock(mutex_);
    options_.progress(checkpoint_.bytes_read(), total_bytes_);
  }

  void warn_of_strangers() const {
    const std::vector<std::string> names = names_left_out(checkpoint_, table_, weights_.spec);
    if (names.empty()) return;
    log::warning("{}: {} tensors are not part of {} and are left out, the first is \"{}\"",
                 checkpoint_.folder().string(), names.size(), weights_.spec.architecture, names.front());
  }

  // A copy where the weights are kept.
  at::Tensor owned(const at::Tensor& tensor, at::ScalarType type) const {
    return copy_to_device(tensor, weights_.device, type);
  }

  // A weight of the products: on a CPU as in the files, whose kernel widens it.
  ops::PackedLinear packed(const at::Tensor& shard) const {
    return ops::PackedLinear::pack(weights_.device.is_cpu() ? shard : owned(shard, weights_.product_type));
  }

  void set_linear(Linear& linear, Part part, const at::Tensor& shard) const {
    if (part == Part::kBias) {
      linear.bias = owned(shard, at::kFloat);
    } else if (options_.pack) {
      linear.weight = packed(shard);
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

  void set_norm(Norm& norm, Part part, const at::Tensor& shard) const {
    (part == Part::kBias ? norm.bias_D : norm.weight_D) = owned(shard, at::kFloat);
    if (part == Part::kWeight) norm.weight_D.add_(weights_.spec.norm_weight_offset);
  }

  // Where every head has a tensor of its own they come one by one.
  void make_head_norms(LayerWeights& layer) const {
    if (weights_.spec.query_key_norm != QueryKeyNorm::kEachHead) return;
    const at::TensorOptions options = at::TensorOptions(weights_.device).dtype(at::kFloat);
    layer.query_norm.weight_D = at::empty({weights_.shard.query_heads.size(), weights_.spec.head_dim}, options);
    layer.key_norm.weight_D = at::empty({weights_.shard.kv_heads.size(), weights_.spec.head_dim}, options);
  }

  void set_head_norm(Norm& norm, const TensorRow& row, const Range& heads, const at::Tensor& shard) const {
    if (row.head < 0) return set_norm(norm, row.part, shard);
    if (shard.numel() > 0) norm.weight_D.select(0, row.head - heads.begin).copy_(shard);
  }

  // Norms without weights have the weight 1.
  void set_weightless_norms() {
    const auto ones = [&] {
      return at::ones({weights_.spec.hidden}, at::TensorOptions(weights_.device).dtype(at::kFloat));
    };
    weights_.final_norm.weight_D = ones();
    for (LayerWeights& layer : weights_.layers) {
      layer.attention_norm.weight_D = ones();
      layer.mlp_norm.weight_D = ones();
    }
  }

  void place_outside(const TensorRow& row, const at::Tensor& shard) const {
    switch (row.slot) {
      case Slot::kEmbedding:
        if (weights_.spec.tied_head) {
          weights_.head_VD = packed(shard);
        } else {
          weights_.embedding_VD = owned(shard, shard.scalar_type());
        }
        break;
      case Slot::kPosition: weights_.position_PD = owned(shard, at::kFloat); break;
      case Slot::kEmbeddingNorm: set_norm(weights_.embedding_norm, row.part, shard); break;
      case Slot::kProjectIn: set_linear(weights_.project_in, row.part, shard); break;
      case Slot::kProjectOut: set_linear(weights_.project_out, row.part, shard); break;
      case Slot::kFinalNorm: set_norm(weights_.final_norm, row.part, shard); break;
      case Slot::kHead:
        if (row.part == Part::kBias) {
          weights_.head_bias_V = owned(shard, at::kFloat);
        } else {
          weights_.head_VD = packed(shard);
        }
        break;
      default: fail(ExitCode::kInternal, "{}: not outside the layers", row.name);
    }
  }

  void place_in_layer(const TensorRow& row, const at::Tensor& shard, LayerWeights& layer) const {
    Mlp* const expert = row.expert < 0 ? nullptr : &layer.experts.at(static_cast<size_t>(row.expert));
    switch (row.slot) {
      case Slot::kAttentionNorm: return set_norm(layer.attention_norm, row.part, shard);
      case Slot::kQuery: return set_linear(layer.query, row.part, shard);
      case Slot::kKey: return set_linear(layer.key, row.part, shard);
      case Slot::kValue: return set_linear(layer.value, row.part, shard);
      case Slot::kQueryNorm: return set_head_norm(layer.query_norm, row, weights_.shard.query_heads, shard);
      case Slot::kKeyNorm: return set_head_norm(layer.key_norm, row, weights_.shard.kv_heads, shard);
      case Slot::kQueryDown: return set_linear(layer.query_down, row.part, shard);
      case Slot::kQueryDownNorm: return set_norm(layer.query_down_norm, row.part, shard);
      case Slot::kKeyValueDown: return set_linear(layer.key_value_down, row.part, shard);
      case Slot::kKeyValueDownNorm: return set_norm(layer.key_value_down_norm, row.part, shard);
      case Slot::kSinks: layer.sinks_N = owned(shard, at::kFloat); return;
      case Slot::kAttentionOut:
        return set_reduced_linear(layer.attention_out, layer.attention_out_bias_D, row.part, shard);
      case Slot::kAttentionPostNorm: return set_norm(layer.attention_post_norm, row.part, shard);
      case Slot::kMlpNorm: return set_norm(layer.mlp_norm, row.part, shard);
      case Slot::kGate: return set_linear(layer.mlp.gate, row.part, shard);
      case Slot::kUp: return set_linear(layer.mlp.up, row.part, shard);
      case Slot::kDown: return set_reduced_linear(layer.mlp.down, layer.down_bias_D, row.part, shard);
      case Slot::kRouter: return set_linear(layer.router, row.part, shard);
      case Slot::kRouterCorrection: layer.router_correction_E = owned(shard, at::kFloat); return;
      case Slot::kExpertGate: return set_linear(expert->gate, row.part, shard);
      case Slot::kExpertUp: return set_linear(expert->up, row.part, shard);
      case Slot::kExpertDown:
        if (row.part == Part::kWeight || weights_.shard.is_first) set_linear(expert->down, row.part, shard);
        return;
      case Slot::kSharedRouter: return set_linear(layer.shared_router, row.part, shard);
      case Slot::kSharedGate: return set_linear(layer.shared.gate, row.part, shard);
      case Slot::kSharedUp: return set_linear(layer.shared.up, row.part, shard);
      case Slot::kSharedDown: return set_linear(layer.shared.down, row.part, shard);
      case Slot::kMlpPostNorm: return set_norm(layer.mlp_post_norm, row.part, shard);
      default: fail(ExitCode::kInternal, "{}: not in a layer", row.name);
    }
  }

  Checkpoint checkpoint_;
  Weights& weights_;
  const LoadOptions& options_;
  std::vector<TensorRow> table_;
  std::vector<Unit> units_;
  uint64_t total_bytes_ = 0;
  std::atomic<size_t> next_unit_{0};
  std::atomic<size_t> failed_row_{SIZE_MAX};  // the first so far
  std::exception_ptr failure_;                // of failed_row_
  std::mutex mutex_;
};

void make_position_tables(const std::filesystem::path& folder, Weights& weights) {
  const ModelSpec& spec = weights.spec;
  const int64_t most = std::max(spec.head_dim, weights.shard.query_heads.size());
  if (weights.positions > kMaxRotaryElements / most) {
    fail(ExitCode::kBadInput, "{}: tables for {} positions are too large; ask for a shorter maximum length",
         folder.string(), weights.positions);
  }
  for (const RotarySpec& rotary : spec.rotaries) {
    ops::RotaryTable table = make_rotary_table(rotary, weights.positions);
    table.cos_PR = table.cos_PR.to(weights.device);
    table.sin_PR = table.sin_PR.to(weights.device);
    weights.rotaries.push_back(std::move(table));
  }
  if (spec.alibi != Alibi::kNone) {
    weights.alibi_NP = make_alibi(spec, weights.shard.query_heads, weights.positions).to(weights.device);
  }
}

}  // namespace

std::shared_ptr<const Weights> load_weights(const std::filesystem::path& folder, const ModelSpec& spec,
                                            const ShardPlan& plan, int tp_rank, const LoadOptions& options) {
  EVALMPI_CHECK(!c10::InferenceMode::is_enabled());
  EVALMPI_CHECK(tp_rank >= 0 && tp_rank < plan.tp());
  EVALMPI_CHECK(options.base == nullptr || !options.base->spec.adapter);
  auto weights = options.base ? std::make_shared<Weights>(*options.base) : std::make_shared<Weights>();
  weights->spec = spec;
  if (options.base == nullptr) {
    EVALMPI_CHECK(options.device.is_cuda() || options.product_type == at::kFloat);
    weights->device = options.device;
    weights->product_type = options.product_type;
  }
  weights->shard = plan.ranks[static_cast<size_t>(tp_rank)];
  if (spec.adapter) weights->spec.tied_head = spec.tied_head || spec.adapter->unties_head();
  Loader loader(folder, *weights, options);
  if (!options.base) loader.load();
  if (spec.adapter) loader.put_on(*spec.adapter);
  if (options.base) return weights;
  if (!weights->device.is_cpu()) release_staging();
  weights->positions = options.max_positions == 0 ? spec.max_positions : options.max_positions;
  make_position_tables(folder, *weights);
  return weights;
}

}  // namespace evalmpi::model
