// Rows of a packed weight, read back as embeddings.

#include <ATen/ops/zeros.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "cuda/cuda_ops.h"
#include "evalmpi/base/error.h"
#include "evalmpi/ops/elementwise.h"
#include "packed_linear.h"

namespace evalmpi::ops {
namespace {

// Row `row` of panels [P][depth][16] -> y [depth].
template <class T>
void unpack_row(const void* panels, int64_t row, int64_t depth, float* y) {
  const T* column = static_cast<const T*>(panels) + row / kPanel * depth * kPanel + row % kPanel;
  for (int64_t i = 0; i < depth; ++i) y[i] = static_cast<float>(column[i * kPanel]);
}

}  // namespace

at::Tensor embedding(const PackedLinear& weight_VD, const at::Tensor& ids_T, int64_t first_id) {
  const PackedLinear::Storage& weight = weight_VD.storage();
  if (weight.rows_NK.defined()) return cuda::embedding(weight.rows_NK, ids_T, first_id);
  EVALMPI_CHECK(ids_T.dim() == 1 && ids_T.scalar_type() == at::kInt && ids_T.is_contiguous());
  const int64_t depth = weight.in_features;
  at::Tensor y_TD = at::zeros({ids_T.size(0), depth}, at::kFloat);
  const int32_t* ids = ids_T.const_data_ptr<int32_t>();
  const void* panels = weight.panels_PK16.const_data_ptr();
  for (int64_t t = 0; t < ids_T.size(0); ++t) {
    const int64_t row = ids[t] - first_id;
    if (row < 0 || row >= weight.out_features) continue;
    float* y = y_TD.mutable_data_ptr<float>() + t * depth;
    switch (weight.type) {
      case WeightType::kFloat32: unpack_row<float>(panels, row, depth, y); break;
      case WeightType::kBFloat16: unpack_row<c10::BFloat16>(panels, row, depth, y); break;
      case WeightType::kFloat16: unpack_row<c10::Half>(panels, row, depth, y); break;
    }
  }
  return y_TD;
}

}  // namespace evalmpi::ops
