#pragma once

// Where two models differ: in their weights, and in what they compute from the same tokens.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace evalmpi::model {

// |a - b| <= absolute + relative * |b|; 0 and 0: equal values only.
struct Tolerance {
  double absolute = 0;
  double relative = 0;
};

// Differences of pairs of values. Two NaNs count as equal, a NaN beside a number as infinitely far.
struct Difference {
  int64_t count = 0;    // pairs
  int64_t outside = 0;  // pairs beyond the tolerance
  double max_absolute = 0;
  double sum_absolute = 0;
  double max_relative = 0;  // |a - b| / max(|a|, |b|)
  double sum_relative = 0;
  double max_value = 0;  // the largest |a| or |b|

  void add(const float* a, const float* b, int64_t n, const Tolerance& tolerance);
  double mean_absolute() const { return count == 0 ? 0 : sum_absolute / static_cast<double>(count); }
  double mean_relative() const { return count == 0 ? 0 : sum_relative / static_cast<double>(count); }
};

struct TensorComparison {
  enum class Where { kBoth, kOnlyInA, kOnlyInB };
  std::string name;  // of the full model, whichever spelling the files have
  Where where = Where::kBoth;
  std::string dtype_a, dtype_b;  // as in the files; empty where it is missing
  std::vector<int64_t> shape_a, shape_b;
  Difference difference;  // of equal shapes; integers and other kinds of values: bytes

  bool has_values() const { return where == Where::kBoth && shape_a == shape_b; }
  bool differs() const { return !has_values() || difference.outside > 0; }
};

// Every tensor of either folder by name; values of both are widened to float32 and compared. Reads block by block.
// Known buffers (rotary tables, causal masks) and a tied head's copy count only where both have them. FAILS: as
// Checkpoint.
std::vector<TensorComparison> compare_weights(const std::filesystem::path& folder_a,
                                              const std::filesystem::path& folder_b, const Tolerance& tolerance);

using TokenSequence = std::vector<int32_t>;

// `count` sequences of `length` ids in [0, vocab), the same on every machine.
std::vector<TokenSequence> built_in_sequences(int64_t vocab, int count, int length);

// A model and the number of places that compute it.
struct ModelLayout {
  std::filesystem::path folder;
  int tp = 1;
};

// One position where the most likely tokens differ.
struct ArgmaxFlip {
  size_t sequence = 0;
  int64_t position = 0;
  int32_t token_a = 0, token_b = 0;
  float margin_a = 0;  // logit of token_a above that of token_b, in A
  float margin_b = 0;  // logit of token_b above that of token_a, in B
};

struct OutputComparison {
  bool has_hidden = false;         // equal layers and width
  bool has_logits = false;         // equal vocabulary
  std::vector<Difference> hidden;  // [layers + 1]: the embedding's output, then each layer's
  Difference logits;
  double mean_kl = 0, max_kl = 0;  // of B's next-token distribution from A's, KL(A || B) in nats
  int64_t positions = 0;
  std::vector<ArgmaxFlip> flips;  // all of them, in order

  bool differs() const;
};

// Runs both models through evalmpi's transformer in float32, one after the other, layer by layer. The first one's
// states are kept: tokens * (layers + 1) * width + tokens * vocabulary floats. FAILS: kUsage when these exceed
// `max_state_bytes` or for an empty sequence; kBadInput for ids outside a vocabulary, sequences longer than a model's
// positions, and as load_weights.
OutputComparison compare_outputs(const ModelLayout& a, const ModelLayout& b,
                                 const std::vector<TokenSequence>& sequences, const Tolerance& tolerance,
                                 uint64_t max_state_bytes = uint64_t{8} << 30);

}  // namespace evalmpi::model
