#include "experts.cuh"
#include "head.cuh"
#include "rows.cuh"
#include "start.cuh"

namespace evalmpi::ops::cuda {
namespace {

constexpr size_t kSumBytes = kRowThreads * sizeof(float);

dim3 one_for_each(int64_t rows) { return dim3(static_cast<unsigned>(rows)); }

// f(T{}, Out{})
template <class F>
void with_types(DataType type, DataType out, F f) {
  with_type(type, [&](auto x) { with_type(out, [&](auto y) { f(x, y); }); });
}

template <Activation kKind>
void activate_as(const void* gate, const void* up, int64_t count, void* y, DataType type, Stream stream) {
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    start("activation", activate_values<T, kKind>, dim3(blocks_for(count, kElementThreads * (16 / sizeof(T)))),
          kElementThreads, 0, stream, static_cast<const T*>(gate), static_cast<const T*>(up), count,
          static_cast<T*>(y));
  });
}

}  // namespace

void launch_norm(const NormCall& c, Stream stream) {
  with_types(c.x_type, c.y_type, [&](auto x, auto y) {
    using T = decltype(x);
    using Out = decltype(y);
    start("norm", normalise_rows<T, Out>, one_for_each(c.rows), kRowThreads, kSumBytes, stream,
          static_cast<const T*>(c.x), c.weight, c.bias, c.squares, c.eps, c.width, c.weight_rows, c.of_width,
          c.is_centred, static_cast<Out*>(c.y));
  });
}

void launch_square_sums(const void* x, DataType type, int64_t rows, int64_t width, float* sums, Stream stream) {
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    start("sums of squares", square_rows<T>, one_for_each(rows), kRowThreads, kSumBytes, stream,
          static_cast<const T*>(x), width, sums);
  });
}

void launch_rotary(const RotaryCall& c, Stream stream) {
  with_type(c.type, [&](auto zero) {
    using T = decltype(zero);
    start("rotary", rotate_rows<T>, one_for_each(c.rows), kRowThreads, 0, stream, static_cast<const T*>(c.x),
          c.positions, c.cosines, c.sines, c.heads, c.head_dim, c.first, c.half, c.is_interleaved,
          static_cast<T*>(c.y));
  });
}

void launch_activation(Activation kind, const void* gate, const void* up, int64_t count, void* y, DataType type,
                       Stream stream) {
  switch (kind) {
    case Activation::kSilu: return activate_as<Activation::kSilu>(gate, up, count, y, type, stream);
    case Activation::kGeluErf: return activate_as<Activation::kGeluErf>(gate, up, count, y, type, stream);
    case Activation::kGeluTanh: return activate_as<Activation::kGeluTanh>(gate, up, count, y, type, stream);
    case Activation::kRelu: return activate_as<Activation::kRelu>(gate, up, count, y, type, stream);
    case Activation::kQuickGelu: return activate_as<Activation::kQuickGelu>(gate, up, count, y, type, stream);
  }
}

void launch_scale_and_cap(const float* x, float scale, float cap, int64_t count, float* y, Stream stream) {
  start("cap", scale_and_cap_values<float>, dim3(blocks_for(count, kElementThreads)), kElementThreads, 0, stream, x,
        scale, cap, count, y);
}

void launch_embedding(const EmbeddingCall& c, Stream stream) {
  with_type(c.weight_type, [&](auto zero) {
    using T = decltype(zero);
    start("embedding", embed_rows<T>, one_for_each(c.rows), kRowThreads, 0, stream, static_cast<const T*>(c.weight),
          c.ids, c.first_id, c.vocabulary, c.width, c.y);
  });
}

void launch_summarise(const LogitTile& c, RunningSummary* summaries, Stream stream) {
  start("head", summarise_rows, one_for_each(c.rows), kRowThreads, 2 * kSumBytes, stream, c.logits, c.width, c.column,
        c.scale, c.soft_cap, summaries + c.first_row);
}

void launch_pick(const LogitTile& c, const int32_t* row_of_target, const int32_t* column_of_target, int64_t targets,
                 float* target_logits, Stream stream) {
  start("targets", pick_targets, dim3(blocks_for(targets, kElementThreads)), kElementThreads, 0, stream, c.logits,
        c.rows, c.width, c.first_row, c.column, c.scale, c.soft_cap, row_of_target, column_of_target, targets,
        target_logits);
}

void launch_route(const RouteCall& c, Stream stream) {
  start("routes", route_rows, one_for_each(c.rows), kRowThreads,
        static_cast<size_t>(route_shared_floats(c.experts, c.groups)) * sizeof(float), stream, c);
}

void launch_count_experts(const int32_t* chosen, int64_t entries, int64_t experts, int32_t* counts, Stream stream) {
  start("rows of experts", count_expert, one_for_each(experts), kRowThreads, kSumBytes, stream, chosen, entries,
        counts);
}

void launch_sort_by_expert(const SortCall& c, Stream stream) {
  start("sort by expert", sort_expert, one_for_each(c.experts), kRowThreads, kRowThreads * sizeof(int32_t), stream, c);
}

void launch_add_rows(float* sum, const int32_t* rows, const float* weights, const void* y, DataType y_type,
                     int64_t count, int64_t width, Stream stream) {
  with_type(y_type, [&](auto zero) {
    using T = decltype(zero);
    start("sum of experts", add_weighted_rows<T>, one_for_each(count), kRowThreads, 0, stream, sum, rows, weights,
          static_cast<const T*>(y), width);
  });
}

void launch_store(const StoreCall& c, Stream stream) {
  with_type(c.type, [&](auto zero) {
    using T = decltype(zero);
    start("key-value store", store_rows<T>, one_for_each(c.count), kRowThreads, 0, stream, static_cast<const T*>(c.k),
          static_cast<const T*>(c.v), c.entries, c.key_width, c.value_width, static_cast<T*>(c.stored_k),
          static_cast<T*>(c.stored_v));
  });
}

}  // namespace evalmpi::ops::cuda
