#include "evalmpi/model/safetensors.h"

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include "fixture.h"

namespace evalmpi::model {
namespace {

const char* const kHeader =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"U8","shape":[],"data_offsets":[24,25]},)"
    R"("c":{"dtype":"BF16","shape":[0,4],"data_offsets":[25,25]}})";

std::string small_file() { return safetensors_bytes(kHeader, std::string(25, '\1')); }

void expect_refused(std::string_view header, size_t data_bytes, std::initializer_list<const char*> words) {
  const std::string bytes = safetensors_bytes(header, std::string(data_bytes, '\0'));
  expect_error(
      ExitCode::kBadInput, [&] { parse_safetensors(bytes, "x.safetensors"); }, words);
}

TEST(Safetensors, ReadsTheHeader) {
  const std::string bytes = small_file();
  const auto tensors = parse_safetensors(bytes, "x");
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors.at("a").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(tensors.at("a").dtype, "F32");
  EXPECT_EQ(tensors.at("a").bytes.data(), bytes.data() + 8 + std::string_view(kHeader).size());
  EXPECT_EQ(tensors.at("b").bytes.size(), 1u);
  EXPECT_TRUE(tensors.at("c").bytes.empty());
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const std::string bytes = small_file();
  for (size_t length = 0; length < bytes.size(); ++length) {
    expect_error(ExitCode::kBadInput, [&] { parse_safetensors(bytes.substr(0, length), "x.safetensors"); },
                 {"x.safetensors"});
  }
}

TEST(Safetensors, EveryChangedHeaderByteIsAnErrorOrHarmless) {
  const std::string bytes = small_file();
  for (size_t at = 0; at < bytes.size() - 25; ++at) {
    for (const char replacement : {'\0', '0', '9', '"', '}', '\xff'}) {
      std::string changed = bytes;
      changed[at] = replacement;
      try {
        for (const auto& [name, entry] : parse_safetensors(changed, "x")) {
          EXPECT_GE(entry.bytes.data(), changed.data());
          EXPECT_LE(entry.bytes.data() + entry.bytes.size(), changed.data() + changed.size());
        }
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::kBadInput);
      }
    }
  }
}

TEST(Safetensors, NamesExpectedAndActualSize) {
  std::string bytes = small_file();
  bytes.pop_back();
  expect_error(ExitCode::kBadInput, [&] { parse_safetensors(bytes, "x"); }, {"24", "25"});
}

TEST(Safetensors, HugeHeaderLength) {
  std::string bytes = small_file();
  for (int i = 0; i < 8; ++i) bytes[static_cast<size_t>(i)] = '\xff';
  expect_error(ExitCode::kBadInput, [&] { parse_safetensors(bytes, "x"); }, {"header"});
}

