#pragma once

// What a packed weight is made of; for the files of ops that hand it to kernels.

#include "cpu/kernels.h"
#include "evalmpi/ops/linear.h"

namespace evalmpi::ops {

struct PackedLinear::Storage {
  at::Tensor panels_PK16;  // [panels][in features][16], zero beyond the last column; undefined on a device
  at::Tensor rows_NK;      // on a device: as it came
  WeightType type;
  int64_t out_features, in_features;
};

inline int64_t panels_for(int64_t columns) { return (columns + kPanel - 1) / kPanel; }

// Columns of panels [begin, end) for all rows; y_step floats lie between rows of y, whose first column is panel
// begin's.
void multiply_panels(const float* x, int64_t rows, const PackedLinear::Storage& weight, const float* bias,
                     int64_t panel_begin, int64_t panel_end, float* y, int64_t y_step, float* scratch);

}  // namespace evalmpi::ops
