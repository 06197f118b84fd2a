// Conversions against what they must keep: bytes, names and values, and what transformers' file names are.

#include "evalmpi/model/convert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "adapter_fixture.h"
#include "evalmpi/base/file.h"
#include "evalmpi/model/adapter.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/safetensors_writer.h"
#include "evalmpi/model/weights.h"
#include "fixture.h"
#include "temporary_directory.h"

namespace evalmpi::model {
namespace {

fs::path family(const std::string& name) { return fs::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/families" / name; }

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(family(""))) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// Name, dtype, shape and bytes of every tensor.
std::map<std::string, std::string> contents(const fs::path& folder) {
  const Checkpoint checkpoint(folder);
  std::map<std::string, std::string> all;
  for (const auto& [name, entry] : checkpoint.tensors()) {
    all[name] = entry.dtype + Json(entry.shape).dump() + std::string(entry.bytes);
  }
  return all;
}

std::string tensor_bytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// A model of one tensor of float32 values, of no known family.
void write_model(const TemporaryFolder& folder, const std::vector<float>& values) {
  const std::string bytes = tensor_bytes(values);
  folder.write("config.json", R"({"architectures": ["NoSuchModel"], "model_type": "none", "torch_dtype": "float32"})");
  folder.write("model.safetensors",
               safetensors_bytes(fmt::format(R"({{"x":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}})",
                                             values.size(), bytes.size()),
                                 bytes));
}

std::vector<uint16_t> halves(const fs::path& folder) {
  const Checkpoint checkpoint(folder);
  const std::string_view bytes = checkpoint.find("x")->bytes;
  std::vector<uint16_t> values(bytes.size() / 2);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

class ConvertFamily : public ::testing::TestWithParam<std::string> {};

TEST_P(ConvertFamily, ToFloat32AndBackGivesTheSameBytes) {
  TemporaryDirectory made;
  if (read_json_file(family(GetParam()) / "config.json").contains("quantization_config")) {
    expect_error(ExitCode::kBadInput,
                 [&] { convert_model(family(GetParam()), made / "wide", {.dtype = DType::kFloat32}); }, {"quantised"});
    convert_model(family(GetParam()), made / "copy", {.max_shard_bytes = 20000});
    EXPECT_TRUE(fs::exists(made / "copy/model.safetensors.index.json"));
    EXPECT_EQ(contents(made / "copy"), contents(family(GetParam())));
    return;
  }
  const ConvertReport widened = convert_model(family(GetParam()), made / "wide", {.dtype = DType::kFloat32});
  EXPECT_EQ(widened.converted, widened.tensors);
  EXPECT_GT(widened.tensors, 10u);
  EXPECT_EQ(read_json_file(made / "wide/config.json").at("dtype"), "float32");
  convert_model(made / "wide", made / "back", {.dtype = DType::kBFloat16});
  EXPECT_EQ(read_json_file(made / "back/config.json"), read_json_file(family(GetParam()) / "config.json"));
  auto expected = contents(family(GetParam()));
  for (const std::string& name : widened.left_out) expected.erase(name);
  EXPECT_EQ(contents(made / "back"), expected);
  EXPECT_TRUE(fs::exists(made / "back/generation_config.json"));
}

TEST_P(ConvertFamily, BareNamesAndBackGiveTheSameTensors) {
  TemporaryDirectory made;
  const ModelSpec spec = read_model_spec(family(GetParam()));
  if (!spec.tied_head) {
    expect_error(ExitCode::kBadInput,
                 [&] { convert_model(family(GetParam()), made / "bare", {.names = NameStyle::kBare}); },
                 {"not tied", "would be lost"});
    EXPECT_FALSE(fs::exists(made / "bare"));
    return;
  }
  const ConvertReport report = convert_model(family(GetParam()), made / "bare", {.names = NameStyle::kBare});
  auto expected = contents(family(GetParam()));
  for (const auto& [name, bytes] : contents(made / "bare")) EXPECT_FALSE(expected.contains(name)) << name;
  convert_model(made / "bare", made / "full", {.names = NameStyle::kFull});
  for (const std::string& name : report.left_out) expected.erase(name);
  EXPECT_EQ(contents(made / "full"), expected);
}

INSTANTIATE_TEST_SUITE_P(All, ConvertFamily, ::testing::ValuesIn(family_names()),
                         [](const auto& info) { return info.param; });

class ConvertAdapter : public ::testing::TestWithParam<std::string> {
 protected:
  fs::path adapter() const { return fixtures() / "adapters" / GetParam(); }
  ConvertReport merge(const fs::path& output, ConvertOptions options) const {
    options.adapter = adapter();
    return convert_model(base_of(adapter()), output, options);
  }
  // The largest difference of the folder's logits from PEFT's.
  float error_of(const fs::path& model) const {
    const Expected expected(adapter());
    const ModelSpec spec = read_model_spec(model);
    const Transformer transformer(load_weights(model, spec, make_shard_plan(spec, 1, 1), 0));
    const InferenceThread inference;
    comm::Communicator self = comm::Communicator::self();
    return largest_error(logits_of(transformer, expected, self), expected.logits);
  }
};

TEST_P(ConvertAdapter, TheMergedModelComputesWhatPeftDoes) {
  TemporaryDirectory made;
  const ConvertReport report = merge(made / "merged", {.dtype = DType::kFloat32});
  EXPECT_LE(error_of(made / "merged"), limit_of(Expected(adapter())));
  EXPECT_GT(report.merged, 0u);
  // Nothing but what the adapter changes is another value.
  convert_model(base_of(adapter()), made / "plain", {.dtype = DType::kFloat32});
  const auto merged = contents(made / "merged");
  size_t changed = 0;
  for (const auto& [name, bytes] : contents(made / "plain")) changed += merged.at(name) != bytes ? 1 : 0;
  EXPECT_LE(changed, report.merged);
  // Of a bare model, in its own dtype and in small files, it is the same rounded.
  const ModelSpec spec = read_model_spec(base_of(adapter()));
  if (!spec.tied_head) return;
  convert_model(base_of(adapter()), made / "bare", {.names = NameStyle::kBare});
  convert_model(made / "bare", made / "again",
                {.dtype = DType::kFloat32, .max_shard_bytes = 4'000, .names = NameStyle::kFull, .adapter = adapter()});
  EXPECT_EQ(contents(made / "again"), merged);
}

INSTANTIATE_TEST_SUITE_P(All, ConvertAdapter, ::testing::ValuesIn(adapter_names()),
                         [](const auto& info) { return info.param; });

TEST(Convert, AnAdapterOnATiedTableMakesItTwo) {
  TemporaryDirectory made;
  const fs::path adapter = fixtures() / "adapters/gpt2_wte";
  ASSERT_TRUE(read_model_spec(family("gpt2")).tied_head);
  convert_model(family("gpt2"), made / "full", {.adapter = adapter});
  EXPECT_EQ(read_json_file(made / "full/config.json").at("tie_word_embeddings"), false);
  const auto before = contents(family("gpt2")), after = contents(made / "full");
  EXPECT_EQ(after.at("lm_head.weight"), before.at("transformer.wte.weight"));
  EXPECT_NE(after.at("transformer.wte.weight"), before.at("transformer.wte.weight"));
  // A bare model has no place for the head: its names become those of the full one, or the bare ones are refused.
  convert_model(family("gpt2"), made / "bare", {.names = NameStyle::kBare});
  convert_model(made / "bare", made / "again", {.adapter = adapter});
  EXPECT_EQ(contents(made / "again"), after);
  expect_error(ExitCode::kBadInput,
               [&] { convert_model(family("gpt2"), made / "x", {.names = NameStyle::kBare, .adapter = adapter}); },
               {"lm_head.weight", "would be lost"});
  EXPECT_FALSE(fs::exists(made / "x"));
}

TEST(Convert, AnAdapterOfAnotherModelIsRefused) {
  TemporaryDirectory made;
  expect_error(ExitCode::kBadInput,
               [&] { convert_model(family("opt"), made / "x", {.adapter = fixtures() / "adapters/llama_lora"}); },
               {"adapters/llama_lora"});
  EXPECT_FALSE(fs::exists(made / "x"));
}

TEST(Convert, RoundsToNearestEven) {
  TemporaryFolder input;
  // bfloat16 keeps 8 significant bits: a tie goes to the even neighbour.
  write_model(input, {1.0f + 0x1p-8f, 1.0f + 3 * 0x1p-8f, 1.0f + 0x1p-8f + 0x1p-20f, -0.0f, 0x1p-130f});
  TemporaryDirectory made;
  convert_model(input.path(), made / "bf16", {.dtype = DType::kBFloat16});
  EXPECT_EQ(halves(made / "bf16"), (std::vector<uint16_t>{0x3f80, 0x3f82, 0x3f81, 0x8000, 0x0008}));
  EXPECT_EQ(read_json_file(made / "bf16/config.json").at("torch_dtype"), "bfloat16");
  // float16 keeps 11, and has subnormals down to 2^-24.
  write_model(input, {1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f, 65519.0f, 0x1p-24f, 0x1p-25f});
  convert_model(input.path(), made / "f16", {.dtype = DType::kFloat16});
  EXPECT_EQ(halves(made / "f16"), (std::vector<uint16_t>{0x3c00, 0x3c02, 0x7bff, 0x0001, 0x0000}));
}

TEST(Convert, RefusesOverflowAndKeepsInfinity) {
  TemporaryFolder input;
  TemporaryDirectory made;
  write_model(input, {1.0f, 65520.0f, -1e30f});
  expect_error(ExitCode::kBadInput, [&] { convert_model(input.path(), made / "f16", {.dtype = DType::kFloat16}); },
               {"tensor \"x\"", "2 values", "float16", "bfloat16 holds"});
  EXPECT_FALSE(fs::exists(made / "f16"));
  write_model(input, {INFINITY, NAN});
  convert_model(input.path(), made / "kept", {.dtype = DType::kFloat16});
  EXPECT_EQ(halves(made / "kept")[0], 0x7c00);
  EXPECT_GT(halves(made / "kept")[1] & 0x7fff, 0x7c00);
}

TEST(Convert, CutsFilesAsSavePretrainedDoes) {
  const auto tensor = [](int64_t bytes) { return OutputTensor{std::to_string(bytes), "U8", {bytes}}; };
  const auto cut = [&](std::vector<int64_t> sizes, uint64_t most) {
    std::vector<OutputTensor> tensors;
    for (const int64_t size : sizes) tensors.push_back(tensor(size));
    return cut_into_files(tensors, most).tensors;
  };
  using Files = std::vector<std::vector<size_t>>;
  // The example in huggingface_hub's split_state_dict_into_shards_factory.
  EXPECT_EQ(cut({6, 6, 2, 6, 2, 2}, 10), (Files{{0}, {1, 2}, {3, 4, 5}}));
  EXPECT_EQ(cut({11, 2, 12, 3}, 10), (Files{{0}, {2}, {1, 3}}));
  EXPECT_EQ(cut({5, 5}, 10), (Files{{0, 1}}));
}

TEST(Convert, ShardsHoldTheSameTensors) {
  TemporaryDirectory made;
  const ConvertReport report = convert_model(family("llama_yarn"), made / "many", {.max_shard_bytes = 5'000});
  ASSERT_GT(report.files.size(), 4u);
  EXPECT_EQ(report.files.back(), "config.json");
  const Json index = read_json_file(made / "many/model.safetensors.index.json");
  EXPECT_EQ(index.at("metadata").at("total_size"), report.bytes);
  std::set<std::string> files;
  for (const auto& [name, file] : index.at("weight_map").items()) files.insert(file);
  const auto count = files.size();
  EXPECT_EQ(*files.begin(), fmt::format("model-00001-of-{:05}.safetensors", count));
  EXPECT_EQ(contents(made / "many"), contents(family("llama_yarn")));
  convert_model(made / "many", made / "one", {});
  EXPECT_TRUE(fs::exists(made / "one/model.safetensors"));
  EXPECT_FALSE(fs::exists(made / "one/model.safetensors.index.json"));
  EXPECT_EQ(contents(made / "one"), contents(family("llama_yarn")));
  EXPECT_EQ(read_file(made / "one/config.json"), read_file(family("llama_yarn") / "config.json"));
}

TEST(Convert, KeepsStrangersAndLeavesOutBuffers) {
  TemporaryFolder input;
  for (const char* file : {"tokenizer.json", "chat_template.jinja"}) input.write(file, "{}");
  input.write("config.json", read_file(family("gpt2") / "config.json"));
  std::vector<OutputTensor> tensors = {{"transformer.h.0.attn.bias", "U8", {2}}, {"transformer.stranger", "F32", {1}}};
  SafetensorsWriter writer(input.path() / "model.safetensors", tensors);
  writer.append(std::string("\1\1") + tensor_bytes({3.0f}));
  writer.finish();
  TemporaryDirectory made;
  const ConvertReport report = convert_model(input.path(), made / "out", {.dtype = DType::kBFloat16});
  EXPECT_EQ(report.left_out, std::vector<std::string>{"transformer.h.0.attn.bias"});
  const auto written = contents(made / "out");
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(written.at("transformer.stranger"), std::string("BF16[1]\x40\x40"));
  EXPECT_TRUE(fs::exists(made / "out/tokenizer.json"));
  EXPECT_TRUE(fs::exists(made / "out/chat_template.jinja"));
}

TEST(Convert, NeverWritesIntoAFolderThatHoldsSomething) {
  TemporaryFolder output;
  fs::create_directory(output.path() / "empty");
  EXPECT_GT(convert_model(family("opt"), output.path() / "empty", {}).tensors, 0u);
  expect_error(ExitCode::kCannotWrite, [&] { convert_model(family("opt"), output.path() / "empty", {}); },
               {"not an empty folder", "name another"});
  output.write("file", "x");
  expect_error(ExitCode::kCannotWrite, [&] { convert_model(family("opt"), output.path() / "file", {}); }, {"file"});
}

TEST(Convert, AFullDiskIsNamedAndLeavesNothing) {
  const SmallDisk disk("64k");
  if (!disk.is_mounted()) GTEST_SKIP() << "a disk of 64 KiB needs the right to mount one";
  expect_error(ExitCode::kIo, [&] { convert_model(family("qwen2_moe"), disk.path() / "out", {}); },
               {"bytes left", "needs"});
  EXPECT_TRUE(fs::is_empty(disk.path()));
  // Full only while it is written: the writer's own error.
  const OutputTensor tensor{"x", "U8", {1 << 20}};
  std::string message;
  try {
    SafetensorsWriter writer(disk.path() / "x.safetensors", {&tensor, 1});
    writer.append(std::string(1 << 20, 'x'));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo);
    message = error.what();
  }
  EXPECT_NE(message.find("x.safetensors"), std::string::npos) << message;
  EXPECT_TRUE(fs::is_empty(disk.path()));
}

TEST(Convert, QuantisedWeightsKeepTheirDtype) {
  TemporaryFolder input;
  write_model(input, {1.0f});
  input.write("config.json", R"({"architectures": ["NoSuchModel"], "quantization_config": {"quant_method": "fp8"}})");
  TemporaryDirectory made;
  expect_error(ExitCode::kBadInput, [&] { convert_model(input.path(), made / "x", {.dtype = DType::kFloat32}); },
               {"quantised", "--dtype"});
  EXPECT_EQ(convert_model(input.path(), made / "y", {}).tensors, 1u);
}

TEST(Convert, ReadsSizes) {
  EXPECT_EQ(parse_size_bytes("5GB"), 5'000'000'000u);
  EXPECT_EQ(parse_size_bytes("1.5MB"), 1'500'000u);
  EXPECT_EQ(parse_size_bytes("123"), 123u);
  for (const char* bad : {"", "GB", "5GiB", "-1GB", "0", "nan", "inf", "1e30TB"}) {
    expect_error(ExitCode::kUsage, [&] { parse_size_bytes(bad); }, {"not a size"});
  }
}

}  // namespace
}  // namespace evalmpi::model
