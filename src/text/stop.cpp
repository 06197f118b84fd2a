#include "evalmpi/text/stop.h"

#include <algorithm>

#include "evalmpi/text/unicode.h"
#include "tokenizer_impl.h"

namespace evalmpi::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Cleaning up only removes spaces, by ten rules that each look at a space and at most three characters behind it. So
// text before three characters without a space does not depend on what follows, nor does anything this far from the
// end.
constexpr size_t kRuleReach = 3;
constexpr size_t kCleanUpReach = 64;

bool is_byte_token(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.back() == '>';
}

// The end of the last prefix of `text` that ends in kRuleReach bytes without a space; 0 if there is none.
size_t independent_prefix(std::string_view text) {
  for (size_t end = text.size(); end >= kRuleReach; --end) {
    const size_t space = text.substr(end - kRuleReach, kRuleReach).rfind(' ');
    if (space == std::string_view::npos) return end;
    end = end - kRuleReach + space + 1;
  }
  return 0;
}

// The largest position at or before `end` where a character begins.
size_t character_border(std::string_view text, size_t end) {
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return end;
}

}  // namespace

TextStream::TextStream(Tokenizer tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

void TextStream::push(int32_t id) {
  ids_.push_back(id);
  if (tokenizer_.impl_->skips(id, skip_special_tokens_)) return;
  if (tokenizer_.impl_->decoder.is_bytes()) {
    push_bytes(id);
  } else {
    push_token(id);
  }
}

void TextStream::push_bytes(int32_t id) {
  bytes_ += tokenizer_.impl_->token_bytes[static_cast<size_t>(id)];
  const size_t complete = bytes_.size() - incomplete_utf8_tail(bytes_);
  settle(replace_invalid_utf8(std::string_view(bytes_).substr(0, complete)));
  bytes_.erase(0, complete);
}

// Other decoders treat the first token apart, so new tokens are decoded behind one that is settled, and what that one
// gives alone is cut off. A run of byte tokens, or a text that ends in U+FFFD, may still change.
void TextStream::push_token(int32_t id) {
  const Tokenizer::Impl& impl = *tokenizer_.impl_;
  window_.push_back(id);
  if (is_byte_token(impl.token(id))) return;
  const auto decoded = [&](const std::vector<int32_t>& ids) {
    std::vector<std::string> tokens;
    for (const int32_t i : ids) tokens.emplace_back(impl.token(i));
    return impl.decoder.apply(std::move(tokens));
  };
  const std::string text = decoded(window_);
  if (text.ends_with(kReplacement)) return;
  if (text.size() > window_settled_bytes_) settle(std::string_view(text).substr(window_settled_bytes_));
  window_settled_bytes_ = text.size();
  const std::string alone = decoded({id});
  if (alone.empty()) return;
  window_ = {id};
  window_settled_bytes_ = alone.size();
}

void TextStream::settle(std::string_view decoded) {
  if (!tokenizer_.impl_->clean_up_spaces) {
    text_ += decoded;
    return;
  }
  uncleaned_ += decoded;
  text_.resize(cleaned_bytes_);
  if (const size_t end = independent_prefix(uncleaned_); end > 0) {
    text_ += clean_up_spaces(uncleaned_.substr(0, end));
    uncleaned_.erase(0, end);
    cleaned_bytes_ = text_.size();
  }
  const std::string rest = clean_up_spaces(uncleaned_);
  if (rest.size() > kCleanUpReach) text_ += rest.substr(0, character_border(rest, rest.size() - kCleanUpReach));
}

std::string TextStream::finish() const { return tokenizer_.decode(ids_, skip_special_tokens_); }

StopFinder::StopFinder(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
  for (const std::string& stop : stops_) longest_ = std::max(longest_, stop.size());
}

std::optional<size_t> StopFinder::find(std::string_view text) {
  const size_t from = searched_ >= longest_ ? searched_ - longest_ : 0;
  size_t first = std::string_view::npos;
  for (const std::string& stop : stops_) first = std::min(first, text.find(stop, from));
  searched_ = text.size();
  if (first == std::string_view::npos) return std::nullopt;
  return first;
}

std::string cut_at_stops(std::string text, const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    if (stop.empty()) continue;
    if (const size_t at = text.find(stop); at != std::string::npos) text.resize(at);
  }
  return text;
}

}  // namespace evalmpi::text
