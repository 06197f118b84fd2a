#include "evalmpi/model/compare_models.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "evalmpi/base/error.h"
#include "evalmpi/model/convert.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/tensor_table.h"
#include "evalmpi/model/transformer.h"
#include "evalmpi/model/weights.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kBlockElements = uint64_t{1} << 20;

std::optional<at::ScalarType> floating_type(std::string_view dtype) {
  if (dtype == "F32") return at::kFloat;
  if (dtype == "BF16") return at::kBFloat16;
  if (dtype == "F16") return at::kHalf;
  if (dtype == "F64") return at::kDouble;
  return std::nullopt;
}

// A folder's tensors by their full names.
struct NamedCheckpoint {
  explicit NamedCheckpoint(const fs::path& folder) : checkpoint(folder) {
    TensorNames spelling;
    try {
      const ModelSpec spec = read_model_spec(folder);
      spelling = TensorNames(spec, checkpoint);
      is_tied = spec.tied_head;
    } catch (const Error& error) {
      if (error.code() != ExitCode::kBadInput && error.code() != ExitCode::kMissingInput) throw;
    }
    for (const auto& [name, entry] : checkpoint.tensors()) {
      source_of[spelling.full(name)] = name;
      if (is_known_buffer(name) || (is_tied && spelling.belongs_to_head(name))) optional.insert(spelling.full(name));
    }
  }
  Checkpoint checkpoint;
  bool is_tied = false;
  std::map<std::string, std::string> source_of;
  std::set<std::string> optional;  // may be missing in the other one
};

// Elements [begin, begin + n) of a tensor, in float32.
at::Tensor widened(const TensorEntry& entry, at::ScalarType type, uint64_t begin, uint64_t n) {
  const at::Tensor block = at::empty({static_cast<int64_t>(n)}, type);
  const size_t item_bytes = c10::elementSize(type);
  std::memcpy(block.mutable_data_ptr(), entry.bytes.data() + begin * item_bytes, n * item_bytes);
  return block.to(at::kFloat);
}

void compare_values(const TensorEntry& a, const TensorEntry& b, const Tolerance& tolerance, Difference& difference) {
  const auto type_a = floating_type(a.dtype), type_b = floating_type(b.dtype);
  if (type_a && type_b) {
    const uint64_t count = a.bytes.size() / c10::elementSize(*type_a);
    for (uint64_t begin = 0; begin < count; begin += kBlockElements) {
      const uint64_t n = std::min(kBlockElements, count - begin);
      const at::Tensor x = widened(a, *type_a, begin, n), y = widened(b, *type_b, begin, n);
      difference.add(x.const_data_ptr<float>(), y.const_data_ptr<float>(), static_cast<int64_t>(n), tolerance);
    }
    return;
  }
  difference.count = static_cast<int64_t>(std::max(a.bytes.size(), b.bytes.size()));
  difference.outside =
      static_cast<int64_t>(std::max(a.bytes.size(), b.bytes.size()) - std::min(a.bytes.size(), b.bytes.size()));
  for (size_t i = 0; i < std::min(a.bytes.size(), b.bytes.size()); ++i) {
    const int apart = std::abs(static_cast<unsigned char>(a.bytes[i]) - static_cast<unsigned char>(b.bytes[i]));
    difference.outside += apart > 0 || a.dtype != b.dtype ? 1 : 0;
    difference.max_absolute = std::max(difference.max_absolute, static_cast<double>(apart));
    difference.sum_absolute += apart;
  }
}

// What one model makes of one sequence.
struct States {
  std::vector<at::Tensor> hidden_TD;  // [layers + 1]
  at::Tensor logits_TV;
};

using StatesSink = std::function<void(size_t sequence, States states)>;

States run_sequence(const Transformer& model, const TokenSequence& ids, bool keeps_hidden, comm::Communicator& tp) {
  Segment segment;
  segment.ids = ids;
  std::vector<int32_t> rows;
  for (size_t i = 0; i < ids.size(); ++i) rows.push_back(static_cast<int32_t>(i));
  segment.positions = rows;
  segment.spans.push_back({0, 0, 0, static_cast<int32_t>(ids.size())});
  ops::KeyValueStore store = model.make_key_value_store(1);
  States states;
  at::Tensor hidden_TD = model.embed(segment, tp);
  // Kept as copies: a layer may compute in place of what it was given.
  if (keeps_hidden) states.hidden_TD.push_back(hidden_TD.clone());
  for (int64_t layer = 0; layer < model.spec().layers; ++layer) {
    hidden_TD = model.run_layers(hidden_TD, segment, layer, layer + 1, store, tp);
    if (keeps_hidden) states.hidden_TD.push_back(hidden_TD.clone());
  }
  states.logits_TV = model.logits(hidden_TD, rows, tp);
  return states;
}

