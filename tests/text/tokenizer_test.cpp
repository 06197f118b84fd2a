#include "evalmpi/text/tokenizer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <random>
#include <thread>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/json.h"
#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

namespace fs = std::filesystem;

const fs::path kFixtures = EVALMPI_SOURCE_DIR "/tests/fixtures/text/tokenizers";

// A model folder that is removed at the end.
class Folder {
 public:
  Folder()
      : path_(fs::path(testing::TempDir()) /
              fs::path("evalmpi_tokenizer_" + std::to_string(counter_++) + "_" + std::to_string(getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  void write(const char* name, std::string_view text) const { std::ofstream(path_ / name) << text; }
  const fs::path& path() const { return path_; }

 private:
  static inline std::atomic<int> counter_ = 0;
  fs::path path_;
};

// A fixture's tokenizer.json with some top-level keys replaced.
Tokenizer patched(const Json& patch, const Json& config, const char* base = "neox_like") {
  Json file = read_json_file(kFixtures / base / "tokenizer.json");
  for (const auto& [key, value] : patch.items()) file[key] = value;
  const Folder folder;
  folder.write("tokenizer.json", file.dump());
  folder.write("tokenizer_config.json", config.dump());
  return Tokenizer::load(folder.path());
}

void expect_rows(const Tokenizer& tokenizer, const Json& expected) {
  EXPECT_EQ(tokenizer.size(), expected["size"].get<int64_t>());
  const auto id = [](const std::optional<int32_t>& value) { return value ? Json(*value) : Json(nullptr); };
  EXPECT_EQ(id(tokenizer.bos_id()), expected["bos"]);
  EXPECT_EQ(id(tokenizer.eos_id()), expected["eos"]);
  EXPECT_EQ(id(tokenizer.pad_id()), expected["pad"]);
  EXPECT_GE(expected["rows"].size(), 10u);
  for (const Json& row : expected["rows"]) {
    const auto text = row["text"].get<std::string>();
    const std::vector<int32_t> plain = tokenizer.encode(text, false);
    const std::vector<int32_t> ids = tokenizer.encode(text, true);
    EXPECT_EQ(Json(plain), row["ids"]) << "'" << text << "'";
    EXPECT_EQ(Json(ids), row["with_special"].is_null() ? row["ids"] : row["with_special"]) << "'" << text << "'";
    EXPECT_EQ(tokenizer.decode(ids, false), row["decoded"].get<std::string>()) << "'" << text << "'";
    EXPECT_EQ(tokenizer.decode(ids, true), row["decoded_skip"].get<std::string>()) << "'" << text << "'";
  }
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(Tokenizer, GivesTheReferencesIdsAndTexts) {
  for (const char* name : {"llama3_like", "neox_like", "llama2_like"}) {
    SCOPED_TRACE(name);
    expect_rows(Tokenizer::load(kFixtures / name), read_json_file(kFixtures / name / "expected.json"));
  }
}

TEST(Tokenizer, GivesTheReferencesIdsForEveryComponent) {
  for (const Json& variant : read_json_file(kFixtures / "variants.json")) {
    SCOPED_TRACE(variant["name"].get<std::string>());
    expect_rows(patched(variant["patch"], variant["config"]), variant);
  }
}

// Unigram, WordPiece, WordLevel, the marks of words' ends, a charsmap, sets inside sets of a pattern.
TEST(Tokenizer, GivesTheReferencesIdsForEveryKind) {
  const Json kinds = read_json_file(kFixtures.parent_path() / "kinds.json");
  ASSERT_GE(kinds.size(), 9u);
  for (const Json& kind : kinds) {
    SCOPED_TRACE(kind["name"].get<std::string>());
    const Folder folder;
    for (const auto& [name, text] : kind["files"].items()) folder.write(name.c_str(), text.get<std::string>());
    expect_rows(Tokenizer::load(folder.path()), kind);
  }
}

// A SentencePiece model of few pieces: each a field 1 with its text, score and kind.
std::string sentencepiece_model(const std::vector<std::pair<std::string, float>>& pieces, char type) {
  std::string out;
  for (const auto& [text, score] : pieces) {
    std::string piece = "\x0a" + std::string(1, static_cast<char>(text.size())) + text + "\x15";
    piece.append(reinterpret_cast<const char*>(&score), 4);
    out += "\x0a" + std::string(1, static_cast<char>(piece.size())) + piece;
  }
  return out + "\x12\x02\x18" + type;
}

const std::vector<std::pair<std::string, float>> kPieces = {{"<unk>", 0},   {"<s>", 0}, {"</s>", 0}, {"ab", -1},
                                                            {"\u2581", -2}, {"a", -3},  {"b", -4},   {"\u2581ab", -5}};

TEST(Tokenizer, ReadsSentencePieceModels) {
  for (const char type : {'\x01', '\x02'}) {
    const Folder folder;
    folder.write("tokenizer.model", sentencepiece_model(kPieces, type));
    folder.write("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer"})");
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    // The sum for the mark and "ab" is better than the score of both together; merging joins them in the end.
    const std::vector<int32_t> word = type == '\x01' ? std::vector<int32_t>{4, 3} : std::vector<int32_t>{7};
    EXPECT_EQ(tokenizer.encode("ab", false), word);
    EXPECT_EQ(tokenizer.encode("ab", true)[0], 1);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("ab ba", false), true), "ab ba");
  }
}

TEST(Tokenizer, RefusesDamagedSentencePieceModels) {
  const Folder folder;
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer"})");
  const auto message = [&](std::string_view model) {
    folder.write("tokenizer.model", model);
    return message_of([&] { Tokenizer::load(folder.path()); });
  };
  const std::string whole = sentencepiece_model(kPieces, '\x02');
  auto with_nan = kPieces;
  with_nan[5].second = std::nanf("");
  auto twice = kPieces;
  twice[6].first = "a";
  EXPECT_NE(message(sentencepiece_model(with_nan, '\x02')).find("piece 5: the score of 'a'"), std::string::npos);
  EXPECT_NE(message(sentencepiece_model(twice, '\x02')).find("stands there twice"), std::string::npos);
  EXPECT_NE(message(sentencepiece_model(kPieces, '\x03')).find("type 3 are not supported"), std::string::npos);
  EXPECT_NE(message("IQ== 0\nIg== 1\n").find("tiktoken"), std::string::npos);
  for (size_t size = 0; size < 40; ++size)
    EXPECT_NE(message(whole.substr(0, size)).find("tokenizer.model"), std::string::npos);
}

