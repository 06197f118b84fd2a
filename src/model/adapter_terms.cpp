#include "adapter_terms.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <utility>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/elementwise.h"

namespace evalmpi::model {
namespace {

// Rows of a weight that are widened to float32 at once.
constexpr int64_t kBlockRows = 256;
constexpr int64_t kPanel = 16;  // packed weights come in panels of this many columns (ops)
constexpr int64_t kFloatBytes = 4;

int64_t in_panels(int64_t columns) { return (columns + kPanel - 1) / kPanel * kPanel; }

Slice whole_columns(const TensorRow& row) { return {1, {{0, row.shape[1]}}}; }
Slice whole_rows(const TensorRow& row) { return {0, {{0, row.shape[0]}}}; }

Linear* linear_of(const TensorRow& row, Weights& weights) {
  if (row.slot == Slot::kProjectIn) return &weights.project_in;
  if (row.slot == Slot::kProjectOut) return &weights.project_out;
  LayerWeights& layer = weights.layers.at(static_cast<size_t>(row.layer));
  Mlp* const expert = row.expert < 0 ? nullptr : &layer.experts.at(static_cast<size_t>(row.expert));
  switch (row.slot) {
    case Slot::kQuery: return &layer.query;
    case Slot::kKey: return &layer.key;
    case Slot::kValue: return &layer.value;
    case Slot::kQueryDown: return &layer.query_down;
    case Slot::kKeyValueDown: return &layer.key_value_down;
    case Slot::kAttentionOut: return &layer.attention_out;
    case Slot::kGate: return &layer.mlp.gate;
    case Slot::kUp: return &layer.mlp.up;
    case Slot::kDown: return &layer.mlp.down;
    case Slot::kRouter: return &layer.router;
    case Slot::kExpertGate: return &expert->gate;
    case Slot::kExpertUp: return &expert->up;
    case Slot::kExpertDown: return &expert->down;
    case Slot::kSharedRouter: return &layer.shared_router;
    case Slot::kSharedGate: return &layer.shared.gate;
    case Slot::kSharedUp: return &layer.shared.up;
    case Slot::kSharedDown: return &layer.shared.down;
    default: fail(ExitCode::kInternal, "{}: no linear", row.name);
  }
}

// Reads what a place needs of one module's LoRA. A and B are cut as the weight is: A by its columns, B by its rows.
class ModuleReader {
 public:
  ModuleReader(const Adapter& adapter, const AdapterModule& module, const TensorRow& row, const Slice& slice)
      : file_(adapter.file()),
        module_(module),
        row_(row),
        rows_(slice.dim == 0 ? slice : whole_rows(row)),
        columns_(slice.dim == 1 ? slice : whole_columns(row)) {}

  const Slice& rows() const { return rows_; }
  int64_t rank() const { return module_.rank; }

  // float32 [r, in]; of the shard's columns, or of all.
  at::Tensor a_RK() const { return read_a(columns_); }
  at::Tensor whole_a_RK() const { return read_a(whole_columns(row_)); }

  // float32 [out, r], the shard's rows.
  at::Tensor b_NR() const {
    TensorRow as_file = row_;
    as_file.source.is_transposed = false;
    return read(module_.tensors + ".lora_B.weight", {source_rows(), module_.rank}, source_slice(as_file, rows_));
  }

  // float32 [out], the shard's rows; undefined: none.
  at::Tensor magnitude_N() const {
    if (!module_.has_magnitude) return {};
    TensorRow as_file = row_;
    as_file.source.is_transposed = false;
    return read(module_.tensors + ".lora_magnitude_vector", {source_rows()}, source_slice(as_file, rows_));
  }

  at::Tensor read(const std::string& name, const std::vector<int64_t>& shape, const Slice& slice) const {
    return read_adapter_tensor(file_, name, shape, slice);
  }

  std::string magnitude_place() const { return file_.where(module_.tensors + ".lora_magnitude_vector"); }

 private:
  int64_t source_rows() const { return row_.source.shape[row_.source.is_transposed ? 1 : 0]; }

  at::Tensor read_a(const Slice& columns) const {
    return read(module_.tensors + ".lora_A.weight", {module_.rank, row_.shape[1]}, columns);
  }

