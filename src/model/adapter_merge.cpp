#include "adapter_merge.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

#include "adapter_terms.h"
#include "evalmpi/base/error.h"
#include "evalmpi/model/weight_files.h"

namespace evalmpi::model {
namespace {

// Rows of a weight that are widened to float32 at once for DoRA's norms.
constexpr int64_t kBlockRows = 256;

at::Tensor adapter_tensor(const Adapter& adapter, const std::string& name, int64_t rows, int64_t columns) {
  return read_adapter_tensor(adapter.file(), name, {rows, columns}, {0, {{0, rows}}});
}

}  // namespace

MergedTensor::MergedTensor(const Checkpoint& file, std::string source, const TensorRow& row, const Adapter& adapter,
                           const AdapterModule* module)
    : file_(file), source_(std::move(source)), shape_(row.source.shape) {
  if (module == nullptr) return;
  scale_ = module->scale;
  if (row.slot == Slot::kEmbedding) {
    left_NR_ = adapter_tensor(adapter, module->tensors + ".lora_embedding_A", module->rank, shape_[0]).t().contiguous();
    right_KR_ = ops::PackedLinear::pack(
        adapter_tensor(adapter, module->tensors + ".lora_embedding_B", shape_[1], module->rank));
    return;
  }
  gain_dim_ = row.source.is_transposed ? 1 : 0;
  const int64_t out = shape_[static_cast<size_t>(gain_dim_)], in = shape_[static_cast<size_t>(1 - gain_dim_)];
  const at::Tensor a_KR =
      adapter_tensor(adapter, module->tensors + ".lora_A.weight", module->rank, in).t().contiguous();
  const at::Tensor b_NR = adapter_tensor(adapter, module->tensors + ".lora_B.weight", out, module->rank);
  left_NR_ = row.source.is_transposed ? a_KR : b_NR;
  right_KR_ = ops::PackedLinear::pack(row.source.is_transposed ? b_NR : a_KR);
  if (!module->has_magnitude) return;
  const std::string magnitude = module->tensors + ".lora_magnitude_vector";
  make_gain(read_adapter_tensor(adapter.file(), magnitude, {out}, {0, {{0, out}}}), adapter.file().where(magnitude));
}

at::Tensor MergedTensor::sum(int64_t begin, int64_t end) const {
  const at::Tensor below = file_.read(source_, shape_, {0, {{begin, end}}}).to(at::kFloat);
  if (!left_NR_.defined()) return below;
  return below.add(ops::linear(left_NR_.narrow(0, begin, end - begin), right_KR_, {}).mul(scale_));
}

void MergedTensor::make_gain(const at::Tensor& magnitude, const std::string& where) {
  at::Tensor squares = at::zeros(magnitude.sizes(), at::kDouble);
  for (int64_t begin = 0; begin < shape_[0]; begin += kBlockRows) {
    const int64_t end = std::min(begin + kBlockRows, shape_[0]);
    const at::Tensor of_block = sum(begin, end).to(at::kDouble).square().sum(1 - gain_dim_);
    (gain_dim_ == 0 ? squares.narrow(0, begin, end - begin) : squares).add_(of_block);
  }
  gain_ = magnitude.to(at::kDouble).div(squares.sqrt()).to(at::kFloat);
  if (!at::isfinite(gain_).all().item<bool>()) fail_no_norm(where);
}

at::Tensor MergedTensor::rows(int64_t begin, int64_t end) const {
  const at::Tensor merged = sum(begin, end);
  if (!gain_.defined()) return merged.contiguous();
  if (gain_dim_ == 1) return merged.mul(gain_);
  return merged.mul(gain_.narrow(0, begin, end - begin).unsqueeze(1));
}

AdapterMerge::AdapterMerge(const Checkpoint& base, const ModelSpec& spec) : base_(base), adapter_(*spec.adapter) {
  const std::vector<TensorRow> table = make_tensor_table(spec);
  for (const TensorRow& row : table) {
    const std::string name = name_in_files(base, row);
    const bool is_new_head = row.slot == Slot::kHead && row.part == Part::kWeight && adapter_.unties_head();
    if (row.slot == Slot::kEmbedding) embedding_ = name;
    if (is_new_head && base.find(name) == nullptr) {
      added_head_ = name;
    } else {
      base.check(name, row.source.shape);
    }
    if (is_new_head || adapter_.find(row) != nullptr || adapter_.replacement(row) != nullptr) rows_.emplace(name, row);
  }
}

AdapterMerge::Source AdapterMerge::source_of(const std::string& name) const {
  const TensorRow& row = rows_.at(name);
  if (const std::string* replacement = adapter_.replacement(row)) return {&adapter_.file(), *replacement};
  const bool was_tied = row.slot == Slot::kHead && row.part == Part::kWeight && adapter_.unties_head();
  return {&base_, was_tied ? embedding_ : name};
}

const TensorEntry& AdapterMerge::below(const std::string& name) const {
  return *base_.find(name == added_head_ ? embedding_ : name);
}

MergedTensor AdapterMerge::merged(const std::string& name) const {
  const TensorRow& row = rows_.at(name);
  const Source source = source_of(name);
  return {*source.file, source.name, row, adapter_, adapter_.find(row)};
}

void AdapterMerge::forget(const std::string& name) const {
  const Source source = source_of(name);
  source.file->forget(source.name);
}

}  // namespace evalmpi::model