TEST(Safetensors, HostileHeaders) {
  expect_refused("[]", 0, {"object"});
  expect_refused("{", 0, {"header"});
  expect_refused(R"({"a":1})", 0, {"\"a\""});
  expect_refused(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, {"dtype"});
  expect_refused(R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4, {"F33"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, {"shape"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4, {"shape"});
  expect_refused(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4, {"shape"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}})", 4,
                 {"too large"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, {"data_offsets"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, {"data_offsets"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, {"8 bytes", "4"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3, {"damaged"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 5, {"damaged"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615]}})", 4,
                 {"\"a\""});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                 R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                 6, {"overlap"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                 R"("b":{"dtype":"F32","shape":[1],"data_offsets":[6,10]}})",
                 10, {"hole"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                 R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                 4, {"two tensors"});
  expect_refused(std::string(100'000, '['), 0, {"header"});
  expect_refused(R"({"__metadata__":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}", 0, {"deeper"});
  expect_refused(R"({"a":{"x":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}}", 0, {"deeper"});
  expect_refused(R"({"a":[1]})", 0, {"\"a\"", "not an object"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4, {"shape"});
  expect_refused(R"({"a":{"dtype":"F32","shape":{"b":1},"data_offsets":[0,4]}})", 4, {"shape"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", 4, {"data_offsets"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}})", 4, {"shape", "twice"});
  expect_refused(R"({"a":{"dtype":"F32","shape":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"data_offsets":[0,0]}})", 0,
                 {"dimensions"});
  expect_refused("{\"" + std::string(2000, 'a') + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4,
                 {"2000 bytes"});
  expect_refused("1", 0, {"object"});
}

TEST(Safetensors, MetadataAndUnknownFieldsMayHoldAnything) {
  const std::string bytes = safetensors_bytes(
      R"({"__metadata__":{"shape":[[1]],"b":{"dtype":5}},"a":{"x":{"shape":"s"},"dtype":"U8","shape":[1],)"
      R"("y":[[{"shape":1}],null,true,-1,1.5],"data_offsets":[0,1]}})",
      "x");
  const auto tensors = parse_safetensors(bytes, "x");
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors.at("a").shape, std::vector<int64_t>{1});
  EXPECT_TRUE(parse_safetensors(safetensors_bytes(R"({"__metadata__":[[1],{"a":1}]})", ""), "x").empty());
}

TEST(Safetensors, MoreTensorsThanAnyModelHas) {
  std::string header = "{";
  for (size_t i = 0; i < 1'000'000; ++i) {
    header += (i > 0 ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  expect_refused(header + "}", 0, {"more than 262144 tensors"});
}

// 2 x 3 floats 0..5 in a, and the same at an odd address in "odd".
void write_numbers(const TemporaryFolder& folder) {
  const float values[] = {0, 1, 2, 3, 4, 5};
  const std::string data(reinterpret_cast<const char*>(values), sizeof values);
  folder.write("model.safetensors", safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                                                      R"("pad":{"dtype":"U8","shape":[1],"data_offsets":[24,25]},)"
                                                      R"("odd":{"dtype":"F32","shape":[2,3],"data_offsets":[25,49]}})",
                                                      data + "x" + data));
}

std::vector<float> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

TEST(Checkpoint, ReadsOnlyTheRangesAskedFor) {
  const TemporaryFolder folder;
  write_numbers(folder);
  const Checkpoint checkpoint(folder.path());
  for (const char* name : {"a", "odd"}) {
    EXPECT_EQ(values_of(checkpoint.read(name, {2, 3}, {0, {{1, 2}}})), (std::vector<float>{3, 4, 5}));
    EXPECT_EQ(values_of(checkpoint.read(name, {2, 3}, {1, {{1, 3}}})), (std::vector<float>{1, 2, 4, 5}));
    EXPECT_EQ(values_of(checkpoint.read(name, {2, 3}, {1, {{2, 3}, {0, 1}}})), (std::vector<float>{2, 0, 5, 3}));
    EXPECT_EQ(values_of(checkpoint.read(name, {2, 3}, {1, {{0, 3}}, 2})), (std::vector<float>{0, 2, 3, 5}));
    EXPECT_EQ(values_of(checkpoint.read(name, {2, 3}, {0, {{1, 3}}, 1, 1})), (std::vector<float>{4, 5}));
    EXPECT_EQ(checkpoint.read(name, {2, 3}, {0, {{1, 1}}}).numel(), 0);
    EXPECT_EQ(checkpoint.read(name, {2, 3}, {0, {}}).sizes(), (at::IntArrayRef{0, 3}));
  }
  EXPECT_EQ(checkpoint.bytes_read(), 2u * 4u * (3 + 4 + 4 + 4 + 2));
}

TEST(Checkpoint, NamesWhatDoesNotFit) {
  const TemporaryFolder folder;
  write_numbers(folder);
  const Checkpoint checkpoint(folder.path());
  const auto read = [&](const char* name, std::vector<int64_t> shape) {
    return [&checkpoint, name, shape] { checkpoint.read(name, shape, {0, {{0, 1}}}); };
  };
  expect_error(ExitCode::kBadInput, read("b", {2, 3}), {"\"b\"", "missing", "[2, 3]"});
  expect_error(ExitCode::kBadInput, read("a", {3, 2}), {"\"a\"", "[2, 3]", "[3, 2]", "model.safetensors"});
  expect_error(ExitCode::kBadInput, read("pad", {1}), {"U8", "BF16"});
}

TEST(Checkpoint, FollowsTheIndex) {
  const TemporaryFolder folder;
  const char* const entry = R"({"dtype":"F16","shape":[1],"data_offsets":[0,2]}})";
  folder.write("one.safetensors", safetensors_bytes(std::string(R"({"a":)") + entry, "xx"));
  folder.write("two.safetensors", safetensors_bytes(std::string(R"({"b":)") + entry, "xx"));
  const auto index = [&](const char* map) {
    folder.write("model.safetensors.index.json", std::string(R"({"weight_map":)") + map + "}");
  };
  index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  EXPECT_EQ(Checkpoint(folder.path()).tensors().size(), 2u);
  const auto open = [&] { Checkpoint checkpoint(folder.path()); };
  index(R"({"a":"one.safetensors","b":"one.safetensors"})");
  expect_error(ExitCode::kBadInput, open, {"\"b\"", "one.safetensors"});
  index(R"({"a":"one.safetensors","b":"three.safetensors"})");
  expect_error(ExitCode::kMissingInput, open, {"three.safetensors"});
  index(R"({"a":"../../etc/passwd"})");
  expect_error(ExitCode::kBadInput, open, {"../../etc/passwd"});
  index(R"({"a":"/etc/passwd"})");
  expect_error(ExitCode::kBadInput, open, {"/etc/passwd"});
  index("[]");
  expect_error(ExitCode::kBadInput, open, {"weight_map"});
  index(R"({"a":5})");
  expect_error(ExitCode::kBadInput, open, {"\"a\""});
  index(R"({"a":"one.safetensors","a":"two.safetensors"})");
  expect_error(ExitCode::kBadInput, open, {"\"a\"", "twice"});
  index(R"({"a":["one.safetensors"]})");
  expect_error(ExitCode::kBadInput, open, {"\"a\"", "no text"});
  index((std::string(100'000, '[') + std::string(100'000, ']')).c_str());
  expect_error(ExitCode::kBadInput, open, {"index.json"});
  std::string many = "{";
  for (size_t i = 0; i < 1'000'000; ++i) {
    many += (i > 0 ? ",\"" : "\"") + std::to_string(i) + R"(":"one.safetensors")";
  }
  index((many + "}").c_str());
  expect_error(ExitCode::kBadInput, open, {"more than 262144 tensors"});
  folder.write("model.safetensors.index.json",
               R"({"metadata":{"total_size":[4]},"weight_map":{"a":"one.safetensors"},"weight":{"b":{"c":1}}})");
  EXPECT_EQ(Checkpoint(folder.path()).tensors().size(), 1u);
}

TEST(Checkpoint, NoWeights) {
  const TemporaryFolder folder;
  const auto open = [&] { Checkpoint checkpoint(folder.path()); };
  expect_error(ExitCode::kMissingInput, open, {"model.safetensors"});
  const auto holds = [&](const char* file, std::initializer_list<const char*> words) {
    const TemporaryFolder other;
    other.write(file, "x");
    expect_error(
        ExitCode::kBadInput, [&] { Checkpoint checkpoint(other.path()); }, words);
  };
  holds("pytorch_model.bin", {"pytorch_model.bin", "run any code", "save_pretrained"});
  holds("pytorch_model.bin.index.json", {"pickle", "safetensors"});
  holds("consolidated.00.pth", {"consolidated.00.pth", "Meta"});
  holds("model-q4_k_m.gguf", {"model-q4_k_m.gguf", "GGUF", "safetensors"});
  holds("adapter_config.json", {"adapter", "base_model_name_or_path"});
  holds("tf_model.h5", {"tf_model.h5", "safetensors"});
}

TEST(Checkpoint, NamesDtypesThatAreNotComputed) {
  const TemporaryFolder folder;
  folder.write("model.safetensors", safetensors_bytes(R"({"f8":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]},)"
                                                      R"("i8":{"dtype":"I8","shape":[1],"data_offsets":[1,2]},)"
                                                      R"("f64":{"dtype":"F64","shape":[1],"data_offsets":[2,10]}})",
                                                      std::string(10, '\0')));
  const Checkpoint checkpoint(folder.path());
  const auto check = [&](const char* name) { return [&checkpoint, name] { checkpoint.check(name, {1}); }; };
  expect_error(ExitCode::kBadInput, check("f8"), {"model.safetensors", "\"f8\"", "F8_E4M3", "FP8"});
  expect_error(ExitCode::kBadInput, check("i8"), {"\"i8\"", "I8"});
  expect_error(ExitCode::kBadInput, check("f64"), {"\"f64\"", "F64", "float32"});
}

}  // namespace
}  // namespace evalmpi::model
