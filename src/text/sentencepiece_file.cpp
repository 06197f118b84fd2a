#include "sentencepiece_file.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "byte_level.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/unicode.h"

namespace evalmpi::text {
namespace {

constexpr size_t kMaxPieces = size_t{1} << 22;
constexpr size_t kMaxPieceBytes = 2'048;
constexpr size_t kMaxMerges = size_t{1} << 24;

// Field numbers of sentencepiece_model.proto.
constexpr uint32_t kPieces = 1;
constexpr uint32_t kTrainerSpec = 2;
constexpr uint32_t kPieceText = 1;
constexpr uint32_t kPieceScore = 2;
constexpr uint32_t kPieceType = 3;
constexpr uint32_t kModelType = 3;
enum PieceType : uint64_t { kControl = 3, kUserDefined = 4 };
enum ModelType : uint64_t { kUnigram = 1, kBpe = 2 };

// Reads the fields of one protobuf message.
class Message {
 public:
  Message(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  // The next field: its number, and its value as a number or as bytes. False at the end.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const uint64_t tag = varint();
    field = static_cast<uint32_t>(tag >> 3);
    if (field == 0 || tag >> 35 != 0) damaged();
    number = 0;
    content = {};
    switch (tag & 7) {
      case 0: number = varint(); break;
      case 1: number = fixed(8); break;
      case 2: content = take(varint()); break;
      case 5: number = fixed(4); break;
      default: damaged();
    }
    return true;
  }

  uint32_t field = 0;
  uint64_t number = 0;
  std::string_view content;

 private:
  [[noreturn]] void damaged() const {
    fail(ExitCode::kBadInput, "{}: not a SentencePiece model, or damaged (at byte {} of a message of {})", where_, at_,
         bytes_.size());
  }
  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - at_) damaged();
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }
  uint64_t fixed(size_t size) {
    const std::string_view bytes = take(size);
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;) value = (value << 8) | static_cast<unsigned char>(bytes[i]);
    return value;
  }

  std::string_view bytes_;
  const std::string& where_;
  size_t at_ = 0;
};

struct Piece {
  std::string text;
  float score = 0;
  uint64_t type = 1;
};

struct SentencePieceModel {
  std::vector<Piece> pieces;
  uint64_t type = kUnigram;
};

Piece read_piece(std::string_view bytes, const std::string& where) {
  Piece piece;
  for (Message message(bytes, where); message.next();) {
    if (message.field == kPieceText) piece.text = message.content;
    if (message.field == kPieceScore) piece.score = std::bit_cast<float>(static_cast<uint32_t>(message.number));
    if (message.field == kPieceType) piece.type = message.number;
  }
  if (piece.text.size() > kMaxPieceBytes)
    fail(ExitCode::kBadInput, "{}: a piece has {} bytes, more than {}", where, piece.text.size(), kMaxPieceBytes);
  if (!is_valid_utf8(piece.text)) fail(ExitCode::kBadInput, "{}: is not valid UTF-8", where);
  // A NaN has no place in the order of merges, nor in a sum of scores.
  if (!(piece.score - piece.score == 0))
    fail(ExitCode::kBadInput, "{}: the score of '{}' is not a finite number", where, piece.text);
  return piece;
}

SentencePieceModel read_model(std::string_view bytes, const std::string& where) {
  SentencePieceModel model;
  for (Message message(bytes, where); message.next();) {
    if (message.field == kPieces) {
      if (model.pieces.size() == kMaxPieces)
        fail(ExitCode::kBadInput, "{}: holds more than {} pieces", where, kMaxPieces);
      model.pieces.push_back(read_piece(message.content, fmt::format("{}: piece {}", where, model.pieces.size())));
    } else if (message.field == kTrainerSpec) {
      for (Message spec(message.content, where); spec.next();) {
        if (spec.field == kModelType) model.type = spec.number;
      }
    }
  }
  if (model.pieces.size() < 4)
    fail(ExitCode::kBadInput, "{}: holds {} pieces; not a SentencePiece model", where, model.pieces.size());
  if (model.type != kUnigram && model.type != kBpe)
    fail(ExitCode::kBadInput, "{}: SentencePiece models of type {} are not supported; these are: 1 (Unigram), 2 (BPE)",
         where, model.type);
  return model;
}

