// Adapters against what PEFT computes (tools/fixtures/make_adapter_fixtures.py), and adapters that do not fit.

#include "evalmpi/model/adapter.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <thread>

#include "adapter_fixture.h"
#include "evalmpi/base/file.h"
#include "evalmpi/model/memory.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/transformer.h"
#include "evalmpi/model/weights.h"
#include "fixture.h"

namespace evalmpi::model {
namespace {

using Shards = std::vector<std::shared_ptr<const Weights>>;

std::vector<float> run_with(const Shards& shards, const Expected& expected) {
  std::vector<comm::Communicator> tp = comm::Communicator::threads(static_cast<int>(shards.size()));
  std::vector<std::vector<float>> logits(shards.size());
  {
    std::vector<std::jthread> threads;
    for (size_t rank = 0; rank < shards.size(); ++rank) {
      threads.emplace_back([&, rank] {
        const InferenceThread inference;
        logits[rank] = logits_of(Transformer(shards[rank]), expected, tp[rank]);
      });
    }
  }
  return logits[0];
}

// bases: the same shards without the adapter, to be shared; none: read from files.
std::vector<float> run_on(const fs::path& base, const ModelSpec& spec, const Expected& expected, int places, bool pack,
                          const Shards& bases = {}) {
  const ShardPlan plan = make_shard_plan(spec, places, 1);
  Shards shards;
  for (int rank = 0; rank < places; ++rank) {
    LoadOptions options;
    options.pack = pack;
    if (!bases.empty()) options.base = bases.at(static_cast<size_t>(rank));
    shards.push_back(load_weights(base, spec, plan, rank, options));
    if (pack) {
      EXPECT_EQ(place_memory(spec, plan, rank, spec.source_dtype).weight_bytes, shards.back()->bytes());
    }
  }
  return run_with(shards, expected);
}

class AdapterOf : public ::testing::TestWithParam<std::string> {};

TEST_P(AdapterOf, EqualsPeftOnAnyTensorParallelLayout) {
  const fs::path folder = fixtures() / "adapters" / GetParam(), base = base_of(folder);
  const Expected expected(folder);
  const ModelSpec spec = with_adapter(read_model_spec(base), folder);
  for (const int places : {1, 2, 3}) {
    EXPECT_LE(largest_error(run_on(base, spec, expected, places, true), expected.logits), limit_of(expected))
        << "tp " << places;
  }
  EXPECT_LE(largest_error(run_on(base, spec, expected, 2, false), expected.logits), limit_of(expected)) << "not packed";
  // The fixture tells something only where the adapter changes the result.
  EXPECT_GT(largest_error(run_on(base, read_model_spec(base), expected, 1, true), expected.logits), 0.01f);
}

INSTANTIATE_TEST_SUITE_P(All, AdapterOf, ::testing::ValuesIn(adapter_names()),
                         [](const auto& info) { return info.param; });

TEST(Adapter, SeveralShareTheWeightsBelow) {
  for (const int places : {1, 3}) {
    std::map<fs::path, Shards> below;
    for (const std::string& name : adapter_names()) {
      const fs::path folder = fixtures() / "adapters" / name, base = base_of(folder);
      const ModelSpec plain = read_model_spec(base), spec = with_adapter(plain, folder);
      const ShardPlan plan = make_shard_plan(spec, places, 1);
      Shards& shards = below[base];
      for (int rank = static_cast<int>(shards.size()); rank < places; ++rank) {
        shards.push_back(load_weights(base, plain, make_shard_plan(plain, places, 1), rank));
      }
      const Expected expected(folder);
      const auto alone = run_on(base, spec, expected, places, true);
      EXPECT_EQ(run_on(base, spec, expected, places, true, shards), alone) << name;
    }
    // What they share is as it was.
    for (const auto& [base, shards] : below) {
      const Expected expected(fixtures() / "adapters" / adapter_names().front());
      Expected short_ids = expected;
      for (int32_t& id : short_ids.ids) id %= 32;
      const ModelSpec plain = read_model_spec(base);
      const auto fresh = run_on(base, plain, short_ids, places, true);
      EXPECT_EQ(run_with(shards, short_ids), fresh) << base;
    }
  }
}

// A copy of an adapter whose files can be changed.
class Changed {
 public:
  explicit Changed(std::string_view name) : original_(fixtures() / "adapters" / name) {
    fs::copy(original_, folder_.path(), fs::copy_options::recursive);
  }
  void set(const char* key, const Json& value) const {
    Json config = read_json_file(folder_.path() / "adapter_config.json");
    config[key] = value;
    folder_.write("adapter_config.json", config.dump());
  }
  // Changes a text of the tensors' names into another of the same length.
  void rename(std::string_view from, std::string_view to) const {
    std::string bytes = read_file(folder_.path() / "adapter_model.safetensors");
    bytes.replace(bytes.find(from), from.size(), to);
    folder_.write("adapter_model.safetensors", bytes);
  }
  ModelSpec apply() const { return with_adapter(read_model_spec(base_of(original_)), folder_.path()); }
  const fs::path& path() const { return folder_.path(); }

