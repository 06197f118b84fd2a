#include "normalizer.h"

#include <algorithm>
#include <memory>

#include "evalmpi/text/unicode.h"
#include "text_pattern.h"
#include "unicode_additions.h"

namespace evalmpi::text {
namespace {

using Step = Normalizer::Step;
using Steps = std::vector<Step>;

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

// Character by character: the final sigma is not treated apart.
std::string lower_each(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, &at);
    append_utf8(&out, c == 0x130 ? U'i' : to_lower(c));
    if (c == 0x130) append_utf8(&out, 0x307);
  }
  return out;
}

void read_lowercase(const Component&, Steps* steps) { steps->push_back({lower_each}); }

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
  for (const Step& step : steps_) out = step.apply(out);
  return out;
}

bool Normalizer::leaves(std::string_view text) const {
  if (steps_.empty()) return true;
  return keeps_ascii_ &&
         std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace evalmpi::text
