// The transformer against the log-probabilities that transformers computed (tools/fixtures/make_model_fixtures.py), and
// against itself: any layout, any cut into segments, any tree.

#include "evalmpi/model/transformer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <thread>

#include "evalmpi/base/file.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/weights.h"
#include "fixture.h"

namespace evalmpi::model {
namespace {

using Ids = std::vector<int32_t>;

// Places of one tensor-parallel group, each driven by a thread of its own.
class Group {
 public:
  Group(const std::filesystem::path& folder, int tp, const LoadOptions& options = {})
      : tp_(comm::Communicator::threads(tp)) {
    const ModelSpec spec = read_model_spec(folder);
    const ShardPlan plan = make_shard_plan(spec, tp);
    for (int rank = 0; rank < tp; ++rank) places_.emplace_back(load_weights(folder, spec, plan, rank, options));
  }

  // f(transformer, communicator) on all places; their results must be equal.
  template <typename F>
  auto run(F f) -> decltype(f(std::declval<const Transformer&>(), std::declval<comm::Communicator&>())) {
    std::vector<decltype(f(places_[0], tp_[0]))> results(places_.size());
    {
      std::vector<std::jthread> threads;
      for (size_t rank = 0; rank < places_.size(); ++rank) {
        threads.emplace_back([&, rank] {
          const InferenceThread guard;
          results[rank] = f(places_[rank], tp_[rank]);
        });
      }
    }
    for (const auto& result : results) EXPECT_EQ(result, results[0]);
    return results[0];
  }

