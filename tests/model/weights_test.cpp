#include "evalmpi/model/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "evalmpi/base/file.h"
#include "evalmpi/model/memory.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/tensor_table.h"
#include "evalmpi/model/weight_files.h"
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
    std::set<std::string> sources;
    for (const TensorRow& row : table) {
      const TensorEntry* entry = checkpoint.find(row.source_name);
      ASSERT_NE(entry, nullptr) << row.source_name;
      EXPECT_EQ(entry->shape, row.source.shape) << row.source_name;
      sources.insert(row.source_name);
    }
    EXPECT_EQ(sources.size(), checkpoint.tensors().size()) << name;
  }
}

TEST(TensorTable, FusedRowsAreTheHeadsOfThisPlace) {
  const ModelSpec spec = read_model_spec(fixture("neox"));  // 5 heads of 8
  const ShardPlan plan = make_shard_plan(spec, 3);
  for (const TensorRow& row : make_tensor_table(spec)) {
    if (row.layer != 1 || (row.slot != Slot::kQuery && row.slot != Slot::kKey && row.slot != Slot::kValue)) continue;
    const Slice slice = source_slice(row, shard_slice(row, spec, plan.ranks[1]));  // heads 2 and 3
    const int64_t part = row.slot == Slot::kQuery ? 0 : row.slot == Slot::kKey ? 8 : 16;
    EXPECT_EQ(slice.dim, 0);
    EXPECT_EQ(slice.ranges, (std::vector<Range>{{48 + part, 56 + part}, {72 + part, 80 + part}}));
    EXPECT_EQ(row.source.shape[0], 3 * 40);
    EXPECT_EQ(row.adapter_target, "query_key_value");
  }
}

// Every rotary frequency of transformers, to the last bit.
TEST(Rotary, InverseFrequenciesAreThoseOfTransformers) {
  for (const char* name : kFixtures) {
    const std::vector<float> ours = rotary_inverse_frequencies(read_model_spec(fixture(name)).rotaries.at(0));
    EXPECT_EQ(ours, expected(name).at("inverse_frequencies").get<std::vector<float>>()) << name;
  }
}

TEST(Rotary, TablesAreCosAndSinOfTheRoundedAngle) {
  RotarySpec rotary;
  rotary.dims = 64;
  const ops::RotaryTable tables = make_rotary_table(rotary, 300);
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
  EXPECT_EQ(load_weights(fixture("llama"), spec, plan, 0, options)->rotaries.at(0).cos_PR.size(0), 17);
  EXPECT_EQ(load_weights(fixture("llama"), spec, plan, 0)->rotaries.at(0).cos_PR.size(0), 64);
  spec.max_positions = int64_t{1} << 40;
  expect_error(ExitCode::kBadInput, [&] { load_weights(fixture("llama"), spec, plan, 0); }, {"positions", "llama"});
}

TEST(Memory, WeightsTakeWhatWasPredicted) {
  for (const char* name : kFixtures) {
    const ModelSpec spec = read_model_spec(fixture(name));
    for (const int tp : {1, 2, 3}) {
      const ShardPlan plan = make_shard_plan(spec, tp);
      for (int rank = 0; rank < tp; ++rank) {
        const PlaceMemory memory = place_memory(spec, plan, rank, spec.source_dtype);
        EXPECT_EQ(memory.weight_bytes, load_weights(fixture(name), spec, plan, rank)->bytes())
            << name << " " << rank << "/" << tp;
      }
    }
  }
}

// The families whose tensors are unlike the others': stacked, widened, one for each head, latent, projected.
TEST(Memory, FamiliesTakeWhatWasPredicted) {
  for (const char* name :
       {"gpt_oss", "gpt_oss_mxfp4", "deepseek_v2", "deepseek_v3", "stablelm_heads", "opt_350m", "granitemoe"}) {
    const std::filesystem::path folder = std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/families" / name;
    const ModelSpec spec = read_model_spec(folder);
    for (const int tp : {1, 3}) {
      const ShardPlan plan = make_shard_plan(spec, tp, 1);
      for (int rank = 0; rank < tp; ++rank) {
        EXPECT_EQ(place_memory(spec, plan, rank, spec.source_dtype).weight_bytes,
                  load_weights(folder, spec, plan, rank)->bytes())
            << name << " " << rank << "/" << tp;
      }
    }
  }
}

