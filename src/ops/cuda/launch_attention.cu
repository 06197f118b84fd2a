#include <algorithm>
#include <type_traits>

#include "attend.cuh"
#include "start.cuh"

namespace evalmpi::ops::cuda {
namespace {

template <class T>
struct TileKernel {
  void (*kernel)(AttendCall<T>) = nullptr;
  size_t shared_bytes = 0;
};

template <class T, int H, int U = H>
TileKernel<T> tile_kernel_of() {
  return {attend_tiles<T, H, U>, kAttendBytes<H, U>};
}

// None for head sizes that have no kernel on matrix units.
template <class T>
TileKernel<T> tile_kernel(int64_t head_dim, int64_t value_dim) {
  if (head_dim == 192 && value_dim == 128) return tile_kernel_of<T, 192, 128>();
  if (head_dim != value_dim) return {};
  switch (head_dim) {
    case 16: return tile_kernel_of<T, 16>();
    case 32: return tile_kernel_of<T, 32>();
    case 64: return tile_kernel_of<T, 64>();
    case 80: return tile_kernel_of<T, 80>();
    case 96: return tile_kernel_of<T, 96>();
    case 112: return tile_kernel_of<T, 112>();
    case 128: return tile_kernel_of<T, 128>();
    case 256: return tile_kernel_of<T, 256>();
    default: return {};
  }
}

// What a block may ask for on the current device: 227 KiB with compute capability 9.0, 163 with 8.0, 99 with 8.6.
size_t most_shared_bytes() {
  int device = 0, bytes = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error != cudaSuccess) fail_launch("attention", cudaGetErrorString(error));
  return static_cast<size_t>(bytes);
}

bool attends_on_matrix_units(DataType type, int64_t head_dim, int64_t value_dim) {
  if (type == DataType::kFloat32) return false;
  const TileKernel<c10::Half> kernel = tile_kernel<c10::Half>(head_dim, value_dim);
  return kernel.kernel != nullptr && kernel.shared_bytes <= most_shared_bytes();
}

}  // namespace

int attention_tile_rows(DataType type, int64_t head_dim, int64_t value_dim, int64_t most_query_heads_of_a_kv_head) {
  if (most_query_heads_of_a_kv_head < 1 || !attends_on_matrix_units(type, head_dim, value_dim)) return 1;
  return static_cast<int>(std::max<int64_t>(kQuerySlots / most_query_heads_of_a_kv_head, 1));
}

void launch_attention(const AttendCall<void>& call, int64_t tiles, int tile_rows, int64_t most_query_heads,
                      DataType type, Stream stream) {
  const bool on_matrix_units = attends_on_matrix_units(type, call.head_dim, call.value_dim);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const AttendCall<T> typed = call.with_type<T>();
    if constexpr (!std::is_same_v<T, float>) {
      if (on_matrix_units) {
        const TileKernel<T> tile = tile_kernel<T>(call.head_dim, call.value_dim);
        const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(call.kv_heads),
                        blocks_for(tile_rows * most_query_heads, kQuerySlots));
        start("attention", tile.kernel, grid, kAttendThreads, tile.shared_bytes, stream, typed);
        return;
      }
    }
    const size_t shared_bytes = (static_cast<size_t>(call.head_dim) + call.value_dim + 2 * kKeyTile) * sizeof(float);
    start("attention", attend_rows<T>, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(call.query_heads)),
          kAttendThreads, shared_bytes, stream, typed);
  });
}

}  // namespace evalmpi::ops::cuda
