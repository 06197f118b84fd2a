#include "tokenizer_file.h"

#include <array>

#include "evalmpi/base/error.h"

namespace evalmpi::text {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxTokens = 1'500'000;       // the largest in use have 900,000
constexpr size_t kMaxItems = size_t{1} << 16;  // of a list beside vocabulary and merges
constexpr size_t kMaxKeys = 1 << 14;           // of an object beside the vocabulary: finding a key is a linear search
constexpr size_t kMaxMerges = size_t{1} << 24;

// Receives the events of nlohmann's SAX parser. A JSON tree of a vocabulary of 100,000 would be slow to build and
// large, so the values at model.vocab and model.merges go straight into lists.
class Reader {
 public:
  Reader(TokenizerFile* file, const std::string& where) : file_(file), where_(where) {}

  bool null() { return value(Json(nullptr)); }
  bool boolean(bool v) { return value(Json(v)); }
  bool number_integer(int64_t v) { return integer(v); }
  bool number_unsigned(uint64_t v) { return integer(v > INT64_MAX ? INT64_MAX : static_cast<int64_t>(v)); }
  bool number_float(double v, const std::string&) {
    if (part_ == Part::kPieces) return score(v);
    return value(Json(v));
  }
  bool binary(Json::binary_t&) { return false; }

  bool string(std::string& v) {
    if (part_ == Part::kPieces) return piece(v);
    if (part_ != Part::kMerges) return value(Json(v));
    if (depth_ == merges_depth_ + 1) {
      pair_.push_back(v);
    } else {
      split_merge(v);
    }
    return true;
  }
  bool start_object(size_t) {
    if (part_ != Part::kRest) refuse_part();
    if (at_model("vocab")) {
      part_ = Part::kVocabulary;
      vocabulary_depth_ = depth_ + 1;
      return deeper();
    }
    return open(Json::object());
  }
  bool end_object() {
    if (part_ == Part::kVocabulary && depth_ == vocabulary_depth_) {
      part_ = Part::kRest;
      --depth_;
      return true;
    }
    return close();
  }
  bool start_array(size_t) {
    if (part_ == Part::kVocabulary) refuse_part();
    if (part_ == Part::kPieces) {
      if (depth_ != pieces_depth_) refuse_part();
      return deeper();
    }
    if (at_model("vocab")) {
      part_ = Part::kPieces;
      pieces_depth_ = depth_ + 1;
      return deeper();
    }
    if (part_ == Part::kMerges) {
      if (depth_ != merges_depth_) refuse_part();
      pair_.clear();
      return deeper();
    }
    if (at_model("merges")) {
      part_ = Part::kMerges;
      merges_depth_ = depth_ + 1;
      return deeper();
    }
    return open(Json::array());
  }
  bool end_array() {
    if (part_ == Part::kPieces) {
      if (file_->model.scores.size() != file_->model.vocabulary.size()) refuse_part();
      if (depth_ == pieces_depth_) part_ = Part::kRest;
      --depth_;
      return true;
    }
    if (part_ != Part::kMerges) return close();
    if (depth_ == merges_depth_) {
      part_ = Part::kRest;
    } else {
      if (pair_.size() != 2) refuse_part();
      add_merge(std::move(pair_[0]), std::move(pair_[1]));
    }
    --depth_;
    return true;
  }
  bool key(std::string& v) {
    key_ = v;
    if (part_ == Part::kRest && stack_.size() == 1) top_key_ = v;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    fail(ExitCode::kBadInput, "{}: not valid JSON at byte {}: {}", where_, position, error.what());
  }

 private:
  enum class Part { kRest, kVocabulary, kPieces, kMerges };

