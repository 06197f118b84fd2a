// Bytes on a device, against closed forms. (Those of a CPU are compared with loaded weights in weights_test.cpp.)

#include "evalmpi/model/memory.h"

#include <gtest/gtest.h>

#include "evalmpi/model/tensor_table.h"
#include "fixture.h"

namespace evalmpi::model {
namespace {

// The shape of Llama 3 8B.
ModelSpec llama_8b() {
  ModelSpec spec;
  spec.family = "llama";
  spec.hidden = 4096;
  spec.layers = 32;
  spec.heads = 32;
  spec.kv_heads = 8;
  spec.head_dim = 128;
  spec.mlp = 14336;
  spec.vocab = 128256;
  spec.max_positions = 8192;
  spec.rotaries.resize(1);
  spec.rotaries[0].dims = 128;
  spec.layer.resize(32);
  spec.source_dtype = DType::kBFloat16;
  return spec;
}

TEST(DeviceMemory, of_a_large_llama_is_what_its_tensors_are) {
  const ModelSpec spec = llama_8b();
  const int64_t parameters = count_parameters(make_tensor_table(spec));
  EXPECT_EQ(parameters, 8'030'261'248) << "as its model card says";
  const PlaceMemory memory = device_place_memory(spec, make_shard_plan(spec, 1), 0, DType::kBFloat16);
  const int64_t norms = 65 * 4096, rotary = 8192 * 128 * 4;
  EXPECT_EQ(memory.weight_bytes, 2 * parameters + 2 * norms + rotary);
  EXPECT_EQ(memory.largest_tensor_bytes, int64_t{128256} * 4096 * 2);
  // Two of 8 heads x 128 values in 32 layers.
  EXPECT_EQ(memory.key_value_bytes_per_position, 2 * 32 * 8 * 128 * 2);
  const LaneBytes lane = memory.of_lane({.rows = 4096, .head_rows = 4096, .paths = 3, .positions = 1024});
  EXPECT_EQ(lane.key_values, 3 * 1024 * memory.key_value_bytes_per_position);
  // The MLP's three columns in bfloat16 are the most of a row; more than twice that would be a mistake.
  EXPECT_GT(memory.activation_bytes_per_row, 3 * 14336 * 2);
  EXPECT_LT(memory.activation_bytes_per_row, 2 * 3 * 14336 * 2);
}

TEST(DeviceMemory, float32_takes_twice_as_much) {
  const ModelSpec spec = llama_8b();
  const ShardPlan plan = make_shard_plan(spec, 1);
  const PlaceMemory narrow = device_place_memory(spec, plan, 0, DType::kFloat16);
  const PlaceMemory wide = device_place_memory(spec, plan, 0, DType::kFloat32);
  EXPECT_EQ(wide.key_value_bytes_per_position, 2 * narrow.key_value_bytes_per_position);
  EXPECT_GT(wide.weight_bytes, 199 * narrow.weight_bytes / 100);
  EXPECT_LT(wide.weight_bytes, 2 * narrow.weight_bytes);
}

TEST(DeviceMemory, of_uneven_places_adds_up) {
  const ModelSpec spec = llama_8b();
  const ShardPlan plan = make_shard_plan(spec, 3);
  const PlaceMemory whole = device_place_memory(spec, make_shard_plan(spec, 1), 0, DType::kBFloat16);
  int64_t weights = 0;
  for (int rank = 0; rank < 3; ++rank) weights += device_place_memory(spec, plan, rank, DType::kBFloat16).weight_bytes;
  const int64_t on_each = 65 * 4096 * 4 + 8192 * 128 * 4;
  EXPECT_EQ(weights, whole.weight_bytes + 2 * on_each);
}

TEST(DeviceMemory, of_fixtures_is_known_for_every_family) {
  for (const char* name : {"llama", "llama_odd", "neox"}) {
    const ModelSpec spec = read_model_spec(fixture(name));
    const PlaceMemory memory = device_place_memory(spec, make_shard_plan(spec, 1), 0, DType::kFloat32);
    EXPECT_GE(memory.weight_bytes, 4 * count_parameters(make_tensor_table(spec))) << name;
  }
}

}  // namespace
}  // namespace evalmpi::model
