#include "evalmpi/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <atomic>

#include "byte_level.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/unicode.h"
#include "piece_cache.h"
#include "tokenizer_config.h"
#include "tokenizer_impl.h"
#include "tokenizer_source.h"

namespace evalmpi::text {
namespace {

// This thread's scratch for a tokenizer; the least recently created of a few gives way.
EncodeScratch& thread_scratch(const Tokenizer::Impl& impl) {
  struct Entry {
    uint64_t instance = 0;
    std::unique_ptr<EncodeScratch> scratch;
  };
  thread_local std::array<Entry, 4> entries;
  thread_local size_t next = 0;
  for (Entry& entry : entries) {
    if (entry.instance == impl.instance) return *entry.scratch;
  }
  Entry& entry = entries[next++ % entries.size()];
  entry = {impl.instance, std::make_unique<EncodeScratch>()};
  entry.scratch->of_step.resize(impl.pre_tokenizer.step_count());
  return *entry.scratch;
}

// The added tokens of tokenizer.json by the ids given there.
std::map<int64_t, AddedToken> read_file_tokens(const Json& rest, const std::string& where) {
  std::map<int64_t, AddedToken> tokens;
  if (!rest.contains("added_tokens") || rest["added_tokens"].is_null()) return tokens;
  Component(rest, where).for_each("added_tokens", [&](const Component& entry) {
    const Json& id = entry.get("id");
    if (!id.is_number_integer()) entry.refuse("id", "must be an integer");
    const AddedToken token = read_added_token(entry.json(), entry.where());
    const auto [known, fresh] = tokens.try_emplace(id.get<int64_t>(), token);
    if (!fresh) entry.refuse("id", fmt::format("{} is also the id of '{}'", known->first, known->second.content));
  });
  return tokens;
}

void add_tokens(Tokenizer::Impl* impl, const Json& rest, const std::string& where,
                const std::map<int64_t, AddedToken>& file_tokens, const std::vector<AddedToken>& more) {
  const AddedTokens::Lookup lookup = [&](std::string_view content) { return impl->model.vocabulary().find(content); };
  const int64_t model_size = impl->model.vocabulary().size();
  // In the order of the file: ids are given out in that order.
  if (!file_tokens.empty()) {
    for (const Json& entry : rest["added_tokens"]) {
      const AddedToken token = read_added_token(entry, where);
      impl->added.add(token, lookup, model_size);
      const std::optional<int32_t> id = impl->added.id_of(token.content);
      if (id && *id != entry["id"].get<int64_t>())
        fail(ExitCode::kBadInput,
             "{}: added_tokens: '{}' has id {}, but by the vocabulary and the tokens before it, its id is {}; such a "
             "file gives other ids in every library, so write it again with the library that made it",
             where, token.content, entry["id"].get<int64_t>(), *id);
    }
  }
  for (const AddedToken& token : more) impl->added.add(token, lookup, model_size);
  impl->added.build([&](std::string_view content) {
    std::string normalized = impl->normalizer.apply(content);
    if (normalized.empty())
      fail(ExitCode::kBadInput, "{}: the normalizer leaves nothing of the added token '{}'", where, content);
    return normalized;
  });
}

// What LlamaTokenizerFast.update_post_processor and its copies build.
PostProcessor bos_eos_template(const Tokenizer::Impl& impl, const TokenizerConfig& config, const std::string& where) {
  const auto id_of = [&](const char* key, const char* flag) {
    const std::optional<int32_t> id = impl.named_id(key);
    if (!id) fail(ExitCode::kBadInput, "{}: {} is true, but there is no {}", where, flag, key);
    return *id;
  };
  PostProcessor out;
  if (config.add_bos_token) out.before.push_back(id_of("bos_token", "add_bos_token"));
  if (config.add_eos_token) out.after.push_back(id_of("eos_token", "add_eos_token"));
  return out;
}

// The end of the first run of space marks and what follows it up to the next mark.
size_t end_before_mark(std::string_view text) {
  size_t at = 0;
  while (text.substr(at).starts_with(kSpaceMark)) at += kSpaceMark.size();
  return std::min(text.find(kSpaceMark, at), text.size());
}

// Everything read besides tokenizer.json, as far as it decides ids or texts.
Hash128 digest_of(std::string_view file, const Tokenizer::Impl& impl, const TokenizerConfig& config) {
  Hasher hasher;
  hasher.add("evalmpi tokenizer 1").add(file);
  for (const auto& [id, token] : impl.added.by_id()) {
    hasher.add(static_cast<uint64_t>(id)).add(token.content).add(impl.added.is_special(token.content));
    hasher.add(token.normalized).add(token.left_strip).add(token.right_strip).add(token.single_word);
  }
  for (const std::vector<int32_t>* ids : {&impl.post_processor.before, &impl.post_processor.after}) {
    hasher.add(ids->size());
    for (const int32_t id : *ids) hasher.add(static_cast<uint64_t>(id));
  }
  for (const auto& [key, content] : config.named_tokens) hasher.add(key).add(content);
  return hasher.add(config.add_prefix_space).add(config.clean_up_spaces).finish();
}

}  // namespace

std::optional<int32_t> Tokenizer::Impl::id_of(std::string_view content) const {
  if (const std::optional<int32_t> id = added.id_of(content)) return id;
  return model.vocabulary().find(content);
}

std::string_view Tokenizer::Impl::token(int32_t id) const {
  if (const AddedToken* found = added.find(id)) return found->content;
  return model.vocabulary().token(id);
}

int32_t Tokenizer::Impl::end_id() const {
  const int32_t added_end = added.by_id().empty() ? 0 : added.by_id().rbegin()->first + 1;
  return std::max(added_end, model.vocabulary().end_id());
}

const std::string& Tokenizer::Impl::named_token(const char* key) const {
  static const std::string none;
  const auto found = named_tokens.find(key);
  return found == named_tokens.end() ? none : found->second;
}

std::optional<int32_t> Tokenizer::Impl::named_id(const char* key) const {
  const std::string& content = named_token(key);
  return content.empty() ? std::nullopt : id_of(content);
}

bool Tokenizer::Impl::skips(int32_t id, bool skip_special_tokens) const {
  const std::string_view content = token(id);
  return content.empty() || (skip_special_tokens && added.is_special(content));
}

Tokenizer Tokenizer::load(const std::filesystem::path& model_folder, const TokenizerOptions& options) {
  TokenizerSource source = read_tokenizer_source(model_folder);
  TokenizerFile& file = source.file;
  const std::string where = source.path.string();
  auto impl = std::make_shared<Impl>(std::move(file.model), where);
  const std::map<int64_t, AddedToken> file_tokens = read_file_tokens(file.rest, where);
  const TokenizerConfig config = read_tokenizer_config(model_folder, file_tokens, options);

  const auto part = [&](const char* key) { return file.rest.contains(key) ? file.rest[key] : Json(nullptr); };
  impl->normalizer = Normalizer::parse(part("normalizer"), where + ": normalizer");
  impl->pre_tokenizer = PreTokenizer::parse(part("pre_tokenizer"), where + ": pre_tokenizer", config.add_prefix_space);
  impl->decoder = Decoder::parse(part("decoder"), where + ": decoder");
  add_tokens(impl.get(), file.rest, where, file_tokens, config.tokens_to_add);
  impl->clean_up_spaces = config.clean_up_spaces;
  impl->named_tokens = config.named_tokens;
  impl->post_processor = config.rewrites_template
                             ? bos_eos_template(*impl, config, (model_folder / "tokenizer_config.json").string())
                             : PostProcessor::parse(part("post_processor"), where + ": post_processor", impl->end_id());
  if (impl->decoder.is_bytes()) {
    for (int32_t id = 0; id < impl->end_id(); ++id) impl->token_bytes.push_back(bytes_of_token(impl->token(id)));
  }
  impl->digest = digest_of(source.bytes, *impl, config);
  static std::atomic<uint64_t> instances = 0;
  impl->instance = ++instances;
  return Tokenizer(std::move(impl));
}

void Tokenizer::Impl::encode_word(std::string_view word, std::vector<int32_t>* ids) const {
  if (!pre_tokenizer.ends_in_bytes()) return model.encode(word, ids);
  thread_local std::string characters;
  characters.clear();
  append_byte_characters(word, &characters);
  model.encode(characters, ids);
}

void Tokenizer::Impl::encode_piece(const Piece& piece, size_t step, EncodeScratch* scratch,
                                   std::vector<int32_t>* ids) const {
  const auto stage = static_cast<uint8_t>(2 * step + (piece.at_start ? 1 : 0));
  PieceCache::Slot* slot = nullptr;
  if (piece.text.size() <= PieceCache::kMaxBytes) {
    bool hit = false;
    slot = scratch->cache.find(piece.text, stage, &hit);
    if (hit) {
      ids->insert(ids->end(), slot->ids.begin(), slot->ids.begin() + slot->count);
      return;
    }
  }
  const size_t before = ids->size();
  if (step < pre_tokenizer.step_count()) {
    Pieces& pieces = scratch->of_step[step];
    pieces.clear();
    pre_tokenizer.apply_step(step, piece, &pieces);
    for (const Piece& part : pieces.list) encode_piece(part, step + 1, scratch, ids);
  } else if (model.cuts_before_marks() && !pre_tokenizer.ends_in_bytes() &&
             end_before_mark(piece.text) < piece.text.size()) {
    for (std::string_view rest = piece.text; !rest.empty();) {
      const size_t end = end_before_mark(rest);
      encode_piece({rest.substr(0, end), false}, step, scratch, ids);
      rest.remove_prefix(end);
    }
  } else {
    encode_word(piece.text, ids);
  }
  const size_t count = ids->size() - before;
  if (slot != nullptr && count <= PieceCache::kMaxIds)
    PieceCache::fill(slot, piece.text, stage, ids->data() + before, count);
}

// `text` holds no added token that is matched before the normalizer.
void Tokenizer::Impl::encode_text(std::string_view text, bool at_start, std::vector<int32_t>* ids) const {
  std::string normalized;
  if (!normalizer.leaves(text)) {
    normalized = normalizer.apply(text);
    text = normalized;
  }
  std::vector<TextPart> parts;
  added.split(text, true, &parts);
  EncodeScratch& scratch = thread_scratch(*this);
  for (const TextPart& part : parts) {
    if (part.id >= 0) {
      ids->push_back(part.id);
      continue;
    }
    const Piece piece = {text.substr(part.begin, part.end - part.begin), at_start && part.begin == 0};
    encode_piece(piece, 0, &scratch, ids);
  }
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 8);
  if (add_special_tokens) ids = impl_->post_processor.before;
  std::vector<TextPart> parts;
  impl_->added.split(text, false, &parts);
  for (const TextPart& part : parts) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      impl_->encode_text(text.substr(part.begin, part.end - part.begin), part.begin == 0, &ids);
    }
  }
  if (add_special_tokens) ids.insert(ids.end(), impl_->post_processor.after.begin(), impl_->post_processor.after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::string text;
  if (impl_->decoder.is_bytes()) {
    for (const int32_t id : ids) {
      if (!impl_->skips(id, skip_special_tokens)) text += impl_->token_bytes[static_cast<size_t>(id)];
    }
    if (!is_valid_utf8(text)) text = replace_invalid_utf8(text);
  } else {
    std::vector<std::string> tokens;
    for (const int32_t id : ids) {
      if (!impl_->skips(id, skip_special_tokens)) tokens.emplace_back(impl_->token(id));
    }
    text = impl_->decoder.apply(std::move(tokens));
  }
  return impl_->clean_up_spaces ? clean_up_spaces(std::move(text)) : text;
}

