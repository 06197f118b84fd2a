#pragma once

// Matrix products on a device through cuBLASLt, with the kernel chosen once for each weight shape.

#include <cstdint>

#include "launch.h"

namespace evalmpi::ops::cuda {

struct ProductCall {
  const void* x;       // [rows][in_features]
  const void* weight;  // [out_features][in_features]
  const void* bias;    // [out_features] in y_type, or null
  void* y;             // [rows][out_features]
  int64_t rows, out_features, in_features;
  DataType type;          // of x and weight
  DataType y_type;        // float32, or `type`
  bool few_rows = false;  // the kernel is chosen for steps of decoding
  // Not null: the kernel may depend on the number of rows and split sums, into this memory.
  void* workspace = nullptr;
  int64_t workspace_bytes = 0;
};

// y = x W^T + b with float32 sums, on the current device. FAILS: kUnavailable with cuBLAS's words.
void launch_product(const ProductCall& call, Stream stream);

}  // namespace evalmpi::ops::cuda
