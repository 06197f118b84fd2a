#pragma once

// Causal attention of new tokens over paths of keys and values.
//
// A path is a sequence of positions 0, 1, 2, ... with one key and value per position, layer and KV head. A span
// is a run of new rows that continues a path at absolute position `start`: its keys and values are written
// there first, then each of its rows attends to positions 0 .. its own. Spans are processed in order, so a tree
// of tokens is its depth-first list of spans on one path (a child overwrites what an earlier sibling left
// behind), and a batch of sequences is one span on each of several paths. A span may fork off another path: what it
// continues then becomes that of its own path first, also where an earlier span of the same call has just written it.
//
// Paths may share the beginning of path 0, the trunk: KeyValueStore::share. It is then kept once, never copied, and
// read once for the rows of many paths.
//
// On a CPU a fork copies; a CUDA device keeps slots that paths refer to, so that what they have in common is there once
// and a fork costs no copy.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>

namespace evalmpi::ops {

struct AttentionSpan {
  int32_t path = 0;    // which path
  int32_t start = 0;   // absolute position of the first row
  int32_t row = 0;     // first row of q, k, v
  int32_t length = 0;  // rows
  int32_t fork = -1;   // a path whose positions [0, start) become those of `path` first; -1: none
};

// Keys and values of `paths` paths for all layers of one place, laid out for the kernels of its device, in `type`
// (float32 on a CPU). Grows on demand.
class KeyValueStore {
 public:
  KeyValueStore(int64_t layers, int64_t paths, int64_t kv_heads, int64_t head_dim, int64_t value_dim,
                at::Device device = at::kCPU, at::ScalarType type = at::kFloat);
  KeyValueStore(KeyValueStore&&) noexcept;
  KeyValueStore& operator=(KeyValueStore&&) noexcept;
  ~KeyValueStore();
  // Room for `positions` positions on every path (contents kept); that of all but path 0 is taken when the first of
  // them is used, less what they share. Called outside the layer loop; attention() grows the store itself where that
  // was forgotten.
  void reserve(int64_t positions);
  // From now on the first `positions` of path 0, rounded down to a multiple of 256, are those of all paths. What the
  // others held is forgotten: their next span forks off a path that holds what it continues. Until the next call no
  // span may begin below shared_positions(), on no path. share(0) ends it. REQUIRES: path 0 holds so many positions.
  void share(int64_t positions);
  int64_t shared_positions() const;
  // Makes positions [0, length) of path `to` equal those of path `from`, in all layers.
  void copy_path(int32_t from, int32_t to, int64_t length);
  // The same from another store of the same model, whose positions from `length` on may change meanwhile. REQUIRES:
  // room for `length` positions here; on a device, other.settle() since they were computed.
  void copy_from(const KeyValueStore& other, int32_t from, int32_t to, int64_t length);
  // Returns when all that this thread has computed into the store is there: at once on a CPU; on a device it waits for
  // the thread's current stream. Before other threads are let copy from it.
  void settle() const;
  int64_t bytes() const;

  struct Storage;
  Storage& storage() { return *storage_; }
  const Storage& storage() const { return *storage_; }

 private:
  std::unique_ptr<Storage> storage_;
};

// How scores become weights. The score of query i and key j: s = scale * q_i k_j; then soft_cap * tanh(s / soft_cap)
// (Gemma 2); then + bias_NP[head][j] (ALiBi, by the key's position: a constant along a row does not matter).
struct AttentionRule {
  double scale = 1;
  int64_t window = 0;       // 0: all earlier positions; W: position j is seen from i iff j > i - W
  double soft_cap = 0;      // 0: none
  at::Tensor bias_NP = {};  // float32, contiguous, as many positions as are attended to; undefined: none
  at::Tensor sink_N = {};   // float32: one more logit of the softmax, without a value; undefined: none
};

// The spans of one call of a model, admitted to a store and laid out for its device, once for all layers: attention()
// is then called with it for each layer of the store, once, before the next plan for this store is made or filled.
//
// On a device what the kernels read of the spans is in one buffer of int32 numbers. refill() puts other spans of the
// same shape into the same buffer, with nothing allocated and no kernel's arguments changed, so that a CUDA graph of
// the layers, captured once with this plan, computes them when it is replayed. A step of decoding is such a shape: one
// row on each of as many paths.
class AttentionPlan {
 public:
  // kv_head_of_query_N: the local KV head that each local query head reads. `rows`: of q, k and v. `room_positions`
  // (devices): refill() may bring spans that end at up to that position; 0: it may bring as many sources as these have.
  // A span may begin at most where its path ends (fails as kInternal): nothing is read that was not written.
  AttentionPlan(KeyValueStore& store, std::span<const AttentionSpan> spans, int64_t rows,
                std::span<const int32_t> kv_head_of_query_N, int64_t room_positions = 0);
  AttentionPlan(AttentionPlan&&) noexcept;
  AttentionPlan& operator=(AttentionPlan&&) noexcept;
  ~AttentionPlan();

  // REQUIRES: fits(store); at most as many spans as the first time, none longer than the one in its place, within the
  // same rows. Rows that no span has are zero in the result. The numbers go to the device by the current stream.
  void refill(KeyValueStore& store, std::span<const AttentionSpan> spans);
  // Whether `store` is the one that this was made for and its memory has not moved since: more positions (reserve) or
  // less sharing move it. A plan with room_positions takes what all paths may need at once, so that their use does not.
  bool fits(const KeyValueStore& store) const;

  struct Storage;
  const Storage& storage() const { return *storage_; }

 private:
  std::unique_ptr<Storage> storage_;
};

// softmax(scores) v, row-pure: a row's bits depend on its query and the keys and values at its absolute positions only,
// not on how they were cut into spans, chunks or calls.
//   q_TNH, k_TGH, v_TGU   in the store's type and on its device, contiguous; N and G may be 0; U is the store's
//   value_dim returns               [T, N * U] in that type; zero in rows that no span has
at::Tensor attention(const at::Tensor& q_TNH, const at::Tensor& k_TGH, const at::Tensor& v_TGU,
                     const AttentionPlan& plan, KeyValueStore& store, int64_t layer, const AttentionRule& rule);

// The same with a plan of its own, for a store of one layer or spans that are the same for every layer.
at::Tensor attention(const at::Tensor& q_TNH, const at::Tensor& k_TGH, const at::Tensor& v_TGU,
                     std::span<const AttentionSpan> spans, KeyValueStore& store, int64_t layer,
                     std::span<const int32_t> kv_head_of_query_N, const AttentionRule& rule);

}  // namespace evalmpi::ops