std::optional<int32_t> Tokenizer::bos_id() const { return impl_->named_id("bos_token"); }
std::optional<int32_t> Tokenizer::eos_id() const { return impl_->named_id("eos_token"); }
std::optional<int32_t> Tokenizer::pad_id() const { return impl_->named_id("pad_token"); }
const std::string& Tokenizer::bos_token() const { return impl_->named_token("bos_token"); }
const std::string& Tokenizer::eos_token() const { return impl_->named_token("eos_token"); }
const std::string& Tokenizer::pad_token() const { return impl_->named_token("pad_token"); }
const std::map<std::string, std::string>& Tokenizer::named_tokens() const { return impl_->named_tokens; }
const std::string& Tokenizer::unk_token() const { return impl_->named_token("unk_token"); }

std::string Tokenizer::token_text(int32_t id) const { return std::string(impl_->token(id)); }
std::optional<int32_t> Tokenizer::token_id(std::string_view token) const { return impl_->id_of(token); }
bool Tokenizer::is_special(int32_t id) const { return impl_->added.is_special(impl_->token(id)); }

int64_t Tokenizer::size() const {
  int64_t beside = 0;
  for (const auto& [id, token] : impl_->added.by_id()) beside += impl_->model.vocabulary().find(token.content) ? 0 : 1;
  return impl_->model.vocabulary().size() + beside;
}