// The merges that lead to each piece, best score first; among equal scores the shorter left part, then the shorter
// right part, last; then by piece and by the ids of the parts: generate_merges of transformers.
std::vector<std::pair<std::string, std::string>> merges_of(const std::vector<Piece>& pieces,
                                                           const std::unordered_map<std::string_view, int32_t>& ids,
                                                           const std::string& where) {
  struct Merge {
    float score;
    std::string_view left;
    std::string_view right;
    size_t left_characters;
    size_t right_characters;
  };
  std::vector<Merge> merges;
  std::vector<std::pair<std::pair<int32_t, int32_t>, size_t>> splits;
  for (const Piece& piece : pieces) {
    const std::string_view text = piece.text;
    splits.clear();
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if ((static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) continue;
      const auto left = ids.find(text.substr(0, cut));
      const auto right = left == ids.end() ? ids.end() : ids.find(text.substr(cut));
      if (right != ids.end()) splits.push_back({{left->second, right->second}, cut});
    }
    std::sort(splits.begin(), splits.end());
    if (merges.size() + splits.size() > kMaxMerges)
      fail(ExitCode::kBadInput, "{}: its pieces make more than {} merges", where, kMaxMerges);
    for (const auto& [parts, cut] : splits) {
      const std::string_view left = text.substr(0, cut);
      const std::string_view right = text.substr(cut);
      merges.push_back({piece.score, left, right, code_point_count(left), code_point_count(right)});
    }
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.left_characters != b.left_characters) return a.left_characters > b.left_characters;
    return a.right_characters > b.right_characters;
  });
  std::vector<std::pair<std::string, std::string>> out;
  out.reserve(merges.size());
  for (const Merge& merge : merges) out.emplace_back(merge.left, merge.right);
  return out;
}

Json typed(const char* type, Json rest = Json::object()) {
  Json out = {{"type", type}};
  out.update(rest);
  return out;
}

Json replace(std::string_view from, std::string_view to) {
  return typed("Replace", {{"pattern", {{"String", from}}}, {"content", to}});
}

Json decoder(bool strips_space) {
  Json steps = Json::array({replace(kSpaceMark, " "), typed("ByteFallback"), typed("Fuse")});
  if (strips_space) steps.push_back(typed("Strip", {{"content", " "}, {"start", 1}, {"stop", 0}}));
  return typed("Sequence", {{"decoders", steps}});
}

void add_components(Json* rest, const SentencePieceRule& rule) {
  if (rule.gemma) {
    (*rest)["normalizer"] = replace(" ", kSpaceMark);
    (*rest)["pre_tokenizer"] =
        typed("Split", {{"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}});
    (*rest)["decoder"] = decoder(false);
    return;
  }
  (*rest)["decoder"] = decoder(rule.add_prefix_space);
  if (!rule.legacy) {
    const char* scheme = rule.add_prefix_space ? "first" : "never";
    (*rest)["pre_tokenizer"] =
        typed("Metaspace", {{"replacement", kSpaceMark}, {"prepend_scheme", scheme}, {"split", false}});
    return;
  }
  Json steps = Json::array();
  if (rule.add_prefix_space) steps.push_back(typed("Prepend", {{"prepend", kSpaceMark}}));
  steps.push_back(replace(" ", kSpaceMark));
  (*rest)["normalizer"] = typed("Sequence", {{"normalizers", steps}});
}

// Gemma's first tokens have names of their own, and files without a tab get one in place of its byte.
void apply_gemma_rules(SentencePieceModel* model, const SentencePieceRule& rule) {
  for (size_t i = 0; i < 3; ++i) model->pieces[i].text = rule.first_tokens[i];
  const auto holds = [&](std::string_view text) {
    return std::find_if(model->pieces.begin(), model->pieces.end(),
                        [&](const Piece& piece) { return piece.text == text; });
  };
  if (holds("\t") != model->pieces.end()) return;
  if (const auto byte = holds("<0x09>"); byte != model->pieces.end()) {
    byte->text = "\t";
    byte->score = 0;
  }
}

}  // namespace

TokenizerFile parse_sentencepiece_file(std::string_view bytes, const std::string& where,
                                       const SentencePieceRule& rule) {
  SentencePieceModel model = read_model(bytes, where);
  if (rule.gemma) apply_gemma_rules(&model, rule);
  for (size_t i = 0; i < 3; ++i) model.pieces[i].score = 0;
  TokenizerFile file;
  std::unordered_map<std::string_view, int32_t> ids;
  for (const Piece& piece : model.pieces) {
    const auto id = static_cast<int32_t>(file.model.vocabulary.size());
    if (!ids.try_emplace(piece.text, id).second)
      fail(ExitCode::kBadInput, "{}: piece {} ('{}') stands there twice", where, id, piece.text);
    file.model.vocabulary.emplace_back(piece.text, id);
    if (model.type == kUnigram) file.model.scores.push_back(static_cast<double>(piece.score));
  }
  const size_t unknown = rule.gemma ? 3 : 0;
  file.model.settings = {{"type", model.type == kUnigram ? "Unigram" : "BPE"}, {"byte_fallback", true}};
  if (model.type == kUnigram) {
    file.model.settings["unk_id"] = unknown;
  } else {
    file.model.settings["unk_token"] = model.pieces[unknown].text;
    file.model.settings["fuse_unk"] = true;
    file.model.merges = merges_of(model.pieces, ids, where);
  }
  Json added = Json::array();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    if (piece.type != kControl && piece.type != kUserDefined) continue;
    const bool turn = rule.gemma && (piece.text == "<start_of_turn>" || piece.text == "<end_of_turn>");
    added.push_back(
        {{"id", id}, {"content", piece.text}, {"normalized", false}, {"special", piece.type == kControl || turn}});
  }
  file.rest = {{"added_tokens", std::move(added)}};
  add_components(&file.rest, rule);
  return file;
}

}  // namespace evalmpi::text
