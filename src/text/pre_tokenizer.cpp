#include "pre_tokenizer.h"

#include <algorithm>
#include <memory>

#include "byte_level.h"
#include "component_classes.h"
#include "evalmpi/text/unicode.h"
#include "text_pattern.h"
#include "word_split.h"

namespace evalmpi::text {
namespace {

using Step = PreTokenizer::Step;

constexpr size_t kMaxSteps = 100;

// What a component becomes: its steps, and whether a mapping to ByteLevel's alphabet has to follow them.
struct Plan {
  std::vector<Step> steps;
  bool bytes_pending = false;
  bool forced_prefix_space = false;
  bool prefix_space = false;
};

void read_component(const Component& component, Plan* plan);

void emit(const Piece& piece, size_t begin, size_t end, Pieces* pieces) {
  if (begin < end) pieces->list.push_back({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
}

// A stretch of text that matched a pattern, or the text between two matches.
struct Stretch {
  size_t begin;
  size_t end;
  bool match;
};

// How stretches become words; SplitDelimiterBehavior of `tokenizers`.
using Behavior = void (*)(const std::vector<Stretch>&, std::vector<Stretch>*);

void isolate(const std::vector<Stretch>& in, std::vector<Stretch>* out) { *out = in; }
void remove_matches(const std::vector<Stretch>& in, std::vector<Stretch>* out) {
  std::copy_if(in.begin(), in.end(), std::back_inserter(*out), [](const Stretch& s) { return !s.match; });
}
void join_equal(const std::vector<Stretch>& in, std::vector<Stretch>* out) {
  for (const Stretch& stretch : in) {
    if (!out->empty() && out->back().match == stretch.match) {
      out->back().end = stretch.end;
    } else {
      out->push_back(stretch);
    }
  }
}
void merge_with_previous(const std::vector<Stretch>& in, std::vector<Stretch>* out) {
  bool after_match = false;
  for (const Stretch& stretch : in) {
    if (stretch.match && !after_match && !out->empty()) {
      out->back().end = stretch.end;
    } else {
      out->push_back(stretch);
    }
    after_match = stretch.match;
  }
}
void merge_with_next(const std::vector<Stretch>& in, std::vector<Stretch>* out) {
  bool before_match = false;
  for (auto stretch = in.rbegin(); stretch != in.rend(); ++stretch) {
    if (stretch->match && !before_match && !out->empty()) {
      out->back().begin = stretch->begin;
    } else {
      out->push_back(*stretch);
    }
    before_match = stretch->match;
  }
  std::reverse(out->begin(), out->end());
}

struct BehaviorRow {
  std::string_view name;
  Behavior apply;
};
constexpr std::array kBehaviors = {
    BehaviorRow{"Isolated", isolate},
    BehaviorRow{"Removed", remove_matches},
    BehaviorRow{"Contiguous", join_equal},
    BehaviorRow{"MergedWithPrevious", merge_with_previous},
    BehaviorRow{"MergedWithNext", merge_with_next},
};

const BehaviorRow& behavior_of(const Component& component, std::string_view fallback) {
  const std::string name = component.text("behavior", fallback);
  for (const BehaviorRow& row : kBehaviors) {
    if (row.name == name) return row;
  }
  component.refuse("behavior", fmt::format("'{}' is not known", name));
}

// Calls visit for every stretch between the ranges that find(text, visit) gives, and for these.
template <typename Find, typename Visit>
void for_each_stretch(const Find& find, std::string_view text, bool invert, Visit visit) {
  size_t done = 0;
  find(text, [&](const ByteRange& range) {
    if (done < range.begin) visit(Stretch{done, range.begin, invert});
    visit(Stretch{range.begin, range.end, !invert});
    done = range.end;
  });
  if (done < text.size()) visit(Stretch{done, text.size(), invert});
}

// Cuts by `find`, which gives what matches; `invert` takes what does not.
template <typename Find>
Step split_step(Find find, Behavior behavior, bool invert) {
  if (behavior == isolate || behavior == remove_matches) {
    const bool keeps = behavior == isolate;
    return [find = std::move(find), keeps, invert](const Piece& piece, Pieces* pieces) {
      for_each_stretch(find, piece.text, invert, [&](const Stretch& stretch) {
        if (keeps || !stretch.match) emit(piece, stretch.begin, stretch.end, pieces);
      });
    };
  }
  return [find = std::move(find), behavior, invert](const Piece& piece, Pieces* pieces) {
    thread_local std::vector<Stretch> stretches;
    thread_local std::vector<Stretch> words;
    stretches.clear();
    words.clear();
    for_each_stretch(find, piece.text, invert, [&](const Stretch& stretch) { stretches.push_back(stretch); });
    behavior(stretches, &words);
    for (const Stretch& word : words) emit(piece, word.begin, word.end, pieces);
  };
}

// Gives the characters for which `wanted` holds.
template <typename Predicate>
auto find_characters(Predicate wanted) {
  std::array<bool, 128> ascii{};
  for (char32_t c = 0; c < ascii.size(); ++c) ascii[c] = wanted(c);
  return [wanted, ascii](std::string_view text, auto visit) {
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      const auto byte = static_cast<unsigned char>(text[at]);
      if (byte < 0x80 ? ascii[text[at++]] : wanted(next_code_point(text, &at))) visit(ByteRange{begin, at});
    }
  };
}

auto find_string(std::string wanted) {
  return [wanted = std::move(wanted)](std::string_view text, auto visit) {
    for (size_t at = text.find(wanted); at != std::string_view::npos; at = text.find(wanted, at + wanted.size()))
      visit(ByteRange{at, at + wanted.size()});
  };
}

Step word_step(WordEnd word_end) {
  return [word_end](const Piece& piece, Pieces* pieces) {
    for (size_t begin = 0; begin < piece.text.size();) {
      const size_t end = word_end(piece.text, begin);
      emit(piece, begin, end, pieces);
      begin = end;
    }
  };
}

Step prepend_step(std::string prefix, bool only_at_start) {
  return [prefix = std::move(prefix), only_at_start](const Piece& piece, Pieces* pieces) {
    const bool wanted = !piece.text.starts_with(prefix) && (piece.at_start || !only_at_start);
    pieces->list.push_back({wanted ? pieces->keep(prefix + std::string(piece.text)) : piece.text, piece.at_start});
  };
}

void read_byte_level(const Component& component, Plan* plan) {
  const bool prefix = plan->forced_prefix_space ? plan->prefix_space : component.boolean("add_prefix_space", true);
  if (prefix) plan->steps.push_back(prepend_step(" ", false));
  if (component.boolean("use_regex", true)) plan->steps.push_back(word_step(known_word_end(kGpt2Pattern)));
  plan->bytes_pending = true;
}

void read_split(const Component& component, Plan* plan) {
  auto pattern = std::make_shared<TextPattern>(component);
  const BehaviorRow& behavior = behavior_of(component, "Isolated");
  const bool invert = component.boolean("invert", false);
  const WordEnd word_end = known_word_end(pattern->regex_text());
  // The known patterns match everything, so keeping the matches apart or removing what is between them is the same.
  if (word_end != nullptr && (behavior.name == "Isolated" || (behavior.name == "Removed" && invert))) {
    plan->steps.push_back(word_step(word_end));
    return;
  }
  plan->steps.push_back(split_step([pattern](std::string_view text, auto visit) { pattern->for_each(text, visit); },
                                   behavior.apply, invert));
}

void read_digits(const Component& component, Plan* plan) {
  const bool each = component.boolean("individual_digits", false);
  plan->steps.push_back(split_step(find_characters(is_numeric), each ? isolate : join_equal, false));
}

void read_punctuation(const Component& component, Plan* plan) {
  plan->steps.push_back(
      split_step(find_characters(is_punctuation_mark), behavior_of(component, "Isolated").apply, false));
}

void read_bert(const Component&, Plan* plan) {
  plan->steps.push_back(split_step(find_characters(is_white_space), remove_matches, false));
  plan->steps.push_back(split_step(find_characters(is_punctuation_mark), isolate, false));
}

void read_delimiter_split(const Component& component, Plan* plan) {
  const std::string delimiter = component.required_text("delimiter");
  if (code_point_count(delimiter) != 1) component.refuse("delimiter", "must be one character");
  plan->steps.push_back(split_step(find_string(delimiter), remove_matches, false));
}

void read_fixed_length(const Component& component, Plan* plan) {
  const int64_t length = component.count("length", 5);
  if (length == 0) component.refuse("length", "must be at least 1");
  plan->steps.push_back([length](const Piece& piece, Pieces* pieces) {
    size_t begin = 0;
    int64_t characters = 0;
    for (size_t at = 0; at < piece.text.size();) {
      next_code_point(piece.text, &at);
      if (++characters % length != 0 && at < piece.text.size()) continue;
      emit(piece, begin, at, pieces);
      begin = at;
    }
  });
}

void read_white_space_split(const Component&, Plan* plan) {
  plan->steps.push_back(split_step(find_characters(is_white_space), remove_matches, false));
}

// \w+|[^\w\s]+ : runs of word characters and runs of others, without white space.
void read_white_space(const Component&, Plan* plan) {
  plan->steps.push_back([](const Piece& piece, Pieces* pieces) {
    const auto kind_of = [](char32_t c) { return is_word(c) ? 1 : is_white_space(c) ? 0 : 2; };
    size_t begin = 0;
    int kind = 0;
    for (size_t at = 0; at < piece.text.size();) {
      const size_t here = at;
      const int next_kind = kind_of(next_code_point(piece.text, &at));
      if (next_kind == kind) continue;
      if (kind != 0) emit(piece, begin, here, pieces);
      begin = here;
      kind = next_kind;
    }
    if (kind != 0) emit(piece, begin, piece.text.size(), pieces);
  });
}

void read_metaspace(const Component& component, Plan* plan) {
  const std::string mark = component.text("replacement", "\u2581");
  if (code_point_count(mark) != 1) component.refuse("replacement", "must be one character");
  std::string scheme = component.boolean("add_prefix_space", true) ? "always" : "never";
  scheme = component.text("prepend_scheme", scheme);
  if (scheme != "always" && scheme != "never" && scheme != "first")
    component.refuse("prepend_scheme", fmt::format("'{}' is not always, never or first", scheme));
  plan->steps.push_back([mark](const Piece& piece, Pieces* pieces) {
    std::string out;
    for (const char c : piece.text) c == ' ' ? out += mark : out += c;
    pieces->list.push_back({pieces->keep(std::move(out)), piece.at_start});
  });
  if (scheme != "never") plan->steps.push_back(prepend_step(mark, scheme == "first"));
  if (!component.boolean("split", true)) return;
  plan->steps.push_back(split_step(find_string(mark), merge_with_next, false));
}

void read_sequence(const Component& component, Plan* plan) {
  plan->forced_prefix_space = false;
  component.for_each("pretokenizers", [&](const Component& part) { read_component(part, plan); });
}

struct Kind {
  std::string_view type;
  void (*read)(const Component&, Plan*);
};
constexpr std::array kKinds = {
    Kind{"ByteLevel", read_byte_level},
    Kind{"Split", read_split},
    Kind{"Digits", read_digits},
    Kind{"Punctuation", read_punctuation},
    Kind{"Whitespace", read_white_space},
    Kind{"WhitespaceSplit", read_white_space_split},
    Kind{"Metaspace", read_metaspace},
    Kind{"Sequence", read_sequence},
    Kind{"BertPreTokenizer", read_bert},
    Kind{"CharDelimiterSplit", read_delimiter_split},
    Kind{"FixedLength", read_fixed_length},
};

void read_component(const Component& component, Plan* plan) {
  const Kind& kind = component.row(kKinds);
  // A step behind ByteLevel sees its characters; behind the last one the model maps the bytes itself, word by word.
  if (plan->bytes_pending && kind.read != read_sequence) {
    plan->steps.push_back([](const Piece& piece, Pieces* pieces) {
      std::string characters;
      append_byte_characters(piece.text, &characters);
      pieces->list.push_back({pieces->keep(std::move(characters)), piece.at_start});
    });
    plan->bytes_pending = false;
  }
  kind.read(component, plan);
}

}  // namespace

PreTokenizer PreTokenizer::parse(const Json& json, const std::string& where, bool add_prefix_space) {
  Plan plan;
  plan.forced_prefix_space = true;
  plan.prefix_space = add_prefix_space;
  if (!json.is_null()) read_component(Component(json, where), &plan);
  PreTokenizer out;
  if (plan.steps.size() > kMaxSteps)
    fail(ExitCode::kBadInput, "{}: has {} steps; at most {} are supported", where, plan.steps.size(), kMaxSteps);
  out.steps_ = std::move(plan.steps);
  out.ends_in_bytes_ = plan.bytes_pending;
  return out;
}

}  // namespace evalmpi::text
