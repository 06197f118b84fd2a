#include "compare_prompts.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/json.h"
#include "evalmpi/base/log.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/text/tokenizer.h"

namespace evalmpi::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxPromptBytes = uint64_t{64} << 20;
constexpr int kBuiltInSequences = 4;
constexpr int64_t kBuiltInLength = 64;

// A line of a prompt file: a text, or token ids.
struct Prompt {
  std::string text;
  model::TokenSequence ids;
};

Prompt prompt_of(const Json& line, const std::string& where) {
  if (line.is_string()) return {line.get<std::string>(), {}};
  for (const char* key : {"prompt", "text"}) {
    if (line.is_object() && line.contains(key) && line.at(key).is_string())
      return {line.at(key).get<std::string>(), {}};
  }
  const Json& list = line.is_object() && line.contains("ids") ? line.at("ids") : line;
  Prompt prompt;
  if (!list.is_array() || list.empty()) {
    fail(ExitCode::kBadInput,
         "{}: expected a text, an object with \"prompt\", \"text\" or \"ids\", or a list of token ids", where);
  }
  for (const Json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > 0x7fffffff)
      fail(ExitCode::kBadInput, "{}: no token id: {}", where, id.dump());
    prompt.ids.push_back(id.get<int32_t>());
  }
  return prompt;
}

std::vector<Prompt> read_prompts(const fs::path& path) {
  const bool is_json = path.extension() == ".jsonl" || path.extension() == ".json";
  const std::string bytes = read_file(path, kMaxPromptBytes);
  std::vector<Prompt> prompts;
  std::string_view rest = bytes;
  for (int64_t number = 1; !rest.empty(); ++number) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::string where = fmt::format("{}:{}", path.string(), number);
    prompts.push_back(is_json ? prompt_of(parse_json(line, where), where) : Prompt{std::string(line), {}});
  }
  if (prompts.empty()) fail(ExitCode::kBadInput, "{}: no prompts", path.string());
  return prompts;
}

}  // namespace

std::vector<model::TokenSequence> sequences_of(const fs::path& a, const fs::path& b, const std::string& prompt_file) {
  if (prompt_file.empty()) {
    const model::ModelSpec spec_a = model::read_model_spec(a), spec_b = model::read_model_spec(b);
    const int64_t length = std::min({kBuiltInLength, spec_a.max_positions, spec_b.max_positions});
    return model::built_in_sequences(std::min(spec_a.vocab, spec_b.vocab), kBuiltInSequences, static_cast<int>(length));
  }
  std::optional<text::Tokenizer> tokenizer;
  std::vector<model::TokenSequence> sequences;
  for (const Prompt& prompt : read_prompts(prompt_file)) {
    if (!prompt.ids.empty()) {
      sequences.push_back(prompt.ids);
      continue;
    }
    if (!tokenizer) {
      tokenizer = text::Tokenizer::load(a);
      if (fs::exists(b / "tokenizer.json") && text::Tokenizer::load(b).digest() != tokenizer->digest()) {
        log::warning("{}: its tokenizer is not that of {}; both models get the ids of the latter", b.string(),
                     a.string());
      }
    }
    sequences.push_back(tokenizer->encode(prompt.text, true));
  }
  return sequences;
}

}  // namespace evalmpi::cli