TEST(Tokenizer, ReadsVocabularyAndMerges) {
  const Folder folder;
  folder.write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "\u0120": 3, "<|endoftext|>": 4})");
  folder.write("merges.txt", "#version: 0.2\na b\n");
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.encode("ab ba", true), (std::vector<int32_t>{4, 2, 3, 1, 0}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("ab ba", false), true), "ab ba");
  folder.write("merges.txt", "#version: 0.2\na b\nab\n");
  EXPECT_NE(message_of([&] { Tokenizer::load(folder.path()); }).find("merges.txt:3"), std::string::npos);
}

// Patterns matched by hand or by classes against PCRE2: an assertion that always holds hides them from both.
TEST(Tokenizer, KnownPatternsSplitAsTheirRegularExpressions) {
  const std::vector<std::string> patterns = {
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
      R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
      R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]|\s+(?!\S)|\s+)",
      R"(\s?\p{L}+)",
      R"([a-z]{2}(?:[.!]|'s?)?\s*(?=\p{L})|\p{N}{2,}|[^\s\p{L}\p{N}]+\s)",
      "[\r\n]"};
  std::vector<std::string> texts;
  const std::vector<std::string> parts = {" ",      " ",      "\n",     "\r",     "\t",         "'",      "s",
                                          "S",      "ll",     "rE",     "\u017f", "a",          "Z",      "1",
                                          "22",     ".",      "-",      "!",      "\u00a0",     "\u3000", "\u00e9",
                                          "\u4e16", "\u0662", "\u0301", "\u200d", "\U0001f600", "_"};
  std::mt19937 draw(1);
  for (int i = 0; i < 4'000; ++i) {
    std::string text;
    for (size_t n = draw() % 14; n > 0; --n) text += parts[draw() % parts.size()];
    texts.push_back(text);
  }
  for (char32_t first = 0; first < 0x110000; first += first == 0x32400 ? 0xADC00 : 64) {  // planes 4 to 13 are empty
    std::string text;
    for (char32_t c = first; c < first + 64; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      append_utf8(&text, c);
      text += c % 3 == 0 ? "a" : c % 3 == 1 ? " " : "";
    }
    texts.push_back(text);
  }
  for (const std::string& pattern : patterns) {
    const auto make = [&](const std::string& regex) {
      const Json split = {
          {"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
      const Json bytes = {
          {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
      return patched({{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}}},
                      {"normalizer", nullptr}},
                     Json::object());
    };
    const Tokenizer by_hand = make(pattern);
    const Tokenizer by_regex = make("(?:" + pattern + ")(?<=)");
    for (const std::string& text : texts) ASSERT_EQ(by_hand.encode(text, false), by_regex.encode(text, false)) << text;
  }
}

TEST(Tokenizer, RepairsInvalidUtf8) {
  const Tokenizer tokenizer = Tokenizer::load(kFixtures / "neox_like");
  EXPECT_EQ(tokenizer.encode("a\xff"
                             "b\xe2\x82",
                             false),
            tokenizer.encode("a\uFFFDb\uFFFD", false));
}

TEST(Tokenizer, BytesGoThereAndBack) {
  const Tokenizer tokenizer = Tokenizer::load(kFixtures / "neox_like");
  std::string all;
  for (char32_t c = 1; c < 0x3000; ++c) append_utf8(&all, c);
  all = normalize(all, NormalForm::kNfc);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(all, false), true), all);
}

