#include "tokenizer_source.h"

#include <algorithm>
#include <array>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "sentencepiece_file.h"
#include "tokenizer_config.h"

namespace evalmpi::text {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 28;
constexpr std::string_view kRemedy =
    "save it as tokenizer.json with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)";

enum class Kind { kOther, kLlama, kGemma, kGpt2, kQwen2 };

Kind kind_of(const std::string& class_name) {
  struct Row {
    std::string_view class_name;
    Kind kind;
  };
  constexpr std::array<Row, 6> kRows = {{{"LlamaTokenizerFast", Kind::kLlama},
                                         {"CodeLlamaTokenizerFast", Kind::kLlama},
                                         {"GemmaTokenizerFast", Kind::kGemma},
                                         {"GPT2TokenizerFast", Kind::kGpt2},
                                         {"CodeGenTokenizerFast", Kind::kGpt2},
                                         {"Qwen2TokenizerFast", Kind::kQwen2}}};
  const auto* row = std::find_if(kRows.begin(), kRows.end(), [&](const Row& r) { return r.class_name == class_name; });
  return row == kRows.end() ? Kind::kOther : row->kind;
}

TokenizerSource read_json_source(const fs::path& path) {
  TokenizerSource source{path, read_file(path, kMaxFileBytes), {}};
  source.file = parse_tokenizer_file(source.bytes, path.string());
  return source;
}

TokenizerSource read_sentencepiece_source(const fs::path& path, const SlowTokenizer& slow) {
  const Kind kind = kind_of(slow.class_name);
  if (kind != Kind::kLlama && kind != Kind::kGemma)
    fail(ExitCode::kBadInput, "{}: a SentencePiece model of class {} cannot be converted; {}", path.string(),
         slow.class_name, kRemedy);
  TokenizerSource source{path, read_file(path, kMaxFileBytes), {}};
  // A tiktoken file is lines of a token in Base64 and its rank; a SentencePiece model begins with a binary tag.
  if (!source.bytes.empty() && source.bytes[0] != '\n')
    fail(ExitCode::kBadInput, "{}: not a SentencePiece model (perhaps a tiktoken file); {}", path.string(), kRemedy);
  const SentencePieceRule rule = {.gemma = kind == Kind::kGemma,
                                  .legacy = slow.legacy,
                                  .add_prefix_space = slow.add_prefix_space.value_or(true),
                                  .first_tokens = {slow.pad_token, slow.eos_token, slow.bos_token}};
  source.file = parse_sentencepiece_file(source.bytes, path.string(), rule);
  source.bytes += source.file.rest.dump();
  return source;
}

// The lines of merges.txt; transformers' GPT2Tokenizer takes the first line for a version in any case, its
// Qwen2Tokenizer only when it says so.
std::vector<std::pair<std::string, std::string>> read_merges(std::string_view text, const std::string& where,
                                                             bool qwen) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (size_t line_number = 1; !text.empty(); ++line_number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (line.ends_with('\r') || line.ends_with(' ')) line.remove_suffix(1);
    const bool version = line_number == 1 && (!qwen || line.starts_with("#version:"));
    if (version || line.empty()) continue;
    const size_t space = line.find(' ');
    if (space == 0 || space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      fail(ExitCode::kBadInput, "{}:{}: must be \"left right\"", where, line_number);
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

void add_byte_level_components(Json* rest, const SlowTokenizer& slow, bool qwen) {
  constexpr std::string_view kQwenPattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const Json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", slow.add_prefix_space.value_or(false)}, {"use_regex", !qwen}};
  (*rest)["decoder"] = {{"type", "ByteLevel"}};
  (*rest)["pre_tokenizer"] = bytes;
  if (!qwen) return;
  const Json split = {{"type", "Split"}, {"pattern", {{"Regex", kQwenPattern}}}, {"behavior", "Isolated"}};
  (*rest)["normalizer"] = {{"type", "NFC"}};
  (*rest)["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}};
}

// GPT2Converter: a template for BOS where the configuration asks for one.
void add_bos_template(TokenizerFile* file, const SlowTokenizer& slow, const std::string& where) {
  const auto& vocabulary = file->model.vocabulary;
  const auto entry = std::find_if(vocabulary.begin(), vocabulary.end(),
                                  [&](const auto& token) { return token.first == slow.bos_token; });
  if (entry == vocabulary.end())
    fail(ExitCode::kBadInput, "{}: add_bos_token is true, but bos_token '{}' is not in the vocabulary", where,
         slow.bos_token);
  const Json token = {{"id", slow.bos_token}, {"ids", Json::array({entry->second})}};
  const Json bos = {{"SpecialToken", {{"id", slow.bos_token}}}};
  const Json text = {{"Sequence", {{"id", "A"}}}};
  file->rest["post_processor"] = {{"type", "TemplateProcessing"},
                                  {"single", Json::array({bos, text})},
                                  {"special_tokens", {{slow.bos_token, token}}}};
}

TokenizerSource read_vocabulary_source(const fs::path& folder, const SlowTokenizer& slow) {
  const fs::path path = folder / "vocab.json";
  const Kind kind = kind_of(slow.class_name);
  if (kind != Kind::kGpt2 && kind != Kind::kQwen2)
    fail(ExitCode::kBadInput, "{}: a vocabulary of class {} cannot be converted; {}", path.string(), slow.class_name,
         kRemedy);
  const bool qwen = kind == Kind::kQwen2;
  const fs::path merges_path = folder / "merges.txt";
  const std::string vocabulary = read_file(path, kMaxFileBytes);
  const std::string merges = read_file(merges_path, kMaxFileBytes);
  // The reader of tokenizer.json takes the vocabulary where it stands there.
  TokenizerSource source{path, vocabulary + '\n' + merges, {}};
  source.file = parse_tokenizer_file(R"({"model":{"type":"BPE","vocab":)" + vocabulary + "}}", path.string());
  source.file.model.merges = read_merges(merges, merges_path.string(), qwen);
  add_byte_level_components(&source.file.rest, slow, qwen);
  if (!qwen && slow.add_bos_token) add_bos_template(&source.file, slow, path.string());
  source.bytes += source.file.rest.dump();
  return source;
}

}  // namespace

TokenizerSource read_tokenizer_source(const fs::path& folder) {
  const fs::path json = folder / "tokenizer.json";
  const fs::path model = folder / "tokenizer.model";
  const bool has_json = fs::exists(json);
  const bool has_model = fs::exists(model);
  const bool has_vocabulary = fs::exists(folder / "vocab.json") && fs::exists(folder / "merges.txt");
  if (has_json && !has_model) return read_json_source(json);
  if (!has_json && !has_model && !has_vocabulary) return read_json_source(json);
  const SlowTokenizer slow = read_slow_tokenizer(folder);
  const bool rebuilt = slow.class_name == "LlamaTokenizerFast" && slow.add_prefix_space.has_value();
  if (has_json && !rebuilt) return read_json_source(json);
  return has_model ? read_sentencepiece_source(model, slow) : read_vocabulary_source(folder, slow);
}

}  // namespace evalmpi::text
