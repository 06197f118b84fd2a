#include "normalizer.h"

#include <algorithm>
#include <array>
#include <memory>

#include "base64.h"
#include "byte_level.h"
#include "charsmap.h"
#include "component_classes.h"
#include "evalmpi/text/unicode.h"
#include "text_pattern.h"
#include "unicode_additions.h"

namespace evalmpi::text {
namespace {

using Step = Normalizer::Step;
using Steps = std::vector<Step>;

bool is_ascii(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; });
}

// Below it takes_no_part() is false.
constexpr char32_t kFirstUnnormalized = 0x7FD;

void read_component(const Component& component, Steps* steps);

bool takes_no_part(char32_t c) { return is_unnormalized(c) || is_added_mark(c) || is_added_letter(c); }

// The normal form as the reference knows it: its tables are older, and a character that they lack takes no part.
std::string normalize_as_reference(std::string_view text, NormalForm form) {
  std::string out;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const char32_t c = next_code_point(text, &at);
    if (c < kFirstUnnormalized || !takes_no_part(c)) continue;
    out += normalize(text.substr(done, begin - done), form);
    out += text.substr(begin, at - begin);
    done = at;
  }
  return done == 0 ? normalize(text, form) : out + normalize(text.substr(done), form);
}

template <NormalForm kForm>
void read_form(const Component&, Steps* steps) {
  steps->push_back({[](std::string_view text) { return normalize_as_reference(text, kForm); }, true});
}

// Rewrites each character by itself: rule(c, &out) appends what it becomes. What ASCII becomes, at most one character
// each, is looked up.
template <typename Rule>
auto each_character(Rule rule) {
  std::array<char, 128> ascii{};
  std::array<uint8_t, 128> kept{};
  for (char32_t c = 0; c < ascii.size(); ++c) {
    std::string out;
    rule(c, &out);
    kept[c] = static_cast<uint8_t>(out.size());
    if (!out.empty()) ascii[c] = out[0];
  }
  return [rule, ascii, kept](std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      const auto byte = static_cast<unsigned char>(text[at]);
      if (byte >= ascii.size()) {
        rule(next_code_point(text, &at), &out);
        continue;
      }
      if (kept[byte] != 0) out.push_back(ascii[byte]);
      ++at;
    }
    return out;
  };
}

// The final sigma is not treated apart.
void append_lower(char32_t c, std::string* out) {
  append_utf8(out, c == 0x130 ? U'i' : added_lower(to_lower(c)));
  if (c == 0x130) append_utf8(out, 0x307);
}

void read_lowercase(const Component&, Steps* steps) { steps->push_back({each_character(append_lower)}); }

void read_replace(const Component& component, Steps* steps) {
  steps->push_back({[pattern = std::make_shared<TextPattern>(component), content = component.required_text("content")](
                        std::string_view text) { return pattern->replace_all(text, content); }});
}

void read_prepend(const Component& component, Steps* steps) {
  steps->push_back({[prefix = component.required_text("prepend")](std::string_view text) {
    return text.empty() ? std::string() : prefix + std::string(text);
  }});
}

void read_strip(const Component& component, Steps* steps) {
  const bool left = component.boolean("strip_left", true);
  const bool right = component.boolean("strip_right", true);
  steps->push_back({[left, right](std::string_view text) {
    size_t begin = text.size();
    size_t end = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t start = at;
      if (is_white_space(next_code_point(text, &at))) continue;
      begin = std::min(begin, start);
      end = at;
    }
    if (!left) begin = 0;
    if (!right) end = text.size();
    return std::string(text.substr(begin, end > begin ? end - begin : 0));
  }});
}

void append_without_marks(char32_t c, std::string* out) {
  if (!is_combining_mark(c)) append_utf8(out, c);
}

void read_strip_accents(const Component&, Steps* steps) {
  steps->push_back({each_character(append_without_marks), true});
}