TEST(Tokenizer, SkipsIdsWithoutAToken) {
  const Tokenizer tokenizer = Tokenizer::load(kFixtures / "neox_like");
  const std::vector<int32_t> ids = {-1, 1 << 30, static_cast<int32_t>(tokenizer.size())};
  EXPECT_EQ(tokenizer.decode(ids, false), "");
  EXPECT_EQ(tokenizer.token_text(-5), "");
}

TEST(Tokenizer, KnowsItsTokens) {
  const Tokenizer tokenizer = Tokenizer::load(kFixtures / "llama3_like");
  EXPECT_EQ(tokenizer.bos_token(), "<|begin_of_text|>");
  EXPECT_EQ(tokenizer.token_text(*tokenizer.bos_id()), "<|begin_of_text|>");
  EXPECT_EQ(tokenizer.token_id("<|eot_id|>"), tokenizer.eos_id());
  EXPECT_TRUE(tokenizer.is_special(*tokenizer.eos_id()));
  EXPECT_FALSE(tokenizer.is_special(0));
  EXPECT_TRUE(tokenizer.adds_special_tokens());
  EXPECT_FALSE(Tokenizer::load(kFixtures / "neox_like").adds_special_tokens());
}

TEST(Tokenizer, HostileWordsTakeLittleMoreThanLinearTime) {
  const Tokenizer tokenizer = Tokenizer::load(kFixtures / "neox_like");
  for (const char* unit : {"a", "th", "\u00e9", ".", "\u4e16"}) {
    std::string word;
    while (word.size() < 300'000) word += unit;
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(word, false), true), word);
  }
}

TEST(Tokenizer, EncodesOnManyThreads) {
  const Tokenizer tokenizer = Tokenizer::load(kFixtures / "llama3_like");
  const Json expected = read_json_file(kFixtures / "llama3_like" / "expected.json");
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (const Json& row : expected["rows"])
        wrong += tokenizer.encode(row["text"].get<std::string>(), false) != row["ids"].get<std::vector<int32_t>>();
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Tokenizer, DigestFollowsWhatDecidesIds) {
  const Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  const Hash128 one = patched(Json::object(), config).digest();
  EXPECT_EQ(one, patched(Json::object(), config).digest());
  Json with_template = config;
  with_template["chat_template"] = "{{ x }}";
  EXPECT_EQ(one, patched(Json::object(), with_template).digest());
  Json with_token = config;
  with_token["pad_token"] = "<new>";
  EXPECT_NE(one, patched(Json::object(), with_token).digest());
  EXPECT_NE(one, patched({{"normalizer", nullptr}}, config).digest());
  Json with_prefix = config;
  with_prefix["add_prefix_space"] = true;
  EXPECT_NE(one, patched(Json::object(), with_prefix).digest());
}