  const Checkpoint& file_;
  const AdapterModule& module_;
  const TensorRow& row_;
  Slice rows_, columns_;
};

// m / |W + s B A| for this place's rows [out]; undefined without magnitudes.
at::Tensor make_gain(const ModuleReader& reader, double scale, const at::Tensor& base_NK, const at::Tensor& b_NR) {
  const at::Tensor magnitude_N = reader.magnitude_N();
  if (!magnitude_N.defined() || magnitude_N.numel() == 0) return magnitude_N;
  const at::Tensor a_KR = reader.whole_a_RK().t().contiguous();
  at::Tensor squares_N1 = at::empty({base_NK.size(0), 1}, at::kFloat);
  for (int64_t begin = 0; begin < base_NK.size(0); begin += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, base_NK.size(0) - begin);
    const ops::PackedLinear b = ops::PackedLinear::pack(b_NR.narrow(0, begin, rows));
    const at::Tensor delta_NK = ops::linear(a_KR, b, {}).t().mul(scale);
    const at::Tensor sum_NK = base_NK.narrow(0, begin, rows).to(at::kFloat).add(delta_NK);
    squares_N1.narrow(0, begin, rows).copy_(ops::square_sums(sum_NK.contiguous()));
  }
  const at::Tensor gain_N = magnitude_N.div(squares_N1.squeeze(1).sqrt());
  if (!at::isfinite(gain_N).all().item<bool>()) fail_no_norm(reader.magnitude_place());
  return gain_N;
}

// Where the model's weights are; float32 on a device too.
std::variant<at::Tensor, ops::PackedLinear> stored(const at::Tensor& weight_NK, bool pack, const Weights& weights) {
  const at::Tensor placed_NK = weight_NK.to(weights.device);
  if (pack) return ops::PackedLinear::pack(placed_NK);
  return placed_NK;
}

// The head's product is [h, s A h] [W, B]^T: one product, whose kernel never stores all logits.
void widen_head(const ModuleReader& reader, double scale, const at::Tensor& base_VD, Weights& weights) {
  const at::Tensor b_VR = reader.b_NR();
  at::Tensor wide_VK = at::cat({base_VD.to(at::kFloat), b_VR}, 1);
  const at::Tensor gain_V = make_gain(reader, scale, base_VD, b_VR);
  if (gain_V.defined()) wide_VK = wide_VK.mul(gain_V.unsqueeze(1));
  weights.head_VD = ops::PackedLinear::pack(wide_VK.to(weights.device, weights.product_type));
  weights.head_lora = HeadLora{ops::PackedLinear::pack(reader.a_RK().to(weights.device)), scale};
}

// Rows of an embedding are looked up, not multiplied: their sum with the LoRA is what PEFT computes for each token.
void add_to_embedding(const Adapter& adapter, const AdapterModule& module, const TensorRow& row, const Slice& slice,
                      const at::Tensor& base_VD, Weights& weights) {
  const ModuleReader reader(adapter, module, row, slice);
  const at::Tensor a_RV =
      reader.read(module.tensors + ".lora_embedding_A", {module.rank, row.shape[0]}, {1, slice.ranges});
  const at::Tensor b_DR =
      reader.read(module.tensors + ".lora_embedding_B", {row.shape[1], module.rank}, {0, {{0, row.shape[1]}}});
  const at::Tensor delta_VD = ops::linear(a_RV.t().contiguous(), ops::PackedLinear::pack(b_DR), {});
  weights.embedding_VD = base_VD.to(at::kFloat).add(delta_VD.mul(module.scale)).to(weights.device);
}

}  // namespace

at::Tensor read_adapter_tensor(const Checkpoint& file, const std::string& name, const std::vector<int64_t>& shape,
                               const Slice& slice) {
  const at::Tensor in_file = file.read(name, shape, slice);
  at::Tensor copy = at::empty(in_file.sizes(), at::kFloat);
  copy.copy_(in_file);
  file.forget(name);
  if (!at::isfinite(copy).all().item<bool>()) {
    fail(ExitCode::kBadInput, "{}: some of its values are NaN or infinite: the file is damaged, or training diverged",
         file.where(name));
  }
  return copy;
}

void fail_no_norm(const std::string& where) {
  fail(ExitCode::kBadInput, "{}: a row of the weight with its LoRA is zero, so that DoRA divides by zero", where);
}

void add_adapter_terms(const Adapter& adapter, const BaseReader& read_base, bool pack, Weights& weights) {
  for (const TensorRow& row : make_tensor_table(weights.spec)) {
    const AdapterModule* module = adapter.find(row);
    if (module == nullptr) continue;
    const Slice slice = shard_slice(row, weights.spec, weights.shard);
    if (row.slot == Slot::kEmbedding) {
      add_to_embedding(adapter, *module, row, slice, read_base(row, slice), weights);
      continue;
    }
    const ModuleReader reader(adapter, *module, row, slice);
    if (row.slot == Slot::kHead) {
      widen_head(reader, module->scale, read_base(row, slice), weights);
      continue;
    }
    const at::Tensor b_NR = reader.b_NR();
    at::Tensor gain_N;
    if (module->has_magnitude) gain_N = make_gain(reader, module->scale, read_base(row, reader.rows()), b_NR);
    linear_of(row, weights)
        ->terms.push_back({stored(reader.a_RK(), pack, weights), stored(b_NR, pack, weights), module->scale,
                           gain_N.defined() ? gain_N.to(weights.device) : gain_N});
  }
}

int64_t adapter_term_bytes(const Adapter& adapter, const TensorRow& row, const ModelSpec& spec, const RankShard& shard,
                           int64_t base_bytes) {
  const AdapterModule* module = adapter.find(row);
  if (module == nullptr) return 0;
  const std::vector<int64_t> shape = shard_shape(row, shard_slice(row, spec, shard));
  const int64_t out = shape[0], in = shape[1], rank = module->rank;
  if (row.slot == Slot::kEmbedding) return out * in * kFloatBytes - base_bytes;
  const int64_t a_bytes = in_panels(rank) * in * kFloatBytes;
  if (row.slot == Slot::kHead) return a_bytes + in_panels(out) * (in + rank) * kFloatBytes - base_bytes;
  return a_bytes + in_panels(out) * rank * kFloatBytes + (module->has_magnitude ? out * kFloatBytes : 0);
}

}  // namespace evalmpi::model
