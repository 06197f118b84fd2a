#include "evalmpi/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <ctime>

#include "evalmpi/base/error.h"
#include "evalmpi/text/unicode.h"
#include "regex_dialect.h"
#include "regex_replacement.h"

namespace evalmpi::text {
namespace {

constexpr size_t kMaxPatternBytes = 64 << 10;
// Per start position: about 10 ms of matching. Ten million iterations of (a|b)* are no sensible answer pattern.
constexpr uint32_t kMatchLimit = 1'000'000;
constexpr uint32_t kDepthLimit = 1'000'000;
constexpr uint32_t kHeapLimitKibibytes = 64 << 10;
constexpr size_t kJitStackBytes = 64 << 20;
// Processor time of one call: a second, and a microsecond for each byte of text.
constexpr double kBaseSeconds = 1.0;
constexpr double kSecondsPerByte = 1e-6;
// PCRE2 counts backtracking anew for every start position, so the clock is read after so many positions.
constexpr size_t kFirstWindow = 32;
constexpr size_t kMaxWindow = size_t{1} << 20;

template <auto kFree>
struct Freed {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using Code = std::unique_ptr<pcre2_code, Freed<pcre2_code_free>>;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// What PCRE2 needs besides the code to match on one thread.
struct Scratch {
  std::unique_ptr<pcre2_match_context, Freed<pcre2_match_context_free>> context;
  std::unique_ptr<pcre2_jit_stack, Freed<pcre2_jit_stack_free>> stack;
  std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data_free>> data;
  uint32_t pairs = 0;

  Scratch()
      : context(pcre2_match_context_create(nullptr)), stack(pcre2_jit_stack_create(32 << 10, kJitStackBytes, nullptr)) {
    EVALMPI_CHECK(context != nullptr);
    pcre2_set_match_limit(context.get(), kMatchLimit);
    pcre2_set_depth_limit(context.get(), kDepthLimit);
    pcre2_set_heap_limit(context.get(), kHeapLimitKibibytes);
    if (stack) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
  void reserve(uint32_t wanted) {
    if (wanted <= pairs) return;
    data.reset(pcre2_match_data_create(wanted, nullptr));
    EVALMPI_CHECK(data != nullptr);
    pairs = wanted;
  }
};

Scratch& thread_scratch() {
  thread_local Scratch scratch;
  return scratch;
}

std::string pcre_message(int code) {
  PCRE2_UCHAR buffer[256];
  return pcre2_get_error_message(code, buffer, sizeof buffer) > 0 ? reinterpret_cast<const char*>(buffer) : "unknown";
}

}  // namespace

struct Regex::Impl {
  std::string pattern;
  std::string where;
  Code code;
  uint32_t groups = 0;

  void require_utf8(std::string_view text) const {
    const size_t valid = valid_utf8_prefix(text);
    if (valid < text.size())
      fail(ExitCode::kBadInput, "{}: pattern '{}': the text is not valid UTF-8 at byte {}", where, pattern, valid);
  }
  [[noreturn]] void too_costly(const std::string& why) const {
    fail(ExitCode::kBadInput, "{}: pattern '{}' needs too much work ({}); rewrite it without nested repetitions", where,
         pattern, why);
  }
  void check_time(std::string_view text, double* start_seconds) const {
    const double now = cpu_seconds();
    if (*start_seconds < 0) *start_seconds = now;
    if (now - *start_seconds > kBaseSeconds + kSecondsPerByte * static_cast<double>(text.size()))
      too_costly("processor time");
  }