// lm-evaluation-harness 0.4.13, HFLM.tok_encode and tok_batch_encode.
TEST(PromptRule, AddsBosAsTheHarnessDoes) {
  const Tokenizer tokenizer = Tokenizer::load(kFixtures / "llama2_like");
  const int32_t bos = *tokenizer.bos_id();
  const auto starts = [&](const std::vector<int32_t>& ids) { return !ids.empty() && ids[0] == bos; };
  EXPECT_TRUE(starts(encode_scored(tokenizer, "a b", {})));
  EXPECT_FALSE(starts(encode_scored(tokenizer, "a b", {.add_bos_token = false})));
  // The text already has it: it is one token, once.
  for (const std::vector<int32_t>& ids :
       {encode_scored(tokenizer, "<s>a b", {}), encode_generation_prompt(tokenizer, "<s>a b", {})}) {
    EXPECT_TRUE(starts(ids));
    EXPECT_EQ(std::count(ids.begin(), ids.end(), bos), 1);
  }
  EXPECT_EQ(prefix_token_id(tokenizer, {}), bos);
  EXPECT_EQ(prefix_token_id(tokenizer, {.prefix_token_id = 7}), 7);
  const Tokenizer no_bos = patched(Json::object(), {{"eos_token", "<|endoftext|>"}});
  EXPECT_EQ(prefix_token_id(no_bos, {}), 0);
}

TEST(Tokenizer, OptionOverridesAddBosToken) {
  const fs::path folder = kFixtures / "llama2_like";
  EXPECT_TRUE(Tokenizer::load(folder).adds_special_tokens());
  EXPECT_FALSE(Tokenizer::load(folder, {.add_bos_token = false}).adds_special_tokens());
}

TEST(Tokenizer, NamesTheMissingFile) {
  const Folder folder;
  try {
    Tokenizer::load(folder.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kMissingInput);
    EXPECT_NE(std::string(error.what()).find("tokenizer.json"), std::string::npos);
  }
}

// Damage, and the words that the message must hold.
TEST(Tokenizer, RefusesDamagedFiles) {
  const Json ok = {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}}, {"merges", {"a b"}}};
  const auto model = [&](const char* key, Json value) {
    Json changed = ok;
    changed[key] = std::move(value);
    return Json{{"model", changed}};
  };
  const Json unknown_type = {{"type", "Surprise"}};
  const std::vector<std::pair<Json, std::string>> cases = {
      {model("merges", {"a b", "a c"}), "model.merges[1]"},
      {model("merges", {"b a"}), "'ba' is not in model.vocab"},
      {model("merges", {"a b c"}), "model.merges[0]"},
      {model("merges", {"ab"}), "model.merges[0]"},
      {model("merges", {Json::array({"a", "b", "c"})}), "model.merges[0]"},
      {model("merges", {7}), "model.merges[0]"},
      {model("vocab", {{"a", 0}, {"b", 0}}), "same id 0"},
      {model("vocab", {{"a", -1}}), "'a' has id -1"},
      {model("vocab", {{"a", 1 << 30}}), "'a' has id"},
      {model("vocab", {{"a", 1.5}}), "'a'"},
      {model("vocab", {{"a", "x"}}), "'a'"},
      {model("vocab", Json::object()), "model.vocab"},
      {model("vocab", Json::array({1})), "model.vocab"},
      {model("unk_token", "<unk>"), "unk_token"},
      {model("dropout", 0.1), "dropout"},
      {model("fuse_unk", 3), "fuse_unk"},
      {model("type", "Unigram"), "does not fit type Unigram"},
      {model("type", "Surprise"), "type Surprise is not supported; these are: BPE, Unigram, WordPiece, WordLevel"},
      {{{"model", 3}}, "no model"},
      {{{"model", nullptr}}, "no model"},
      {Json::object(), "no model"},
      {{{"normalizer", unknown_type}}, "normalizer: type Surprise is not supported"},
      {{{"pre_tokenizer", unknown_type}}, "pre_tokenizer: type Surprise is not supported; these are: ByteLevel, Split"},
      {{{"post_processor", unknown_type}}, "post_processor: type Surprise"},
      {{{"decoder", unknown_type}}, "decoder: type Surprise"},
      {{{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {unknown_type}}}}},
       "pre_tokenizer.pretokenizers[0]"},
      {{{"pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}}}},
       "pattern '('"},
      {{{"pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Sideways"}}}}, "Sideways"},
      {{{"pre_tokenizer", 5}}, "pre_tokenizer: must be an object"},
      {{{"added_tokens", {{{"id", 900}, {"content", "<x>"}}}}}, "'<x>' has id 900"},
      {{{"added_tokens", {{{"id", 3}, {"content", "<x>"}}, {{"id", 3}, {"content", "<y>"}}}}}, "added_tokens[1]"},
      {{{"added_tokens", {{{"content", "<x>"}}}}}, "added_tokens[0].id"},
      {{{"added_tokens", 5}}, "added_tokens"},
      {{{"added_tokens", {{{"id", 3}, {"content", " "}, {"normalized", true}}}}, {"normalizer", {{"type", "Strip"}}}},
       "leaves nothing"},
      {{{"post_processor",
         {{"type", "TemplateProcessing"},
          {"single", {{{"SpecialToken", {{"id", "<s>"}}}}}},
          {"special_tokens", Json::object()}}}},
       "special_tokens.<s>"},
      {{{"post_processor",
         {{"type", "TemplateProcessing"}, {"single", Json::array()}, {"special_tokens", Json::object()}}}},
       "exactly once"},
      {{{"post_processor", {{"type", "BertProcessing"}, {"cls", {"a", 99999}}, {"sep", {"b", 1}}}}}, "99999"},
  };
  for (const auto& [patch, words] : cases) {
    Json file = {{"model", ok}};
    for (const auto& [key, value] : patch.items()) file[key] = value;
    if (patch.empty()) file = Json::object();
    const Folder folder;
    folder.write("tokenizer.json", file.dump());
    const std::string message = message_of([&] { Tokenizer::load(folder.path()); });
    EXPECT_NE(message.find(words), std::string::npos) << message << "\nwanted: " << words;
    EXPECT_NE(message.find("tokenizer.json"), std::string::npos) << message;
  }
}

