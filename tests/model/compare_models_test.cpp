// Comparisons against closed forms, and against what layouts and dtypes must and must not change.

#include "evalmpi/model/compare_models.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "evalmpi/model/convert.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/safetensors_writer.h"
#include "fixture.h"
#include "temporary_directory.h"

namespace evalmpi::model {
namespace {

namespace fs = std::filesystem;

fs::path family(const std::string& name) { return fs::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/families" / name; }

size_t count_differing(const std::vector<TensorComparison>& all) {
  size_t count = 0;
  for (const TensorComparison& tensor : all) count += tensor.differs() ? 1 : 0;
  return count;
}

// A copy of `name` in float32 with `delta` added to the first value of `tensor`.
void write_altered(const std::string& name, const std::string& tensor, float delta, const fs::path& output) {
  convert_model(family(name), output, {.dtype = DType::kFloat32});
  std::vector<OutputTensor> tensors;
  std::string data;
  {
    const Checkpoint checkpoint(output);
    for (const auto& [key, entry] : checkpoint.tensors()) {
      tensors.push_back({key, entry.dtype, entry.shape});
      std::string bytes(entry.bytes);
      if (key == tensor) {
        float first;
        std::memcpy(&first, bytes.data(), sizeof first);
        first += delta;
        std::memcpy(bytes.data(), &first, sizeof first);
      }
      data += bytes;
    }
  }
  fs::remove(output / "model.safetensors");
  SafetensorsWriter writer(output / "model.safetensors", tensors);
  writer.append(data);
  writer.finish();
}

TEST(Difference, IsTheClosedForm) {
  const float a[] = {1.0f, -2.0f, 0.0f, 4.0f};
  const float b[] = {1.0f, -2.5f, 0.5f, 3.0f};
  Difference difference;
  difference.add(a, b, 4, {.absolute = 0.5, .relative = 0.1});
  EXPECT_EQ(difference.count, 4);
  EXPECT_EQ(difference.outside, 1);  // 1 > 0.5 + 0.1 * 3
  EXPECT_DOUBLE_EQ(difference.max_absolute, 1.0);
  EXPECT_DOUBLE_EQ(difference.mean_absolute(), 0.5);
  EXPECT_DOUBLE_EQ(difference.max_relative, 1.0);
  EXPECT_DOUBLE_EQ(difference.mean_relative(), (0.5 / 2.5 + 1.0 + 0.25) / 4);
}

TEST(Difference, NaNIsFarFromNumbersAndEqualToItself) {
  const float a[] = {NAN, NAN, INFINITY, INFINITY, 1.0f};
  const float b[] = {NAN, 1.0f, INFINITY, -INFINITY, NAN};
  Difference difference;
  difference.add(a, b, 5, {.absolute = 1e30, .relative = 1});
  EXPECT_EQ(difference.outside, 3);
  EXPECT_TRUE(std::isinf(difference.max_absolute));
}

TEST(CompareWeights, FindsTheOneChangedValue) {
  TemporaryDirectory made;
  write_altered("llama_yarn", "model.layers.1.mlp.up_proj.weight", 0.25f, made / "b");
  const auto all = compare_weights(family("llama_yarn"), made / "b", {});
  EXPECT_EQ(count_differing(all), 1u);
  for (const TensorComparison& tensor : all) {
    EXPECT_EQ(tensor.dtype_a, "BF16");
    EXPECT_EQ(tensor.dtype_b, "F32");
    if (!tensor.differs()) continue;
    EXPECT_EQ(tensor.name, "model.layers.1.mlp.up_proj.weight");
    EXPECT_EQ(tensor.difference.outside, 1);
    EXPECT_DOUBLE_EQ(tensor.difference.max_absolute, 0.25);
    EXPECT_DOUBLE_EQ(tensor.difference.mean_absolute(), 0.25 / static_cast<double>(tensor.difference.count));
  }
  EXPECT_EQ(count_differing(compare_weights(family("llama_yarn"), made / "b", {.absolute = 0.25})), 0u);
}

TEST(CompareWeights, BareNamesAreTheSameTensors) {
  TemporaryDirectory made;
  convert_model(family("bloom"), made / "bare", {.names = NameStyle::kBare});
  const auto all = compare_weights(family("bloom"), made / "bare", {});
  EXPECT_GT(all.size(), 10u);
  EXPECT_EQ(count_differing(all), 0u);
}

TEST(CompareWeights, NamesWhatOnlyOneHasAndOtherShapes) {
  const auto all = compare_weights(family("qwen2"), family("mistral"), {});
  size_t only_a = 0;
  for (const TensorComparison& tensor : all) {
    only_a += tensor.where == TensorComparison::Where::kOnlyInA ? 1 : 0;
    if (tensor.name == "model.layers.0.self_attn.q_proj.bias") {
      EXPECT_EQ(tensor.where, TensorComparison::Where::kOnlyInA);
      EXPECT_TRUE(tensor.shape_b.empty());
      EXPECT_TRUE(tensor.differs());
    }
  }
  EXPECT_GT(only_a, 0u);
}

TEST(CompareOutputs, AModelEqualsItself) {
  const auto sequences = built_in_sequences(19, 2, 24);
  const OutputComparison same = compare_outputs({family("gemma2"), 1}, {family("gemma2"), 1}, sequences, {});
  EXPECT_FALSE(same.differs());
  EXPECT_EQ(same.positions, 48);
  EXPECT_EQ(same.max_kl, 0);
  EXPECT_EQ(same.logits.max_absolute, 0);
  EXPECT_GT(same.logits.max_value, 0);
}

TEST(CompareOutputs, LayoutsAgreeWithinRounding) {
  const auto sequences = built_in_sequences(29, 2, 24);
  const OutputComparison layouts =
      compare_outputs({family("llama_yarn"), 1}, {family("llama_yarn"), 3}, sequences, {.absolute = 1e-4});
  EXPECT_FALSE(layouts.differs());
  EXPECT_GT(layouts.logits.max_absolute, 0);  // other sums, other last bits
  EXPECT_LT(layouts.max_kl, 1e-6);
}

TEST(CompareOutputs, ShowsTheLayerThatChanged) {
  TemporaryDirectory made;
  write_altered("llama_yarn", "model.layers.1.mlp.up_proj.weight", 0.25f, made / "b");
  const auto sequences = built_in_sequences(29, 2, 24);
  const OutputComparison changed = compare_outputs({family("llama_yarn"), 1}, {made / "b", 1}, sequences, {});
  ASSERT_GE(changed.hidden.size(), 3u);
  EXPECT_EQ(changed.hidden[0].outside, 0);
  EXPECT_EQ(changed.hidden[1].outside, 0);
  EXPECT_GT(changed.hidden[2].outside, 0);
  EXPECT_GT(changed.max_kl, 0);
  EXPECT_TRUE(changed.differs());
}

TEST(CompareOutputs, BoundsItsMemory) {
  const auto sequences = built_in_sequences(29, 2, 24);
  expect_error(ExitCode::kUsage,
               [&] {
                 compare_outputs({family("opt"), 1}, {family("opt"), 1}, sequences, {}, 1000);
               },
               {"48 prompt tokens", "fewer prompts"});
  expect_error(ExitCode::kUsage, [&] { compare_outputs({family("opt"), 1}, {family("opt"), 1}, {{}}, {}); }, {"empty"});
}

TEST(CompareOutputs, AFailureInOnePlaceEndsAll) {
  TemporaryDirectory made;
  write_altered("llama_yarn", "model.norm.weight", std::numeric_limits<float>::quiet_NaN(), made / "b");
  expect_error(ExitCode::kBadInput,
               [&] {
                 compare_outputs({family("llama_yarn"), 1}, {made / "b", 3}, built_in_sequences(29, 1, 8), {});
               },
               {"model.norm.weight"});
}

}  // namespace
}  // namespace evalmpi::model