  // One call of PCRE2; true with the offsets in scratch.data.
  bool try_match(std::string_view text, size_t from, uint32_t options, Scratch& scratch) const {
    scratch.reserve(groups + 1);
    const int rc = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                               options | PCRE2_NO_UTF_CHECK, scratch.data.get(), scratch.context.get());
    if (rc >= 0) return true;
    if (rc != PCRE2_ERROR_NOMATCH) too_costly(pcre_message(rc));
    return false;
  }
  // Looks for a match from `from` on, reading the clock between windows of start positions.
  bool find(std::string_view text, size_t from, uint32_t options, double* start_seconds, Scratch& scratch) const {
    size_t window = kFirstWindow;
    while (true) {
      const size_t last_start = std::min(text.size(), from + window);
      pcre2_set_offset_limit(scratch.context.get(), last_start);
      if (try_match(text, from, options, scratch)) return true;
      if (last_start == text.size()) return false;
      const double before = *start_seconds;
      check_time(text, start_seconds);
      window = before < 0 ? 8 * window : std::min(kMaxWindow, 2 * window);
      from = last_start;
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
      options &= ~PCRE2_NOTEMPTY_ATSTART;
    }
  }
  ByteRange whole(const Scratch& scratch) const {
    const size_t* offsets = pcre2_get_ovector_pointer(scratch.data.get());
    return {offsets[0], std::max(offsets[0], offsets[1])};
  }
  RegexMatch result(const Scratch& scratch) const {
    const size_t* offsets = pcre2_get_ovector_pointer(scratch.data.get());
    RegexMatch match;
    match.groups.resize(groups + 1);
    const uint32_t set = pcre2_get_ovector_count(scratch.data.get());
    for (uint32_t g = 0; g <= groups && g < set; ++g) {
      if (offsets[2 * g] != PCRE2_UNSET) match.groups[g] = {offsets[2 * g], offsets[2 * g + 1]};
    }
    return match;
  }
  std::optional<RegexMatch> match_once(std::string_view text, uint32_t options) const {
    require_utf8(text);
    Scratch& scratch = thread_scratch();
    pcre2_set_offset_limit(scratch.context.get(), PCRE2_UNSET);
    if (!try_match(text, 0, options, scratch)) return std::nullopt;
    return result(scratch);
  }

  // Calls visit(match) for each match, with Python's rule: after an empty match the next one at the same place
  // must not be empty.
  template <typename Visit>
  void for_each(std::string_view text, Visit visit) const {
    require_utf8(text);
    Scratch& scratch = thread_scratch();
    double start_seconds = cpu_seconds();
    size_t from = 0;
    bool not_empty = false;
    while (from <= text.size() && find(text, from, not_empty ? PCRE2_NOTEMPTY_ATSTART : 0, &start_seconds, scratch)) {
      const ByteRange found = whole(scratch);
      visit(result(scratch));
      not_empty = found.empty();
      from = found.end;
      check_time(text, &start_seconds);
    }
  }
};

Regex::Regex(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Regex Regex::compile(std::string_view pattern, std::string_view where, RegexDialect dialect, RegexFlags flags) {
  if (pattern.size() > kMaxPatternBytes)
    fail(ExitCode::kBadInput, "{}: a pattern of {} bytes; at most {} are allowed", where, pattern.size(),
         kMaxPatternBytes);
  if (const size_t valid = valid_utf8_prefix(pattern); valid < pattern.size())
    fail(ExitCode::kBadInput, "{}: the pattern is not valid UTF-8 at byte {}", where, valid);
  const RewrittenPattern rewritten = rewrite_pattern(pattern, where, dialect);
  uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT;
  if (flags.ignore_case) options |= PCRE2_CASELESS;
  if (flags.multi_line || dialect == RegexDialect::kOniguruma) options |= PCRE2_MULTILINE;
  if (flags.dot_all) options |= PCRE2_DOTALL;
  const std::unique_ptr<pcre2_compile_context, Freed<pcre2_compile_context_free>> context(
      pcre2_compile_context_create(nullptr));
  EVALMPI_CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  size_t offset = 0;
  auto impl = std::make_unique<Impl>();
  impl->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rewritten.text.data()), rewritten.text.size(), options,
                                 &error, &offset, context.get()));
  if (!impl->code) {
    const size_t at = offset < rewritten.origin.size() ? rewritten.origin[offset] : pattern.size();
    fail(ExitCode::kBadInput, "{}: pattern '{}': {} at byte {}", where, pattern, pcre_message(error), at);
  }
  // Without JIT (a system that forbids it) the interpreter gives the same matches.
  pcre2_jit_compile(impl->code.get(), PCRE2_JIT_COMPLETE);
  pcre2_pattern_info(impl->code.get(), PCRE2_INFO_CAPTURECOUNT, &impl->groups);
  impl->pattern = pattern;
  impl->where = where;
  return Regex(std::move(impl));
}