// The first failure of several threads.
class FirstFailure {
 public:
  void keep() {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr failure_;
};

// `sink` gets the states on the first place's thread, in order.
void run_model(const ModelLayout& layout, const ModelSpec& spec, const std::vector<TokenSequence>& sequences,
               bool keeps_hidden, const StatesSink& sink) {
  const ShardPlan plan = make_shard_plan(spec, layout.tp);
  LoadOptions load;
  for (const TokenSequence& sequence : sequences) {
    load.max_positions = std::max(load.max_positions, static_cast<int64_t>(sequence.size()));
  }
  std::vector<comm::Communicator> groups = comm::Communicator::threads(layout.tp);
  FirstFailure failure;
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < layout.tp; ++rank) {
      threads.emplace_back([&, rank] {
        comm::Communicator& group = groups[static_cast<size_t>(rank)];
        try {
          const Transformer model(load_weights(layout.folder, spec, plan, rank, load));
          const InferenceThread inference;
          for (size_t i = 0; i < sequences.size(); ++i) {
            States states = run_sequence(model, sequences[i], keeps_hidden && rank == 0, group);
            if (rank == 0) sink(i, std::move(states));
          }
        } catch (const std::exception& error) {
          failure.keep();
          group.abandon(error.what());
        }
      });
    }
  }
  failure.rethrow();
}

struct Distribution {
  float max = -std::numeric_limits<float>::infinity();
  double log_sum = 0;  // of exp(logit - max)
  int32_t argmax = 0;
};

Distribution distribution(const float* logits, int64_t vocab) {
  Distribution result;
  for (int64_t i = 0; i < vocab; ++i) {
    if (logits[i] > result.max) {
      result.max = logits[i];
      result.argmax = static_cast<int32_t>(i);
    }
  }
  double sum = 0;
  for (int64_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(logits[i]) - result.max);
  result.log_sum = std::log(sum);
  return result;
}

double divergence(const float* a, const Distribution& of_a, const float* b, const Distribution& of_b, int64_t vocab) {
  double sum = 0;
  for (int64_t i = 0; i < vocab; ++i) {
    const double log_a = static_cast<double>(a[i]) - of_a.max - of_a.log_sum;
    const double log_b = static_cast<double>(b[i]) - of_b.max - of_b.log_sum;
    sum += std::exp(log_a) * (log_a - log_b);
  }
  return std::max(sum, 0.0);
}

void compare_logits(size_t sequence, const at::Tensor& a_TV, const at::Tensor& b_TV, const Tolerance& tolerance,
                    OutputComparison& result) {
  const int64_t vocab = a_TV.size(1);
  for (int64_t row = 0; row < a_TV.size(0); ++row) {
    const float* a = a_TV.const_data_ptr<float>() + row * vocab;
    const float* b = b_TV.const_data_ptr<float>() + row * vocab;
    result.logits.add(a, b, vocab, tolerance);
    const Distribution of_a = distribution(a, vocab), of_b = distribution(b, vocab);
    const double kl = divergence(a, of_a, b, of_b, vocab);
    result.mean_kl += kl;  // the sum, until the end
    result.max_kl = std::max(result.max_kl, kl);
    ++result.positions;
    if (of_a.argmax == of_b.argmax) continue;
    result.flips.push_back(
        {sequence, row, of_a.argmax, of_b.argmax, a[of_a.argmax] - a[of_b.argmax], b[of_b.argmax] - b[of_a.argmax]});
  }
}

void check_state_bytes(const ModelSpec& a, bool keeps_hidden, const std::vector<TokenSequence>& sequences,
                       uint64_t most) {
  double tokens = 0;
  for (const TokenSequence& sequence : sequences) {
    if (sequence.empty()) fail(ExitCode::kUsage, "a prompt without tokens cannot be compared; remove empty prompts");
    tokens += static_cast<double>(sequence.size());
  }
  const double per_token =
      4.0 * (static_cast<double>(a.vocab) + (keeps_hidden ? static_cast<double>((a.layers + 1) * a.hidden) : 0.0));
  if (tokens * per_token > static_cast<double>(most)) {
    fail(ExitCode::kUsage, "the states of {:.0f} prompt tokens take {:.1f} GiB (at most {:.1f}); compare fewer prompts",
         tokens, tokens * per_token / (1 << 30), static_cast<double>(most) / (1 << 30));
  }
}

}  // namespace