bool Tokenizer::adds_special_tokens() const {
  return !impl_->post_processor.before.empty() || !impl_->post_processor.after.empty();
}

Hash128 Tokenizer::digest() const { return impl_->digest; }

std::optional<int32_t> prefix_token_id(const Tokenizer& tokenizer, const PromptRule& rule) {
  if (rule.prefix_token_id) return rule.prefix_token_id;
  return tokenizer.bos_id() ? tokenizer.bos_id() : tokenizer.eos_id();
}

std::vector<int32_t> encode_scored(const Tokenizer& tokenizer, std::string_view text, const PromptRule& rule) {
  const std::optional<int32_t> prefix = prefix_token_id(tokenizer, rule);
  const bool has_prefix = prefix && text.starts_with(tokenizer.decode(std::span(&*prefix, 1), false));
  return tokenizer.encode(text, !has_prefix && rule.add_bos_token.value_or(true));
}

std::vector<int32_t> encode_generation_prompt(const Tokenizer& tokenizer, std::string_view text,
                                              const PromptRule& rule) {
  const bool has_bos = !tokenizer.bos_token().empty() && text.starts_with(tokenizer.bos_token());
  return tokenizer.encode(text, !has_bos && rule.add_bos_token.value_or(true));
}

}  // namespace evalmpi::text