  [[noreturn]] void refuse_part() const {
    if (part_ == Part::kVocabulary)
      fail(ExitCode::kBadInput, "{}: model.vocab: token '{}' has no integer id", where_, key_);
    if (part_ == Part::kPieces)
      fail(ExitCode::kBadInput, "{}: model.vocab[{}]: must be [\"piece\", score]", where_, file_->model.scores.size());
    fail(ExitCode::kBadInput, "{}: model.merges[{}]: must be \"left right\" or [\"left\", \"right\"]", where_,
         file_->model.merges.size());
  }
  bool at_model(std::string_view key) const { return stack_.size() == 2 && top_key_ == "model" && key_ == key; }
  bool deeper() {
    if (++depth_ > kMaxDepth) fail(ExitCode::kBadInput, "{}: nested deeper than {}", where_, kMaxDepth);
    return true;
  }
  Json* put(Json json) {
    if (stack_.empty()) {
      file_->rest = std::move(json);
      return &file_->rest;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      if (parent.size() == kMaxItems)
        fail(ExitCode::kBadInput, "{}: {}: a list holds more than {} entries", where_, top_key_, kMaxItems);
      return &parent.emplace_back(std::move(json));
    }
    if (parent.size() == kMaxKeys)
      fail(ExitCode::kBadInput, "{}: {}: an object holds more than {} keys", where_, top_key_, kMaxKeys);
    return &(parent[key_] = std::move(json));
  }
  bool open(Json json) {
    stack_.push_back(put(std::move(json)));
    return deeper();
  }
  bool close() {
    stack_.pop_back();
    --depth_;
    return true;
  }
  bool value(Json json) {
    if (part_ != Part::kRest) refuse_part();
    put(std::move(json));
    return true;
  }
  // One entry of Unigram's vocabulary: first the piece, then its score.
  bool piece(const std::string& v) {
    auto& [vocabulary, scores, merges, settings] = file_->model;
    if (depth_ != pieces_depth_ + 1 || scores.size() != vocabulary.size()) refuse_part();
    check_token_count();
    vocabulary.emplace_back(v, static_cast<int64_t>(vocabulary.size()));
    return true;
  }
  bool score(double v) {
    if (file_->model.scores.size() + 1 != file_->model.vocabulary.size()) refuse_part();
    file_->model.scores.push_back(v);
    return true;
  }
  void check_token_count() const {
    if (file_->model.vocabulary.size() == kMaxTokens)
      fail(ExitCode::kBadInput, "{}: model.vocab holds more than {} tokens", where_, kMaxTokens);
  }
  bool integer(int64_t v) {
    if (part_ == Part::kPieces) return score(static_cast<double>(v));
    if (part_ != Part::kVocabulary) return value(Json(v));
    check_token_count();
    file_->model.vocabulary.emplace_back(std::move(key_), v);
    return true;
  }
  // Files made from GPT-2's merges.txt may still hold its version line.
  void split_merge(const std::string& line) {
    if (line.starts_with("#version")) return;
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) refuse_part();
    add_merge(line.substr(0, space), line.substr(space + 1));
  }
  void add_merge(std::string left, std::string right) {
    if (file_->model.merges.size() == kMaxMerges)
      fail(ExitCode::kBadInput, "{}: model.merges holds more than {} merges", where_, kMaxMerges);
    file_->model.merges.emplace_back(std::move(left), std::move(right));
  }

  TokenizerFile* file_;
  const std::string& where_;
  Part part_ = Part::kRest;
  size_t depth_ = 0;
  size_t vocabulary_depth_ = 0;
  size_t pieces_depth_ = 0;
  size_t merges_depth_ = 0;
  std::vector<Json*> stack_;
  std::string key_;
  std::string top_key_;
  std::vector<std::string> pair_;
};

}  // namespace

TokenizerFile parse_tokenizer_file(std::string_view text, const std::string& where) {
  TokenizerFile file;
  Reader reader(&file, where);
  Json::sax_parse(text.begin(), text.end(), &reader);
  if (!file.rest.is_object() || !file.rest.contains("model") || !file.rest["model"].is_object())
    fail(ExitCode::kBadInput, "{}: holds no model", where);
  Json& model = file.rest["model"];
  file.model.settings = std::move(model);
  return file;
}

}  // namespace evalmpi::text
