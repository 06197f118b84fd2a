#include "evalmpi/model/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "evalmpi/base/file.h"
#include "evalmpi/model/memory.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/tensor_table.h"
#include "fixture.h"

namespace evalmpi::model {
namespace {

Json expected(const char* name) { return read_json_file(fixture(name) / "expected.json"); }

TEST(TensorTable, CountsParametersAsTransformersDoes) {
  for (const char* name : kFixtures) {
    const std::vector<TensorRow> table = make_tensor_table(read_model_spec(fixture(name)));
    EXPECT_EQ(count_parameters(table), expected(name).at("parameters").get<int64_t>()) << name;
  }
}

TEST(TensorTable, NamesAndShapesAreThoseOfTheFiles) {
  for (const char* name : kFixtures) {
    const ModelSpec spec = read_model_spec(fixture(name));
    const Checkpoint checkpoint(fixture(name));
    const std::vector<TensorRow> table = make_tensor_table(spec);
    EXPECT_EQ(table.size(), checkpoint.tensors().size()) << name;
    for (const TensorRow& row : table) {
      const TensorEntry* entry = checkpoint.find(row.source_name);
      ASSERT_NE(entry, nullptr) << row.source_name;
      EXPECT_EQ(entry->shape, row.shape) << row.source_name;
    }
  }
}

TEST(TensorTable, FusedRowsAreTheHeadsOfThisPlace) {
  const ModelSpec spec = read_model_spec(fixture("neox"));  // 5 heads of 8
  const ShardPlan plan = make_shard_plan(spec, 3);
  for (const TensorRow& row : make_tensor_table(spec)) {
    if (row.slot != Slot::kQueryKeyValue || row.layer != 1) continue;
    const Slice slice = shard_slice(row, spec, plan.ranks[1]);  // heads 2 and 3
    EXPECT_EQ(slice.ranges, (std::vector<Range>{{48, 56}, {72, 80}, {56, 64}, {80, 88}, {64, 72}, {88, 96}}));
    EXPECT_EQ(row.adapter_target, "query_key_value");
  }
}

// Every rotary frequency of transformers, to the last bit.
TEST(Rotary, InverseFrequenciesAreThoseOfTransformers) {
  for (const char* name : kFixtures) {
    const std::vector<float> ours = rotary_inverse_frequencies(read_model_spec(fixture(name)).rotary);
    EXPECT_EQ(ours, expected(name).at("inverse_frequencies").get<std::vector<float>>()) << name;
  }
}

TEST(Rotary, TablesAreCosAndSinOfTheRoundedAngle) {
  RotarySpec rotary;
  rotary.dims = 64;
  const RotaryTables tables = make_rotary_tables(rotary, 300);
  const std::vector<float> frequencies = rotary_inverse_frequencies(rotary);
  ASSERT_EQ(tables.cos_PR.size(1), 32);
  EXPECT_EQ(frequencies[0], 1.0f);
  const float* cosines = tables.cos_PR.const_data_ptr<float>();
  const float* sines = tables.sin_PR.const_data_ptr<float>();
  for (size_t i = 0; i < 32; ++i) {
    const double angle = static_cast<double>(299.0f * frequencies[i]);
    EXPECT_NEAR(cosines[299 * 32 + i], std::cos(angle), 1e-7);
    EXPECT_NEAR(sines[299 * 32 + i], std::sin(angle), 1e-7);
    EXPECT_EQ(cosines[i], 1.0f);
    EXPECT_EQ(sines[i], 0.0f);
  }
}

TEST(Weights, EachPlaceReadsOnlyItsShard) {
  for (const char* name : kFixtures) {
    const ModelSpec spec = read_model_spec(fixture(name));
    const std::vector<TensorRow> table = make_tensor_table(spec);
    for (const int tp : {1, 3, 12}) {
      const ShardPlan plan = make_shard_plan(spec, tp);
      for (int rank = 0; rank < tp; ++rank) {
        uint64_t done = 0, total = 0;
        LoadOptions options;
        options.progress = [&](uint64_t done_bytes, uint64_t total_bytes) {
          EXPECT_GE(done_bytes, done);
          done = done_bytes;
          total = total_bytes;
        };
        const auto weights = load_weights(fixture(name), spec, plan, rank, options);
        const auto parameters =
            static_cast<uint64_t>(count_parameters(table, spec, plan.ranks[static_cast<size_t>(rank)]));
        EXPECT_EQ(weights->bytes_read, parameters * static_cast<uint64_t>(bytes_of(spec.source_dtype))) << name;
        EXPECT_EQ(done, weights->bytes_read);
        EXPECT_EQ(total, weights->bytes_read);
      }
    }
  }
}

TEST(Weights, RotaryTablesHaveTheRowsAskedFor) {
  ModelSpec spec = read_model_spec(fixture("llama"));
  const ShardPlan plan = make_shard_plan(spec, 1);
  LoadOptions options;
  options.max_positions = 17;
  EXPECT_EQ(load_weights(fixture("llama"), spec, plan, 0, options)->rotary_cos_PR.size(0), 17);
  EXPECT_EQ(load_weights(fixture("llama"), spec, plan, 0)->rotary_cos_PR.size(0), 64);
  spec.max_positions = int64_t{1} << 40;
  expect_error(ExitCode::kBadInput, [&] { load_weights(fixture("llama"), spec, plan, 0); }, {"positions", "llama"});
}

TEST(Memory, PredictsWhatIsAllocated) {
  for (const char* name : kFixtures) {
    const ModelSpec spec = read_model_spec(fixture(name));
    const ShardPlan plan = make_shard_plan(spec, 2);
    for (int rank = 0; rank < 2; ++rank) {
      const MemoryEstimate estimate = estimate_memory(spec, plan, rank, spec.source_dtype);
      const int64_t packed = load_weights(fixture(name), spec, plan, rank)->bytes();
      // Packing pads panels, which shows on widths as small as these.
      EXPECT_GE(packed, estimate.weight_bytes * 95 / 100) << name;
      EXPECT_LE(packed, estimate.weight_bytes * 3) << name;
      EXPECT_EQ(estimate.key_value_bytes_per_position,
                2 * 2 * plan.ranks[static_cast<size_t>(rank)].kv_heads.size() * spec.head_dim * 4);
      EXPECT_EQ(estimate.total_bytes(3, 2, 10, 1), estimate.weight_bytes + 3 * estimate.activation_bytes_per_row +
                                                       20 * estimate.key_value_bytes_per_position +
                                                       estimate.head_bytes_per_row);
    }
  }
}

// The fixture's only weight file with its header changed by `change` and its data by `damage`.
void rewrite(const TemporaryFolder& folder, const std::function<void(Json&)>& change,
             const std::function<void(std::string&)>& damage) {
  const std::string bytes = read_file(folder.path() / "model.safetensors");
  uint64_t length = 0;
  for (size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  Json header = parse_json(bytes.substr(8, length), "header");
  std::string data = bytes.substr(8 + length);
  change(header);
  damage(data);
  folder.write("model.safetensors", safetensors_bytes(header.dump(), data));
}

void load(const TemporaryFolder& folder) {
  const ModelSpec spec = read_model_spec(folder.path());
  load_weights(folder.path(), spec, make_shard_plan(spec, 1), 0);
}

TEST(Weights, NamesTheTensorThatDoesNotFit) {
  const char* const key = "model.layers.1.self_attn.k_proj.weight";
  const auto no_damage = [](std::string&) {};
  {
    const TemporaryFolder folder;
    folder.copy_fixture("llama");
    rewrite(
        folder, [&](Json& header) { header["other"] = header[key], header.erase(key); }, no_damage);
    expect_error(ExitCode::kBadInput, [&] { load(folder); }, {key, "missing", "[20, 20]", folder.path().c_str()});
  }
  {
    const TemporaryFolder folder;
    folder.copy_fixture("llama");
    rewrite(
        folder,
        [&](Json& header) {
          header[key]["shape"] = {10, 40};
        },
        no_damage);
    expect_error(ExitCode::kBadInput, [&] { load(folder); }, {key, "[10, 40]", "[20, 20]", "model.safetensors"});
  }
  {
    const TemporaryFolder folder;
    folder.copy_fixture("llama");
    rewrite(
        folder, [&](Json& header) { header[key]["dtype"] = "I32"; }, no_damage);
    expect_error(ExitCode::kBadInput, [&] { load(folder); }, {key, "I32", "BF16"});
  }
}

TEST(Weights, RefusesNanAndInfinity) {
  const float not_finite[] = {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()};
  for (const char* key : {"model.norm.weight", "model.layers.0.mlp.down_proj.weight", "lm_head.weight"}) {
    for (const float& value : not_finite) {
      const TemporaryFolder folder;
      folder.copy_fixture("llama");
      uint64_t end = 0;
      rewrite(
          folder, [&](Json& header) { end = header[key]["data_offsets"][1].get<uint64_t>(); },
          [&](std::string& data) { data.replace(end - 4, 4, reinterpret_cast<const char*>(&value), 4); });
      expect_error(ExitCode::kBadInput, [&] { load(folder); }, {key, "NaN"});
    }
  }
}

TEST(Weights, CutOffFile) {
  const TemporaryFolder folder;
  folder.copy_fixture("llama");
  std::filesystem::resize_file(folder.path() / "model.safetensors", 100'000);
  expect_error(ExitCode::kBadInput, [&] { load(folder); }, {"model.safetensors", "not fully downloaded"});
}

TEST(Digest, ChangesWithWeightsAndConfigOnly) {
  const TemporaryFolder folder;
  folder.copy_fixture("llama_bf16");
  const Hash128 before = model_digest(folder.path());
  EXPECT_EQ(model_digest(fixture("llama_bf16")), before);
  EXPECT_EQ(model_digest(folder.path(), 4), before);
  folder.write("tokenizer.json", "{}");
  EXPECT_EQ(model_digest(folder.path()), before);
  const char* const file = "model-00002-of-00002.safetensors";
  std::string bytes = read_file(folder.path() / file);
  bytes.back() ^= 1;
  folder.write(file, bytes);
  const Hash128 changed = model_digest(folder.path());
  EXPECT_NE(changed, before);
  folder.write("config.json", read_file(folder.path() / "config.json") + " ");
  EXPECT_NE(model_digest(folder.path()), changed);
}

}  // namespace
}  // namespace evalmpi::model