std::optional<RegexMatch> Regex::search(std::string_view text, size_t from) const {
  impl_->require_utf8(text);
  if (from > text.size()) return std::nullopt;
  Scratch& scratch = thread_scratch();
  double start_seconds = -1;
  if (!impl_->find(text, from, 0, &start_seconds, scratch)) return std::nullopt;
  return impl_->result(scratch);
}

std::optional<RegexMatch> Regex::match(std::string_view text) const { return impl_->match_once(text, PCRE2_ANCHORED); }

std::optional<RegexMatch> Regex::full_match(std::string_view text) const {
  return impl_->match_once(text, PCRE2_ANCHORED | PCRE2_ENDANCHORED);
}

std::vector<RegexMatch> Regex::find_all(std::string_view text, size_t max_matches) const {
  std::vector<RegexMatch> matches;
  impl_->for_each(text, [&](RegexMatch match) {
    if (matches.size() == max_matches)
      fail(ExitCode::kBadInput, "{}: pattern '{}' matches more than {} times", impl_->where, impl_->pattern,
           max_matches);
    matches.push_back(std::move(match));
  });
  return matches;
}

std::vector<std::string> Regex::find_all_texts(std::string_view text) const {
  std::vector<std::string> texts;
  const size_t group = std::min<size_t>(1, group_count());
  impl_->for_each(text, [&](const RegexMatch& match) { texts.emplace_back(match.groups[group].of(text)); });
  return texts;
}

std::vector<std::string> Regex::split(std::string_view text) const {
  std::vector<std::string> pieces;
  size_t end = 0;
  impl_->for_each(text, [&](const RegexMatch& match) {
    pieces.emplace_back(text.substr(end, match.whole().begin - end));
    for (size_t g = 1; g < match.groups.size(); ++g) pieces.emplace_back(match.groups[g].of(text));
    end = match.whole().end;
  });
  pieces.emplace_back(text.substr(end));
  return pieces;
}

size_t Regex::group_count() const { return impl_->groups; }

std::optional<size_t> Regex::group_index(std::string_view name) const {
  const int number =
      pcre2_substring_number_from_name(impl_->code.get(), reinterpret_cast<PCRE2_SPTR>(std::string(name).c_str()));
  if (number <= 0) return std::nullopt;
  return static_cast<size_t>(number);
}

const std::string& Regex::pattern() const { return impl_->pattern; }

std::string Regex::replace_all(std::string_view text, std::string_view replacement) const {
  const std::vector<ReplacementPart> parts = read_replacement(*this, replacement);
  std::string out;
  size_t end = 0;
  impl_->for_each(text, [&](const RegexMatch& match) {
    out += text.substr(end, match.whole().begin - end);
    for (const ReplacementPart& part : parts) {
      if (part.group == kNoPosition) {
        out += part.text;
      } else {
        out += match.groups[part.group].of(text);
      }
    }
    end = match.whole().end;
  });
  out += text.substr(end);
  return out;
}

bool RegexScan::next(ByteRange* whole) {
  const Regex::Impl& impl = *regex_->impl_;
  Scratch& scratch = thread_scratch();
  if ((++count_ & 255) == 0) impl.check_time(text_, &cpu_start_seconds_);
  while (position_ <= text_.size() && impl.find(text_, position_, 0, &cpu_start_seconds_, scratch)) {
    *whole = impl.whole(scratch);
    position_ = whole->end;
    if (whole->empty()) {
      ++position_;
      while (position_ < text_.size() && (static_cast<unsigned char>(text_[position_]) & 0xC0) == 0x80) ++position_;
      if (whole->end == last_end_) continue;
    }
    last_end_ = whole->end;
    return true;
  }
  return false;
}

std::string escape_regex(std::string_view text) {
  constexpr std::string_view kSpecial = "()[]{}?*+-|^$\\.&~# \t\n\r\v\f";
  std::string out;
  for (const char c : text) {
    if (kSpecial.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace evalmpi::text
