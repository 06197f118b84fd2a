#pragma once

// A model's tensors with an adapter in them, as they lie in files: what PEFT's merge_and_unload leaves.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "evalmpi/model/adapter.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/tensor_table.h"
#include "evalmpi/ops/linear.h"

namespace evalmpi::model {

// One tensor of the merged model: W, or the adapter's tensor in its place, plus s B A, each row of the linear times its
// DoRA gain; all in float32.
class MergedTensor {
 public:
  // `source` of `file` is what lies below the LoRA. module: nullptr where there is none. The three must outlive this.
  // FAILS: kBadInput for NaN and infinity in the adapter, and rows of norm 0 under DoRA.
  MergedTensor(const Checkpoint& file, std::string source, const TensorRow& row, const Adapter& adapter,
               const AdapterModule* module);

  // float32; rows [begin, end) of the file's tensor (elements of a bias).
  at::Tensor rows(int64_t begin, int64_t end) const;

 private:
  at::Tensor sum(int64_t begin, int64_t end) const;  // before the gain
  void make_gain(const at::Tensor& magnitude, const std::string& where);

  const Checkpoint& file_;
  std::string source_;
  std::vector<int64_t> shape_;
  // The LoRA of file rows is scale * left right^T.
  at::Tensor left_NR_;
  ops::PackedLinear right_KR_;
  double scale_ = 0;
  int64_t gain_dim_ = 0;  // of the file's tensor, that runs over the linear's outputs
  at::Tensor gain_;       // undefined: none
};

// Which tensors of a checkpoint an adapter changes.
class AdapterMerge {
 public:
  // spec: with the adapter on it. Both must outlive this.
  AdapterMerge(const Checkpoint& base, const ModelSpec& spec);

  bool changes(const std::string& name_in_files) const { return rows_.contains(name_in_files); }
  // What a head of its own is called that the base's files lack, since it is tied there; "": none.
  const std::string& added_head() const { return added_head_; }
  // The base's tensor whose values the adapter changes: dtype and shape of the merged one. Not for adapter's own.
  const TensorEntry& below(const std::string& name) const;
  MergedTensor merged(const std::string& name) const;
  void forget(const std::string& name) const;  // the memory that reading it took

 private:
  struct Source {
    const Checkpoint* file;
    std::string name;
  };
  Source source_of(const std::string& name) const;

  const Checkpoint& base_;
  const Adapter& adapter_;
  std::map<std::string, TensorRow> rows_;  // of what changes, by the name in the base's files
  std::string embedding_;                  // in the base's files
  std::string added_head_;
};

}  // namespace evalmpi::model
