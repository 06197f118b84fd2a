#include "decoder.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "byte_level.h"
#include "evalmpi/text/unicode.h"
#include "text_pattern.h"

namespace evalmpi::text {
namespace {

using Step = Decoder::Step;
using Tokens = std::vector<std::string>;

void read_component(const Component& component, std::vector<Step>* steps);

std::string joined(const Tokens& tokens, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out += separator;
    out += tokens[i];
  }
  return out;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  size_t at = text.find(from);
  if (at == std::string::npos) return text;
  std::string out;
  size_t done = 0;
  for (; at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += to;
    done = at + from.size();
  }
  out.append(text, done);
  return out;
}

void read_byte_level(const Component&, std::vector<Step>* steps) {
  steps->push_back([](Tokens* tokens) {
    std::string bytes;
    for (const std::string& token : *tokens) bytes += bytes_of_token(token);
    *tokens = {replace_invalid_utf8(bytes)};
  });
}

void read_replace(const Component& component, std::vector<Step>* steps) {
  steps->push_back([pattern = std::make_shared<TextPattern>(component),
                    content = component.required_text("content")](Tokens* tokens) {
    for (std::string& token : *tokens) token = pattern->replace_all(token, content);
  });
}

// The byte of "<0x0A>".
std::optional<char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with(">")) return std::nullopt;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    value = 16 * value + digit;
  }
  return static_cast<char>(value);
}

// A run of byte tokens that is not valid as a whole becomes one U+FFFD for each.
void read_byte_fallback(const Component&, std::vector<Step>* steps) {
  steps->push_back([](Tokens* tokens) {
    Tokens out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (is_valid_utf8(run)) {
        out.push_back(run);
      } else {
        out.insert(out.end(), run.size(), "\xEF\xBF\xBD");
      }
      run.clear();
    };
    for (std::string& token : *tokens) {
      if (const std::optional<char> byte = byte_of(token)) {
        run.push_back(*byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    *tokens = std::move(out);
  });
}

void read_fuse(const Component&, std::vector<Step>* steps) {
  steps->push_back([](Tokens* tokens) { *tokens = {joined(*tokens, "")}; });
}

void read_strip(const Component& component, std::vector<Step>* steps) {
  const std::string content = component.required_text("content");
  if (code_point_count(content) != 1) component.refuse("content", "must be one character");
  steps->push_back([content, start = component.count("start", 0), stop = component.count("stop", 0)](Tokens* tokens) {
    for (std::string& token : *tokens) {
      std::string_view rest = token;
      for (int64_t i = 0; i < start && rest.starts_with(content); ++i) rest.remove_prefix(content.size());
      for (int64_t i = 0; i < stop && rest.ends_with(content); ++i) rest.remove_suffix(content.size());
      token = std::string(rest);
    }
  });
}

// Marks become spaces; in the first token they vanish unless the scheme is "never".
void read_metaspace(const Component& component, std::vector<Step>* steps) {
  const std::string mark = component.text("replacement", "\u2581");
  const std::string scheme =
      component.text("prepend_scheme", component.boolean("add_prefix_space", true) ? "always" : "never");
  steps->push_back([mark, keeps_first = scheme == "never"](Tokens* tokens) {
    for (size_t i = 0; i < tokens->size(); ++i) {
      std::string out;
      std::string_view rest = (*tokens)[i];
      for (size_t at = rest.find(mark); at != std::string_view::npos; at = rest.find(mark)) {
        out += rest.substr(0, at);
        if (i > 0 || keeps_first) out += ' ';
        rest.remove_prefix(at + mark.size());
      }
      (*tokens)[i] = out + std::string(rest);
    }
  });
}

// Tokens without the prefix begin a word.
void read_word_piece(const Component& component, std::vector<Step>* steps) {
  const std::string prefix = component.text("prefix", "##");
  steps->push_back([prefix, cleanup = component.boolean("cleanup", true)](Tokens* tokens) {
    for (size_t i = 0; i < tokens->size(); ++i) {
      std::string& token = (*tokens)[i];
      if (i > 0) token = token.starts_with(prefix) ? token.substr(prefix.size()) : " " + token;
      if (cleanup) token = clean_up_spaces(std::move(token), true);
    }
  });
}

// The mark of a word's end becomes a space, but in the last token nothing.
void read_bpe(const Component& component, std::vector<Step>* steps) {
  const std::string suffix = component.text("suffix", "</w>");
  if (suffix.empty()) component.refuse("suffix", "must not be empty");
  steps->push_back([suffix](Tokens* tokens) {
    for (size_t i = 0; i < tokens->size(); ++i)
      (*tokens)[i] = replaced((*tokens)[i], suffix, i + 1 == tokens->size() ? "" : " ");
  });
}

void read_sequence(const Component& component, std::vector<Step>* steps) {
  component.for_each("decoders", [&](const Component& part) { read_component(part, steps); });
}

struct Kind {
  std::string_view type;
  void (*read)(const Component&, std::vector<Step>*);
};
constexpr std::array kKinds = {
    Kind{"ByteLevel", read_byte_level},
    Kind{"Replace", read_replace},
    Kind{"ByteFallback", read_byte_fallback},
    Kind{"Fuse", read_fuse},
    Kind{"Strip", read_strip},
    Kind{"Metaspace", read_metaspace},
    Kind{"WordPiece", read_word_piece},
    Kind{"BPEDecoder", read_bpe},
    Kind{"Sequence", read_sequence},
};

void read_component(const Component& component, std::vector<Step>* steps) {
  component.row(kKinds).read(component, steps);
}

}  // namespace

Decoder Decoder::parse(const Json& json, const std::string& where) {
  Decoder decoder;
  if (json.is_null()) {
    decoder.separator_ = " ";
    return decoder;
  }
  const Component component(json, where);
  read_component(component, &decoder.steps_);
  decoder.is_bytes_ = component.type() == "ByteLevel";
  return decoder;
}

std::string Decoder::apply(std::vector<std::string> tokens) const {
  for (const Step& step : steps_) step(&tokens);
  return joined(tokens, separator_);
}

std::string clean_up_spaces(std::string text, bool contract_do_not) {
  struct Rule {
    std::string_view from;
    std::string_view to;
    bool of_word_piece = false;
  };
  constexpr std::array<Rule, 11> kRules = {{{" .", "."},
                                            {" ?", "?"},
                                            {" !", "!"},
                                            {" ,", ","},
                                            {" ' ", "'"},
                                            {" n't", "n't"},
                                            {" 'm", "'m"},
                                            {" do not", " don't", true},
                                            {" 's", "'s"},
                                            {" 've", "'ve"},
                                            {" 're", "'re"}}};
  for (const Rule& rule : kRules) {
    if (!rule.of_word_piece || contract_do_not) text = replaced(std::move(text), rule.from, rule.to);
  }
  return text;
}

}  // namespace evalmpi::text
