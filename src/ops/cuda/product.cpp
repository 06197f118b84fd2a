// cuBLASLt picks a kernel by the number of rows, and another kernel may add in another order: bits of a row would
// depend on its company. Here its heuristics are asked once for each (weight shape, types) with a fixed number of rows,
// for kernels that use no workspace and add up in one place (no split-K), and the answer serves any number of rows.
// With a workspace they are asked for every number of rows, and may split.

#include "product.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <tuple>

#include "evalmpi/base/error.h"

namespace evalmpi::ops::cuda {
namespace {

// What the kernels are chosen for: enough rows to fill a device, or those of a step of decoding, where the weight's
// columns are spread over as many multiprocessors as can be.
constexpr int64_t kManyRows = 2048;
constexpr int64_t kFewRows = 64;
// Allocations of libtorch begin at multiples of 512 bytes; inner tiles of a tensor at multiples of 16.
constexpr uint32_t kAlignmentBytes = 16;
constexpr int kKernelsAskedFor = 16;  // the best first

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail(ExitCode::kUnavailable, "cuBLAS: {}: {}", what, cublasLtGetStatusString(status));
}

cudaDataType_t cuda_type(DataType type) {
  switch (type) {
    case DataType::kFloat32: return CUDA_R_32F;
    case DataType::kBFloat16: return CUDA_R_16BF;
    case DataType::kFloat16: return CUDA_R_16F;
  }
  fail(ExitCode::kInternal, "no such type");
}

// One of cuBLASLt's descriptors, destroyed with it.
template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (handle_ != nullptr) kDestroy(handle_);
  }
  Handle* address() { return &handle_; }
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

// cuBLAS's matrices are column-major: it sees y^T = W x^T, with W given as its transpose.
struct Problem {
  Description description;
  Layout weight, x, y;

  Problem(const ProductCall& call, uint64_t rows) {
    const cudaDataType_t type = cuda_type(call.type), y_type = cuda_type(call.y_type);
    const auto n = static_cast<uint64_t>(call.out_features), k = static_cast<uint64_t>(call.in_features);
    // Plain float32, never TF32, where the type is float32.
    check(cublasLtMatmulDescCreate(description.address(), CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
    if (call.bias != nullptr) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, y_type);
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias);
    }
    check(cublasLtMatrixLayoutCreate(weight.address(), type, k, n, static_cast<int64_t>(k)), "describing a weight");
    check(cublasLtMatrixLayoutCreate(x.address(), type, k, rows, static_cast<int64_t>(k)), "describing rows");
    check(cublasLtMatrixLayoutCreate(y.address(), y_type, n, rows, static_cast<int64_t>(n)), "describing a result");
  }

 private:
  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    check(cublasLtMatmulDescSetAttribute(description.get(), attribute, &value, sizeof value), "describing a product");
  }
};

template <class Value>
void prefer(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value), "asking for a kernel");
}

// The rows that a kernel is chosen for.
int64_t chosen_rows(const ProductCall& call) {
  if (call.workspace != nullptr) return call.rows;
  return call.few_rows ? kFewRows : kManyRows;
}

bool adds_in_one_place(const cublasLtMatmulHeuristicResult_t& kernel) {
  int32_t split_k = 1;
  size_t written = 0;
  check(cublasLtMatmulAlgoConfigGetAttribute(&kernel.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &split_k, sizeof split_k,
                                             &written),
        "asking about a kernel");
  return split_k <= 1 && kernel.workspaceSize == 0;
}

cublasLtMatmulAlgo_t ask_for_kernel(cublasLtHandle_t handle, const ProductCall& call) {
  const bool is_pure = call.workspace == nullptr;
  Preference preference;
  check(cublasLtMatmulPreferenceCreate(preference.address()), "asking for a kernel");
  prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(call.workspace_bytes));
  if (is_pure) {
    prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE});
  }
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, kAlignmentBytes);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, kAlignmentBytes);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, kAlignmentBytes);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, kAlignmentBytes);
  const Problem problem(call, static_cast<uint64_t>(chosen_rows(call)));
  std::array<cublasLtMatmulHeuristicResult_t, kKernelsAskedFor> found{};
  int count = 0;
  check(cublasLtMatmulAlgoGetHeuristic(handle, problem.description.get(), problem.weight.get(), problem.x.get(),
                                       problem.y.get(), problem.y.get(), preference.get(), kKernelsAskedFor,
                                       found.data(), &count),
        "asking for a kernel");
  const auto* const begin = found.data();
  const auto* const end = begin + count;
  const auto* const best = std::find_if(begin, end, [&](const cublasLtMatmulHeuristicResult_t& one) {
    return one.state == CUBLAS_STATUS_SUCCESS && (!is_pure || adds_in_one_place(one));
  });
  if (best == end) {
    fail(ExitCode::kUnavailable, "cuBLAS has no kernel for weights of {} x {}{}", call.out_features, call.in_features,
         is_pure ? " that adds up in one place; --fast-kernels allows others" : "");
  }
  return best->algo;
}

// The handles and the kernels chosen, of all devices.
class Kernels {
 public:
  struct Choice {
    cublasLtHandle_t handle;
    cublasLtMatmulAlgo_t algorithm;
  };

  Choice choose(const ProductCall& call) {
    int device = 0;
    if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) {
      fail(ExitCode::kUnavailable, "CUDA: {}", cudaGetErrorString(error));
    }
    const std::lock_guard lock(mutex_);
    cublasLtHandle_t& handle = handle_of_device_[device];
    if (handle == nullptr) check(cublasLtCreate(&handle), "starting");
    const Key key{device,    call.out_features, call.in_features,     chosen_rows(call),
                  call.type, call.y_type,       call.bias != nullptr, call.workspace != nullptr};
    const auto known = algorithms_.find(key);
    if (known != algorithms_.end()) return {handle, known->second};
    return {handle, algorithms_.emplace(key, ask_for_kernel(handle, call)).first->second};
  }

 private:
  using Key = std::tuple<int, int64_t, int64_t, int64_t, DataType, DataType, bool, bool>;
  std::mutex mutex_;
  std::map<int, cublasLtHandle_t> handle_of_device_;  // live until the process ends, as CUDA does
  std::map<Key, cublasLtMatmulAlgo_t> algorithms_;
};

}  // namespace

void launch_product(const ProductCall& call, Stream stream) {
  static Kernels kernels;
  const Kernels::Choice choice = kernels.choose(call);
  const Problem problem(call, static_cast<uint64_t>(call.rows));
  const float one = 1.0f, zero = 0.0f;
  check(cublasLtMatmul(choice.handle, problem.description.get(), &one, call.weight, problem.weight.get(), call.x,
                       problem.x.get(), &zero, call.y, problem.y.get(), call.y, problem.y.get(), &choice.algorithm,
                       call.workspace, static_cast<size_t>(call.workspace_bytes), static_cast<cudaStream_t>(stream)),
        "multiplying");
}

}  // namespace evalmpi::ops::cuda