 private:
  fs::path original_;
  TemporaryFolder folder_;
};

TEST(Adapter, DoesNotFitAnotherModel) {
  const ModelSpec other = read_model_spec(fixtures() / "model/llama");
  expect_error(ExitCode::kBadInput, [&] { with_adapter(other, fixtures() / "adapters/llama_lora"); },
               {"adapter_model.safetensors", "layers.0.self_attn.q_proj.lora_", "has the shape"});
  const ModelSpec no_such_modules = read_model_spec(fixtures() / "families/gpt2");
  expect_error(ExitCode::kBadInput, [&] { with_adapter(no_such_modules, fixtures() / "adapters/llama_lora"); },
               {"adapter_config.json", "\"target_modules\" matches no module"});
}

TEST(Adapter, RefusesMissingAndUnknownTensors) {
  const Changed missing("llama_lora");
  missing.rename("1.self_attn.v_proj.lora_B", "7.self_attn.v_proj.lora_B");
  expect_error(ExitCode::kBadInput, [&] { missing.apply(); },
               {"adapter_model.safetensors", "layers.1.self_attn.v_proj.lora_B.weight", "is missing"});
  const Changed unknown("llama_lora");
  unknown.set("target_modules", {"q_proj", "v_proj"});
  expect_error(ExitCode::kBadInput, [&] { unknown.apply(); },
               {"adapter_model.safetensors", "o_proj.lora_A.weight", "unknown"});
  const Changed no_magnitudes("llama_lora");
  no_magnitudes.set("use_dora", true);
  expect_error(ExitCode::kBadInput, [&] { no_magnitudes.apply(); }, {"lora_magnitude_vector", "is missing"});
  const Changed rank("llama_lora");
  rank.set("r", 4);
  expect_error(ExitCode::kBadInput, [&] { rank.apply(); }, {"lora_A.weight", "[3, 40]", "[4, 40]"});
}

TEST(Adapter, RefusesOtherKindsAndSettingsByName) {
  const Changed adapter("llama_lora");
  const auto refused = [&](const char* key, const Json& value, const Json& harmless,
                           std::initializer_list<const char*> words) {
    adapter.set(key, value);
    expect_error(
        ExitCode::kBadInput, [&] { adapter.apply(); }, words);
    adapter.set(key, harmless);
    EXPECT_NO_THROW(adapter.apply()) << key;
  };
  refused("peft_type", "IA3", "LORA", {"IA3"});
  refused("peft_type", nullptr, "LORA", {"peft_type"});
  refused("task_type", "SEQ_CLS", "CAUSAL_LM", {"SEQ_CLS"});
  refused("lora_bias", true, false, {"lora_bias"});
  refused("trainable_token_indices", {1, 2}, nullptr, {"trainable_token_indices"});
  refused("layer_replication", Json::array({{0, 2}}), nullptr, {"layer_replication"});
  refused("target_parameters", {"experts"}, nullptr, {"target_parameters"});
  refused("some_future_setting", 3, nullptr, {"some_future_setting"});
  refused("init_lora_weights", "pissa_niter_4", "gaussian", {"pissa_niter_4", "save_pretrained"});
  refused("init_lora_weights", "loftq", true, {"loftq"});
  refused("bias", "some", "none", {"bias"});
  refused("r", 0, 3, {"\"r\""});
  refused("rank_pattern", {{"q_proj(", 3}}, Json::object(), {"rank_pattern"});
  refused("modules_to_save", {"no_such_module"}, nullptr, {"modules_to_save"});
}

TEST(Adapter, RefusesPicklesAndWrongFolders) {
  const Changed adapter("llama_lora");
  fs::rename(adapter.path() / "adapter_model.safetensors", adapter.path() / "adapter_model.bin");
  expect_error(ExitCode::kMissingInput, [&] { adapter.apply(); },
               {"adapter_model.bin", "can run code", "save_pretrained"});
  expect_error(ExitCode::kMissingInput,
               [&] { with_adapter(read_model_spec(fixtures() / "families/gpt2"), fixtures() / "families/gpt2"); },
               {"adapter_model.safetensors"});
}

TEST(Adapter, DigestFollowsItsContent) {
  const Changed adapter("llama_lora");
  const Hash128 before = adapter.apply().adapter->digest();
  EXPECT_EQ(before, adapter.apply().adapter->digest());
  adapter.set("lora_alpha", 5);
  EXPECT_NE(before, adapter.apply().adapter->digest());
  EXPECT_NE(Changed("llama_dora").apply().adapter->digest(), before);
}

}  // namespace
}  // namespace evalmpi::model