TEST(Tokenizer, RefusesDamagedText) {
  const std::string whole = read_file(kFixtures / "neox_like" / "tokenizer.json");
  const Folder folder;
  for (size_t size = 0; size < whole.size() - 2; size += whole.size() / 37) {
    folder.write("tokenizer.json", whole.substr(0, size));
    EXPECT_NE(message_of([&] { Tokenizer::load(folder.path()); }).find("tokenizer.json"), std::string::npos) << size;
  }
  folder.write("tokenizer.json", std::string(100'000, '['));
  EXPECT_NE(message_of([&] { Tokenizer::load(folder.path()); }).find("nested deeper"), std::string::npos);
  folder.write("tokenizer.json", whole);
  folder.write("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "a"}}})");
  EXPECT_NE(message_of([&] { Tokenizer::load(folder.path()); }).find("added_tokens_decoder"), std::string::npos);
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer", "bos_token": null})");
  EXPECT_NE(message_of([&] { Tokenizer::load(folder.path()); }).find("bos_token"), std::string::npos);
}

// Any single byte of the file changed: a message or a tokenizer, never a crash.
TEST(Tokenizer, SurvivesFlippedBytes) {
  const std::string whole = read_file(kFixtures / "llama3_like" / "tokenizer.json");
  std::mt19937 draw(3);
  const Folder folder;
  for (int i = 0; i < 300; ++i) {
    std::string damaged = whole;
    damaged[draw() % damaged.size()] = static_cast<char>(draw());
    folder.write("tokenizer.json", damaged);
    try {
      Tokenizer::load(folder.path()).encode("Hello <|eot_id|> world", true);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadInput) << error.what();
    }
  }
}

// Known ids of the real Pythia tokenizer, where it is at hand.
TEST(Tokenizer, ReadsPythia) {
  const char* shared = std::getenv("EVALMPI_SHARED_DIR");
  if (shared == nullptr) GTEST_SKIP() << "EVALMPI_SHARED_DIR is not set";
  const fs::path folder = fs::path(shared) / "tokenizers" / "pythia";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " does not exist";
  const Tokenizer tokenizer = Tokenizer::load(folder);
  EXPECT_EQ(tokenizer.size(), 50'278);
  EXPECT_EQ(tokenizer.pad_id(), 50'277);
  EXPECT_EQ(tokenizer.encode("hi", true), std::vector<int32_t>{5801});
  EXPECT_EQ(tokenizer.encode("<|endoftext|>", true), std::vector<int32_t>{0});
  EXPECT_EQ(tokenizer.encode(std::string(24, ' '), true), std::vector<int32_t>{50'254});
}

}  // namespace
}  // namespace evalmpi::text