// SentencePiece's nmt rules: control characters vanish, other kinds of space become spaces.
void append_as_nmt(char32_t c, std::string* out) {
  const bool removed =
      (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  const bool space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  if (!removed) append_utf8(out, space ? U' ' : c);
}

void read_nmt(const Component&, Steps* steps) { steps->push_back({each_character(append_as_nmt)}); }

void read_byte_level(const Component&, Steps* steps) {
  steps->push_back({[](std::string_view text) {
    std::string characters;
    append_byte_characters(text, &characters);
    return characters;
  }});
}

void read_precompiled(const Component& component, Steps* steps) {
  const std::optional<std::string> bytes = decode_base64(component.required_text("precompiled_charsmap"));
  if (!bytes) component.refuse("precompiled_charsmap", "is not Base64");
  steps->push_back({[map = std::make_shared<Charsmap>(*bytes, component.where() + ".precompiled_charsmap")](
                        std::string_view text) { return map->apply(text); }});
}

void append_as_bert(char32_t c, std::string* out) {
  if (!is_cleaned_away(c)) append_utf8(out, is_white_space(c) ? U' ' : c);
}

void append_spaced_chinese(char32_t c, std::string* out) {
  struct Block {
    char32_t first;
    char32_t last;
  };
  // BERT's list; the third of the supplementary blocks is misspelt there and stays so.
  constexpr std::array<Block, 8> kBlocks = {{{0x4E00, 0x9FFF},
                                             {0x3400, 0x4DBF},
                                             {0x20000, 0x2A6DF},
                                             {0x2A700, 0x2B73F},
                                             {0x2B740, 0x2B81F},
                                             {0x2B920, 0x2CEAF},
                                             {0xF900, 0xFAFF},
                                             {0x2F800, 0x2FA1F}}};
  const bool chinese = std::any_of(kBlocks.begin(), kBlocks.end(),
                                   [&](const Block& block) { return c >= block.first && c <= block.last; });
  if (chinese) *out += ' ';
  append_utf8(out, c);
  if (chinese) *out += ' ';
}

void read_bert(const Component& component, Steps* steps) {
  const bool lowers = component.boolean("lowercase", true);
  if (component.boolean("clean_text", true)) steps->push_back({each_character(append_as_bert)});
  if (component.boolean("handle_chinese_chars", true)) steps->push_back({each_character(append_spaced_chinese), true});
  if (component.boolean("strip_accents", lowers)) {
    const auto append = [](char32_t c, std::string* out) {
      if (!is_nonspacing_mark(c)) append_utf8(out, c);
    };
    steps->push_back({[strip = each_character(append)](std::string_view text) {
                        return strip(normalize_as_reference(text, NormalForm::kNfd));
                      },
                      true});
  }
  if (lowers) steps->push_back({each_character(append_lower)});
}

void read_sequence(const Component& component, Steps* steps) {
  component.for_each("normalizers", [&](const Component& part) { read_component(part, steps); });
}

struct Kind {
  std::string_view type;
  void (*read)(const Component&, Steps*);
};
constexpr std::array kKinds = {
    Kind{"NFC", read_form<NormalForm::kNfc>},
    Kind{"NFD", read_form<NormalForm::kNfd>},
    Kind{"NFKC", read_form<NormalForm::kNfkc>},
    Kind{"NFKD", read_form<NormalForm::kNfkd>},
    Kind{"Lowercase", read_lowercase},
    Kind{"Replace", read_replace},
    Kind{"Prepend", read_prepend},
    Kind{"Strip", read_strip},
    Kind{"StripAccents", read_strip_accents},
    Kind{"BertNormalizer", read_bert},
    Kind{"Precompiled", read_precompiled},
    Kind{"Nmt", read_nmt},
    Kind{"ByteLevel", read_byte_level},
    Kind{"Sequence", read_sequence},
};

void read_component(const Component& component, Steps* steps) { component.row(kKinds).read(component, steps); }

}  // namespace

Normalizer Normalizer::parse(const Json& json, const std::string& where) {
  Normalizer normalizer;
  if (!json.is_null()) read_component(Component(json, where), &normalizer.steps_);
  normalizer.keeps_ascii_ = std::all_of(normalizer.steps_.begin(), normalizer.steps_.end(),
                                        [](const Step& step) { return step.keeps_ascii; });
  return normalizer;
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  bool ascii = is_ascii(out);
  for (const Step& step : steps_) {
    if (ascii && step.keeps_ascii) continue;
    out = step.apply(out);
    ascii = is_ascii(out);
  }
  return out;
}

bool Normalizer::leaves(std::string_view text) const { return steps_.empty() || (keeps_ascii_ && is_ascii(text)); }

}  // namespace evalmpi::text