 private:
  std::vector<comm::Communicator> tp_;
  std::vector<Transformer> places_;
};

// ids[begin, end) of a sequence as one segment on path 0.
Segment sequence_part(const Ids& ids, size_t begin, size_t end) {
  Segment segment;
  segment.ids.assign(ids.begin() + static_cast<int64_t>(begin), ids.begin() + static_cast<int64_t>(end));
  for (size_t i = begin; i < end; ++i) segment.positions.push_back(static_cast<int32_t>(i));
  segment.spans.push_back({0, static_cast<int32_t>(begin), 0, static_cast<int32_t>(end - begin)});
  return segment;
}

at::Tensor run_segment(const Transformer& model, const Segment& segment, ops::KeyValueStore& store,
                       comm::Communicator& tp) {
  return model.run_layers(model.embed(segment, tp), segment, 0, model.spec().layers, store, tp);
}

// Log-probabilities of the whole vocabulary at `rows`, [rows * V].
std::vector<float> all_logprobs(const Transformer& model, const at::Tensor& hidden_TD, const Ids& rows,
                                comm::Communicator& tp) {
  Ids row_of_target, token_of_target;
  for (size_t row = 0; row < rows.size(); ++row) {
    for (int64_t token = 0; token < model.spec().vocab; ++token) {
      row_of_target.push_back(static_cast<int32_t>(row));
      token_of_target.push_back(static_cast<int32_t>(token));
    }
  }
  return model.head(hidden_TD, rows, row_of_target, token_of_target, tp).logprob_M;
}

std::vector<float> score(Group& group, const Ids& ids, const Ids& rows) {
  return group.run([&](const Transformer& model, comm::Communicator& tp) {
    ops::KeyValueStore store = model.make_key_value_store(1);
    return all_logprobs(model, run_segment(model, sequence_part(ids, 0, ids.size()), store, tp), rows, tp);
  });
}

// The largest difference from transformers over all sequences, rows and tokens of a fixture.
float largest_error(const char* name, Group& group) {
  float largest = 0.0f;
  const Json expected = read_json_file(fixture(name) / "expected.json");
  EXPECT_EQ(expected.at("sequences").size(), 3u);
  for (const Json& sequence : expected.at("sequences")) {
    const Ids rows = sequence.at("rows").get<Ids>();
    const std::vector<float> ours = score(group, sequence.at("ids").get<Ids>(), rows);
    size_t at = 0;
    for (const Json& row : sequence.at("logprobs")) {
      for (const float logprob : row.get<std::vector<float>>()) {
        const float error = std::abs(ours[at++] - logprob);
        if (!(error <= largest) && !std::isnan(largest)) largest = error;
      }
    }
    EXPECT_EQ(at, ours.size());
  }
  return largest;
}

TEST(Transformer, EqualsTransformersOnAnyTensorParallelLayout) {
  for (const char* name : kFixtures) {
    for (const int tp : {1, 2, 3, 4, 7, 12}) {
      Group group(fixture(name), tp);
      EXPECT_LE(largest_error(name, group), 2e-5f) << name << ", tp " << tp;
    }
  }
}

TEST(Transformer, EqualsTransformersThroughAten) {
  LoadOptions options;
  options.pack = false;
  for (const char* name : kFixtures) {
    for (const int tp : {1, 3}) {
      Group group(fixture(name), tp, options);
      EXPECT_LE(largest_error(name, group), 2e-5f) << name << ", tp " << tp;
    }
  }
}

Ids longest_sequence(const char* name) {
  return read_json_file(fixture(name) / "expected.json").at("sequences").back().at("ids").get<Ids>();
}

Ids all_rows(size_t count) {
  Ids rows(count);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

TEST(Transformer, BitsDoNotDependOnTheCutIntoSegments) {
  for (const char* name : kFixtures) {
    const Ids ids = longest_sequence(name);
    for (const int tp : {1, 3}) {
      Group group(fixture(name), tp);
      const std::vector<float> whole = score(group, ids, all_rows(ids.size()));
      for (const std::vector<size_t>& cuts :
           {std::vector<size_t>{0, 1, 2, 21}, {0, 7, 8, 20, 21}, {0, 16, 21}, {0, 5, 10, 15, 21}}) {
        const auto in_parts = [&](const Transformer& model, comm::Communicator& tp_group) {
          ops::KeyValueStore store = model.make_key_value_store(1);
          std::vector<float> logprobs;
          for (size_t i = 0; i + 1 < cuts.size(); ++i) {
            const Segment part = sequence_part(ids, cuts[i], cuts[i + 1]);
            const at::Tensor hidden_TD = run_segment(model, part, store, tp_group);
            for (const float value : all_logprobs(model, hidden_TD, all_rows(part.ids.size()), tp_group)) {
              logprobs.push_back(value);
            }
          }
          return logprobs;
        };
        EXPECT_EQ(group.run(in_parts), whole) << name << ", tp " << tp;
      }
    }
  }
}

// root(0..5) -> a(6..8) -> a1(9..11), a2(9..10); b(6..9), as one segment of spans on one path, in depth-first order.
TEST(Transformer, BitsOfATreeAreThoseOfItsPaths) {
  const Ids root = {5, 9, 200, 17, 3, 44}, a = {7, 7, 8}, a1 = {100, 101, 102}, a2 = {100, 33}, b = {150, 2, 9, 61};
  Segment tree;
  int32_t row = 0;
  const auto add = [&](const Ids& node, int32_t start) {
    const auto length = static_cast<int32_t>(node.size());
    tree.spans.push_back({0, start, row, length});
    for (int32_t i = 0; i < length; ++i) {
      tree.ids.push_back(node[static_cast<size_t>(i)]);
      tree.positions.push_back(start + i);
    }
    row += length;
  };
  add(root, 0), add(a, 6), add(a1, 9), add(a2, 9), add(b, 6);
  const auto joined = [](std::initializer_list<Ids> parts) {
    Ids ids;
    for (const Ids& part : parts) ids.insert(ids.end(), part.begin(), part.end());
    return ids;
  };
  struct Path {
    Ids ids;
    int32_t last_row;
  };
  const Path paths[] = {{joined({root, a, a1}), 11}, {joined({root, a, a2}), 13}, {joined({root, b}), 17}};
  for (const char* name : {"llama", "neox"}) {
    Group group(fixture(name), 2);
    for (const Path& path : paths) {
      const auto of_tree = group.run([&](const Transformer& model, comm::Communicator& tp) {
        ops::KeyValueStore store = model.make_key_value_store(1);
        return all_logprobs(model, run_segment(model, tree, store, tp), {path.last_row}, tp);
      });
      EXPECT_EQ(of_tree, score(group, path.ids, {static_cast<int32_t>(path.ids.size()) - 1})) << name;
    }
  }
}

TEST(Transformer, BitsOfABatchAreThoseOfItsSequences) {
  const Ids one = longest_sequence("llama"), two = {11, 12, 13};
  Group group(fixture("llama"), 1);
  Segment batch = sequence_part(one, 0, one.size());
  batch.ids.insert(batch.ids.end(), two.begin(), two.end());
  batch.positions.insert(batch.positions.end(), {0, 1, 2});
  batch.spans.push_back({1, 0, static_cast<int32_t>(one.size()), 3});
  const auto together = group.run([&](const Transformer& model, comm::Communicator& tp) {
    ops::KeyValueStore store = model.make_key_value_store(2);
    return all_logprobs(model, run_segment(model, batch, store, tp), {20, 23}, tp);
  });
  std::vector<float> alone = score(group, one, {20});
  for (const float value : score(group, two, {2})) alone.push_back(value);
  EXPECT_EQ(together, alone);
}

TEST(Transformer, HeadNamesTheArgmax) {
  const Ids ids = longest_sequence("llama_odd");
  for (const int tp : {1, 3}) {
    Group group(fixture("llama_odd"), tp);
    group.run([&](const Transformer& model, comm::Communicator& tp_group) {
      ops::KeyValueStore store = model.make_key_value_store(1);
      const at::Tensor hidden_TD = run_segment(model, sequence_part(ids, 0, ids.size()), store, tp_group);
      const std::vector<float> logprobs = all_logprobs(model, hidden_TD, {20}, tp_group);
      const auto best = static_cast<int32_t>(std::max_element(logprobs.begin(), logprobs.end()) - logprobs.begin());
      const int32_t other = (best + 1) % static_cast<int32_t>(model.spec().vocab);
      const HeadResult result = model.head(hidden_TD, Ids{3, 20}, Ids{1, 1}, Ids{best, other}, tp_group);
      EXPECT_EQ(result.argmax_R.size(), 2u);
      EXPECT_EQ(result.argmax_R[1], best);
      EXPECT_EQ(result.is_argmax_M, (std::vector<uint8_t>{1, 0}));
      EXPECT_EQ(result.logprob_M[0], logprobs[static_cast<size_t>(best)]);
      double total = 0.0;
      for (const float logprob : logprobs) total += std::exp(static_cast<double>(logprob));
      EXPECT_NEAR(total, 1.0, 1e-5);
      return result.argmax_R;
    });
  }
}

TEST(Transformer, RefusesForeignTokensAndTooLongSequences) {
  Group group(fixture("llama"), 1);
  const auto run = [&](const Ids& ids) {
    return [&group, ids] {
      group.run([&](const Transformer& model, comm::Communicator& tp) {
        ops::KeyValueStore store = model.make_key_value_store(1);
        expect_error(ExitCode::kBadInput, [&] { run_segment(model, sequence_part(ids, 0, ids.size()), store, tp); },
                     {ids.size() > 1 ? "64 positions" : "vocabulary of 211"});
        return 0;
      });
    };
  };
  run({211})();
  run({-1})();
  run(Ids(65, 1))();
}

TEST(Transformer, NanIsAnErrorOnAllRanks) {
  Group group(fixture("llama"), 3);
  group.run([&](const Transformer& model, comm::Communicator& tp) {
    ops::KeyValueStore store = model.make_key_value_store(1);
    const Segment segment = sequence_part({1, 2, 3}, 0, 3);
    const at::Tensor hidden_TD = run_segment(model, segment, store, tp).mul(INFINITY);
    expect_error(ExitCode::kBadInput, [&] { model.head(hidden_TD, Ids{2}, Ids{0}, Ids{5}, tp); }, {"NaN"});
    return 0;
  });
}

// Steps of decoding by one prepared segment, filled again each time, also with fewer rows: bits of segments of their
// own.
TEST(Transformer, PreparedSegmentsCanBeFilledAgain) {
  const Ids ids = longest_sequence("llama");
  const auto step = [&](int32_t position, int32_t paths) {
    Segment segment;
    for (int32_t path = 0; path < paths; ++path) {
      segment.ids.push_back(ids[static_cast<size_t>(position + path)]);
      segment.positions.push_back(position);
      segment.spans.push_back({path, position, path, 1});
    }
    segment.is_decoding = true;
    return segment;
  };
  const auto steps = static_cast<int32_t>(ids.size()) - 1;
  Group group(fixture("llama"), 3);
  group.run([&](const Transformer& model, comm::Communicator& tp) {
    ops::KeyValueStore one = model.make_key_value_store(2), other = model.make_key_value_store(2);
    const int64_t layers = model.spec().layers;
    PreparedSegment prepared = model.prepare(step(0, 2), one, Ids{0, 1}, steps);
    for (int32_t position = 0; position < steps; ++position) {
      const int32_t paths = position < 10 ? 2 : 1;
      const Segment own = step(position, paths);
      const Ids rows = all_rows(static_cast<size_t>(paths));
      if (position > 0) model.refill(prepared, own, one);
      const at::Tensor found_TD = model.run_layers(model.embed(prepared, tp), prepared, 0, layers, one, tp);
      const at::Tensor want_TD = run_segment(model, own, other, tp);
      EXPECT_TRUE(found_TD.narrow(0, 0, paths).equal(want_TD)) << position;
      EXPECT_EQ(model.finish_argmax(model.begin_argmax(found_TD, prepared), tp, paths),
                model.head(want_TD, rows, {}, {}, tp).argmax_R);
      EXPECT_TRUE(model.finish_logits(model.begin_logits(found_TD, prepared), tp, paths)
                      .equal(model.logits(want_TD, rows, tp)));
    }
    return 0;
  });
}

}  // namespace
}  // namespace evalmpi::model