void Difference::add(const float* a, const float* b, int64_t n, const Tolerance& tolerance) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  count += n;
  for (int64_t i = 0; i < n; ++i) {
    const double x = a[i], y = b[i];
    const double largest = std::max(std::abs(x), std::abs(y));
    if (std::isfinite(largest)) max_value = std::max(max_value, largest);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const bool is_finite = std::isfinite(x) && std::isfinite(y);
    const double absolute = is_finite ? std::abs(x - y) : kInfinity;
    const double relative = is_finite ? absolute / largest : kInfinity;
    outside += is_finite && absolute <= tolerance.absolute + tolerance.relative * std::abs(y) ? 0 : 1;
    max_absolute = std::max(max_absolute, absolute);
    max_relative = std::max(max_relative, relative);
    sum_absolute += absolute;
    sum_relative += relative;
  }
}

bool OutputComparison::differs() const {
  return !has_hidden || !has_logits || logits.outside > 0 || !flips.empty() ||
         std::any_of(hidden.begin(), hidden.end(), [](const Difference& layer) { return layer.outside > 0; });
}

std::vector<TensorComparison> compare_weights(const fs::path& folder_a, const fs::path& folder_b,
                                              const Tolerance& tolerance) {
  using Where = TensorComparison::Where;
  const NamedCheckpoint a(folder_a), b(folder_b);
  std::set<std::string> names;
  for (const auto& [name, source] : a.source_of) names.insert(name);
  for (const auto& [name, source] : b.source_of) names.insert(name);
  std::vector<TensorComparison> all;
  for (const std::string& name : names) {
    const auto in_a = a.source_of.find(name), in_b = b.source_of.find(name);
    const bool has_a = in_a != a.source_of.end(), has_b = in_b != b.source_of.end();
    if (has_a != has_b && (a.optional.contains(name) || b.optional.contains(name))) continue;
    TensorComparison tensor;
    tensor.name = name;
    tensor.where = !has_b ? Where::kOnlyInA : !has_a ? Where::kOnlyInB : Where::kBoth;
    const TensorEntry* entry_a = has_a ? a.checkpoint.find(in_a->second) : nullptr;
    const TensorEntry* entry_b = has_b ? b.checkpoint.find(in_b->second) : nullptr;
    if (has_a) tensor.dtype_a = entry_a->dtype, tensor.shape_a = entry_a->shape;
    if (has_b) tensor.dtype_b = entry_b->dtype, tensor.shape_b = entry_b->shape;
    if (tensor.has_values()) {
      compare_values(*entry_a, *entry_b, tolerance, tensor.difference);
      a.checkpoint.forget(in_a->second);
      b.checkpoint.forget(in_b->second);
    }
    all.push_back(std::move(tensor));
  }
  return all;
}

std::vector<TokenSequence> built_in_sequences(int64_t vocab, int count, int length) {
  uint64_t state = 0x9e3779b97f4a7c15;
  std::vector<TokenSequence> sequences(static_cast<size_t>(count));
  for (TokenSequence& sequence : sequences) {
    for (int i = 0; i < length; ++i) {
      // SplitMix64 (Steele, Lea, Flood 2014).
      uint64_t z = state += 0x9e3779b97f4a7c15;
      z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
      z = (z ^ z >> 27) * 0x94d049bb133111eb;
      sequence.push_back(static_cast<int32_t>((z ^ z >> 31) % static_cast<uint64_t>(vocab)));
    }
  }
  return sequences;
}

OutputComparison compare_outputs(const ModelLayout& a, const ModelLayout& b,
                                 const std::vector<TokenSequence>& sequences, const Tolerance& tolerance,
                                 uint64_t max_state_bytes) {
  const ModelSpec spec_a = read_model_spec(a.folder), spec_b = read_model_spec(b.folder);
  OutputComparison result;
  result.has_hidden = spec_a.layers == spec_b.layers && spec_a.hidden == spec_b.hidden;
  result.has_logits = spec_a.vocab == spec_b.vocab;
  if (!result.has_hidden && !result.has_logits) return result;
  check_state_bytes(spec_a, result.has_hidden, sequences, max_state_bytes);
  std::vector<States> of_a(sequences.size());
  run_model(a, spec_a, sequences, result.has_hidden,
            [&](size_t sequence, States states) { of_a[sequence] = std::move(states); });
  if (result.has_hidden) result.hidden.resize(static_cast<size_t>(spec_a.layers) + 1);
  run_model(b, spec_b, sequences, result.has_hidden, [&](size_t sequence, const States& states) {
    const States& first = of_a[sequence];
    for (size_t layer = 0; layer < result.hidden.size(); ++layer) {
      const at::Tensor x = first.hidden_TD[layer].contiguous(), y = states.hidden_TD[layer].contiguous();
      result.hidden[layer].add(x.const_data_ptr<float>(), y.const_data_ptr<float>(), x.numel(), tolerance);
    }
    if (result.has_logits) compare_logits(sequence, first.logits_TV, states.logits_TV, tolerance, result);
    of_a[sequence] = {};
  });
  if (result.positions > 0) result.mean_kl /= static_cast<double>(result.positions);
  return result;
}

}  // namespace evalmpi::model