// hidden 8, one layer, 2 query heads and 1 KV head of 4, MLP 24, vocabulary 20, all float32.
TEST(Memory, IsTheSumOfWhatIsAliveAtOnce) {
  ModelSpec spec;
  spec.family = "llama";
  spec.hidden = 8;
  spec.layers = 3;
  spec.heads = 2;
  spec.kv_heads = 1;
  spec.head_dim = 4;
  spec.mlp = 24;
  spec.vocab = 20;
  spec.max_positions = 10;
  spec.rotaries.resize(1);
  spec.rotaries[0].dims = 4;
  spec.layer.resize(3);
  const PlaceMemory memory = place_memory(spec, make_shard_plan(spec, 1), 0, DType::kBFloat16);
  const int64_t packed =
      16 * 8 + 2 * 16 * 8 + 16 * 8 + 2 * 32 * 8 + 16 * 24;  // query, key and value, out, gate and up, down
  const int64_t tables = 20 * 8 + 32 * 8;                   // embedding, head in panels of 16
  EXPECT_EQ(memory.weight_bytes, 2 * (3 * packed + tables) + 4 * (3 * 2 * 8 + 8) + 4 * 2 * 10 * 2);
  EXPECT_EQ(memory.largest_tensor_bytes, 2 * 16 * 24);
  EXPECT_EQ(memory.key_value_bytes_per_position, 3 * (4 + 16) * 4);
  EXPECT_EQ(memory.activation_bytes_per_row, (5 * 8 + 3 * 24) * 4);
  const LaneBytes lane = memory.of_lane({.rows = 7, .head_rows = 5, .logit_rows = 2, .paths = 3, .positions = 17});
  EXPECT_EQ(lane.key_values, 3 * 32 * memory.key_value_bytes_per_position);
  EXPECT_EQ(lane.activations, 7 * memory.activation_bytes_per_row * 5 / 4);
  EXPECT_EQ(lane.head, 5 * memory.head_bytes_per_row + 2 * memory.logits_bytes_per_row + memory.scratch_bytes_per_lane);
}

// A thread takes the next tensor; what it packs is there as pages of the file and, as far as it has come, packed.
TEST(Memory, LoadingHoldsTheTensorsThatAreBeingPacked) {
  PlaceMemory memory;
  memory.tensors_bytes = {8, 1, 1, 8};
  EXPECT_EQ(memory.loading_bytes(1), 8) << "the last one, all others packed";
  // At 8 the first is done: 16, the small ones 2, the last at 6 of 8.
  EXPECT_EQ(memory.loading_bytes(2), 16 + 2 + 8 + 6 - 18);
  EXPECT_EQ(memory.loading_bytes(4), 16) << "both large ones at once";
  memory.tensors_bytes = {8, 1, 1};
  EXPECT_EQ(memory.loading_bytes(1), 0 + 16 - 10) << "the first one, before the others";
  memory.tensors_bytes = {};
  EXPECT_EQ(memory.loading_bytes(2), 0);
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

// Conv1D weights lie transposed in GPT-2's files; NaNs may hide anywhere in them.
TEST(Weights, FindsNanInTransposedTensors) {
  const std::filesystem::path source = std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/families/gpt2";
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const uint16_t half_nan = 0x7fff;  // in bfloat16 and float16
  for (const char* key : {"transformer.h.0.mlp.c_fc.weight", "transformer.h.0.attn.c_attn.weight"}) {
    const TemporaryFolder folder;
    std::filesystem::copy(source, folder.path(), std::filesystem::copy_options::recursive);
    uint64_t end = 0;
    size_t item_bytes = 4;
    rewrite(
        folder,
        [&](Json& header) {
          ASSERT_TRUE(header.contains(key));
          end = header[key]["data_offsets"][1].get<uint64_t>();
          item_bytes = header[key]["dtype"] == "F32" ? 4 : 2;
        },
        [&](std::string& data) {
          const char* bytes =
              item_bytes == 4 ? reinterpret_cast<const char*>(&nan) : reinterpret_cast<const char*>(&half_nan);
          data.replace(end - item_bytes, item_bytes, bytes, item_bytes);
        });
    expect_error(ExitCode::kBadInput, [&] { load(folder); }, {key, "NaN"});
  }
}

// gpt-oss's experts in 4 bits: a scale of 255 means NaN, and the scales may be missing or cut off.
TEST(Weights, RefusesDamagedMxfp4) {
  const std::filesystem::path source =
      std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/families/gpt_oss_mxfp4";
  const char* const scales = "model.layers.1.mlp.experts.down_proj_scales";
  const auto damaged = [&](const std::function<void(Json&)>& change, const std::function<void(std::string&)>& damage,
                           std::initializer_list<const char*> words) {
    const TemporaryFolder folder;
    std::filesystem::copy(source, folder.path(), std::filesystem::copy_options::recursive);
    rewrite(folder, change, damage);
    expect_error(
        ExitCode::kBadInput, [&] { load(folder); }, words);
  };
  const auto nothing = [](std::string&) {};
  uint64_t begin = 0;
  damaged([&](Json& header) { begin = header.at(scales)["data_offsets"][0].get<uint64_t>(); },
          [&](std::string& data) { data[begin] = static_cast<char>(255); }, {"down_proj_blocks", "NaN"});
  damaged([&](Json& header) { header["other"] = header.at(scales), header.erase(scales); }, nothing,
          {scales, "missing"});
  damaged([&](Json& header) { header.at(scales)["shape"] = {3, 64, 1}; }, nothing, {scales, "shape", "[3, 32, 2]"});
  damaged([&](Json& header) { header.at(scales)["dtype"] = "I8"; }, nothing, {scales, "dtype", "U8"});
}

TEST(Weights, ManyThreadsNameTheFirstTensorOfTheTableThatFails) {
  const TemporaryFolder folder;
  folder.copy_fixture("llama");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const char* const damaged[] = {"lm_head.weight", "model.layers.1.mlp.up_proj.weight",
                                 "model.layers.0.mlp.gate_proj.weight"};
  std::vector<uint64_t> ends;
  rewrite(
      folder,
      [&](Json& header) {
        for (const char* key : damaged) ends.push_back(header[key]["data_offsets"][1].get<uint64_t>());
      },
      [&](std::string& data) {
        for (const uint64_t end : ends) data.replace(end - 4, 4, reinterpret_cast<const char*>(&nan), 4);
      });
  const ModelSpec spec = read_model_spec(folder.path());
  for (int i = 0; i < 20; ++i) {
    LoadOptions options;
    options.threads = 4;
    expect_error(ExitCode::kBadInput, [&] { load_weights(folder.path(), spec, make_shard_plan(spec, 1), 0, options); },
                 {damaged[2], "NaN"});
  }
}

TEST(Weights, ReadsWhatTheHeadersPredictOnAnyNumberOfThreads) {
  for (const char* name :
       {"falcon_7b", "gpt2", "phi3", "mixtral", "bloom", "gpt_oss", "gpt_oss_mxfp4", "deepseek_v3", "stablelm_heads"}) {
    const std::filesystem::path folder = std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/families" / name;
    const ModelSpec spec = read_model_spec(folder);
    const std::vector<TensorRow> table = make_tensor_table(spec);
    const Checkpoint checkpoint(folder);
    check_headers(checkpoint, table);
    for (const int tp : {1, 3}) {
      const ShardPlan plan = make_shard_plan(spec, tp);
      for (int rank = 0; rank < tp; ++rank) {
        const uint64_t predicted = bytes_to_read(checkpoint, table, spec, plan.ranks[static_cast<size_t>(rank)]);
        for (const int threads : {1, 5}) {
          LoadOptions options;
          options.threads = threads;
          uint64_t done = 0, total = 0, calls = 0;
          options.progress = [&](uint64_t done_bytes, uint64_t total_bytes) {
            EXPECT_GE(done_bytes, done);
            done = done_bytes, total = total_bytes, ++calls;
          };
          const auto weights = load_weights(folder, spec, plan, rank, options);
          EXPECT_EQ(weights->bytes_read, predicted) << name << " tp " << tp << " rank " << rank;
          EXPECT_EQ(done, predicted);
          EXPECT_EQ(total, predicted);
          EXPECT_EQ(calls, table.size());
        }
      }
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
