#include "corpus_metrics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <unordered_map>

#include "evalmpi/text/python.h"
#include "evalmpi/text/regex.h"
#include "translation_edits.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

constexpr size_t kBleuOrder = 4;
constexpr size_t kCharacterOrder = 6;
constexpr double kBetaSquared = 4;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// ASCII characters that always stand alone: punctuation without ' , - .
bool stands_alone(char c) {
  return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') ||
         (c >= ':' && c <= '@') || c == '/';
}

// Replaces non-overlapping pairs of neighbours, from the left. Works on bytes: both sides of a pair are ASCII, or any
// byte at all, of which a continuation byte is as good as its character.
template <typename IsPair, typename Write>
std::string replace_pairs(const std::string& line, IsPair is_pair, Write write) {
  std::string result;
  size_t i = 0;
  while (i < line.size()) {
    if (i + 1 < line.size() && is_pair(line[i], line[i + 1])) {
      write(result, line[i], line[i + 1]);
      i += 2;
    } else {
      result += line[i++];
    }
  }
  return result;
}

std::string split_punctuation(const std::string& line) {
  const auto is_stop = [](char c) { return c == '.' || c == ','; };
  std::string result;
  for (const char c : line) {
    if (stands_alone(c)) {
      (result += ' ') += c;
      result += ' ';
    } else {
      result += c;
    }
  }
  result = replace_pairs(
      result, [&](char a, char b) { return !is_digit(a) && is_stop(b); },
      [](std::string& out, char a, char b) {
        out.append({a, ' ', b, ' '});
      });
  result = replace_pairs(
      result, [&](char a, char b) { return is_stop(a) && !is_digit(b); },
      [](std::string& out, char a, char b) {
        out.append({' ', a, ' ', b});
      });
  return replace_pairs(
      result, [](char a, char b) { return is_digit(a) && b == '-'; },
      [](std::string& out, char a, char b) {
        out.append({a, ' ', b, ' '});
      });
}

// n-grams and how often each occurs. The texts behind the keys outlive it.
using Counts = std::unordered_map<std::string_view, int64_t>;

// The pieces of a text that n-grams are made of: [begin[i], begin[i + 1]) is piece i, with what separates them.
struct Pieces {
  std::string text;
  std::vector<size_t> begin;
  std::vector<size_t> end;
  size_t size() const { return begin.size(); }
};

void append_piece(Pieces& pieces, std::string_view piece, std::string_view separator) {
  if (pieces.size() > 0) pieces.text += separator;
  pieces.begin.push_back(pieces.text.size());
  pieces.text += piece;
  pieces.end.push_back(pieces.text.size());
}

void count_ngrams(const Pieces& pieces, size_t order, Counts& counts) {
  const std::string_view text = pieces.text;
  for (size_t i = 0; i + order <= pieces.size(); ++i) {
    const size_t last = pieces.end[i + order - 1];
    ++counts[text.substr(pieces.begin[i], last - pieces.begin[i])];
  }
}

std::string tokenize_international(std::string_view line) {
  const auto compile = [](const char* pattern) {
    return text::Regex::compile(pattern, "intl tokens", text::RegexDialect::kOniguruma);
  };
  static const text::Regex kAfterOther = compile("(\\P{N})(\\p{P})");
  static const text::Regex kBeforeOther = compile("(\\p{P})(\\P{N})");
  static const text::Regex kSymbol = compile("(\\p{S})");
  std::string text = kAfterOther.replace_all(line, "\\1 \\2 ");
  text = kBeforeOther.replace_all(text, " \\1 \\2");
  return kSymbol.replace_all(text, " \\1 ");
}

using Tokenize = std::string (*)(std::string_view line);

Pieces tokens_of(std::string_view sentence, Tokenize tokenize) {
  Pieces words;
  for (const std::string& word : py::split(tokenize(py::rstrip(sentence)))) append_piece(words, word, " ");
  return words;
}

// {hypothesis length, closest reference length, matches of orders 1 to 4, n-grams of orders 1 to 4}
Statistics bleu_statistics_of(std::string_view hypothesis, const std::vector<std::string>& references,
                              Tokenize tokenize) {
  const Pieces words = tokens_of(hypothesis, tokenize);
  std::vector<Pieces> reference_words;
  for (const std::string& reference : references) reference_words.push_back(tokens_of(reference, tokenize));
  int64_t closest = -1;
  int64_t closest_distance = -1;
  const auto length = static_cast<int64_t>(words.size());
  for (const Pieces& reference : reference_words) {
    const auto reference_length = static_cast<int64_t>(reference.size());
    const int64_t distance = std::abs(length - reference_length);
    const bool is_shorter = distance == closest_distance && reference_length < closest;
    if (closest_distance == -1 || distance < closest_distance || is_shorter) closest = reference_length;
    if (closest_distance == -1 || distance < closest_distance) closest_distance = distance;
  }
  Statistics statistics(2 + 2 * kBleuOrder);
  statistics[0] = static_cast<double>(length);
  statistics[1] = static_cast<double>(closest);
  for (size_t order = 1; order <= kBleuOrder; ++order) {
    Counts most;
    for (const Pieces& reference : reference_words) {
      Counts counts;
      count_ngrams(reference, order, counts);
      for (const auto& [ngram, count] : counts) most[ngram] = std::max(most[ngram], count);
    }
    Counts counts;
    count_ngrams(words, order, counts);
    int64_t matches = 0;
    int64_t total = 0;
    for (const auto& [ngram, count] : counts) {
      total += count;
      if (const auto found = most.find(ngram); found != most.end()) matches += std::min(count, found->second);
    }
    statistics[1 + order] = static_cast<double>(matches);
    statistics[1 + kBleuOrder + order] = static_cast<double>(total);
  }
  return statistics;
}

Statistics bleu_statistics(std::string_view hypothesis, const std::vector<std::string>& references) {
  return bleu_statistics_of(hypothesis, references, tokenize_13a);
}

double bleu_score(const Statistics& sum) {
  const double length = sum[0];
  const double reference_length = sum[1];
  double brevity_penalty = 1;
  if (length < reference_length) brevity_penalty = length > 0 ? std::exp(1 - reference_length / length) : 0;
  double any_matches = 0;
  for (size_t order = 1; order <= kBleuOrder; ++order) any_matches += sum[1 + order];
  if (any_matches == 0) return 0;
  double smoothing = 1;
  double precisions[kBleuOrder] = {};
  for (size_t i = 0; i < kBleuOrder; ++i) {
    const double matches = sum[2 + i];
    const double total = sum[2 + kBleuOrder + i];
    if (total == 0) break;
    if (matches == 0) {
      smoothing *= 2;
      precisions[i] = 100. / (smoothing * total);
    } else {
      precisions[i] = 100. * matches / total;
    }
  }
  double logarithms = 0;
  for (const double precision : precisions) logarithms += precision == 0 ? -9999999999. : std::log(precision);
  return brevity_penalty * std::exp(logarithms / kBleuOrder);
}

Pieces characters_of(std::string_view sentence) {
  Pieces characters;
  for (const std::string& word : py::split(sentence)) {
    for (const std::string_view character : py::code_points(word)) append_piece(characters, character, "");
  }
  return characters;
}

bool is_punctuation(std::string_view character) {
  return character.size() == 1 && std::ispunct(static_cast<unsigned char>(character.front())) != 0 &&
         static_cast<unsigned char>(character.front()) < 128;
}

// Words with one punctuation mark at their end, else at their start, taken off.
Pieces words_of(std::string_view sentence) {
  Pieces words;
  for (const std::string& word : py::split(sentence)) {
    const std::vector<std::string_view> characters = py::code_points(word);
    const std::string_view whole = word;
    if (characters.size() > 1 && is_punctuation(characters.back())) {
      append_piece(words, whole.substr(0, whole.size() - 1), " ");
      append_piece(words, characters.back(), " ");
    } else if (characters.size() > 1 && is_punctuation(characters.front())) {
      append_piece(words, characters.front(), " ");
      append_piece(words, whole.substr(1), " ");
    } else {
      append_piece(words, whole, " ");
    }
  }
  return words;
}

// F-score of summed {hypothesis, reference, match} counts of each order.
double chrf_score(const Statistics& sum) {
  double precision = 0;
  double recall = 0;
  int64_t effective_order = 0;
  for (size_t i = 0; i + 2 < sum.size(); i += 3) {
    if (!(sum[i] > 0 && sum[i + 1] > 0)) continue;
    precision += sum[i + 2] / sum[i];
    recall += sum[i + 2] / sum[i + 1];
    ++effective_order;
  }
  if (effective_order == 0) return 0;
  precision /= static_cast<double>(effective_order);
  recall /= static_cast<double>(effective_order);
  if (precision + recall == 0) return 0;
  double score = (1 + kBetaSquared) * precision * recall;
  score /= kBetaSquared * precision + recall;
  return 100 * score;
}

void append_matches(const Counts& hypothesis, const Counts& reference, Statistics& statistics) {
  int64_t n_hypothesis = 0;
  int64_t n_reference = 0;
  int64_t matches = 0;
  for (const auto& [ngram, count] : hypothesis) {
    n_hypothesis += count;
    if (const auto found = reference.find(ngram); found != reference.end()) matches += std::min(count, found->second);
  }
  for (const auto& [ngram, count] : reference) n_reference += count;
  statistics.push_back(static_cast<double>(reference.empty() ? 0 : n_hypothesis));
  statistics.push_back(static_cast<double>(n_reference));
  statistics.push_back(static_cast<double>(matches));
}

// Of the reference with the best F-score, the first of equal ones.
template <size_t kWordOrder>
Statistics chrf_statistics(std::string_view hypothesis, const std::vector<std::string>& references) {
  const auto all_counts = [](const Pieces& characters, const Pieces& words) {
    std::vector<Counts> counts(kCharacterOrder + kWordOrder);
    for (size_t i = 0; i < kCharacterOrder; ++i) count_ngrams(characters, i + 1, counts[i]);
    for (size_t i = 0; i < kWordOrder; ++i) count_ngrams(words, i + 1, counts[kCharacterOrder + i]);
    return counts;
  };
  const Pieces characters = characters_of(hypothesis);
  const Pieces words = kWordOrder > 0 ? words_of(hypothesis) : Pieces();
  const std::vector<Counts> counts = all_counts(characters, words);
  Statistics best;
  double best_score = -1;
  for (const std::string& reference : references) {
    const Pieces reference_characters = characters_of(reference);
    const Pieces reference_words = kWordOrder > 0 ? words_of(reference) : Pieces();
    const std::vector<Counts> reference_counts = all_counts(reference_characters, reference_words);
    Statistics statistics;
    for (size_t i = 0; i < counts.size(); ++i) append_matches(counts[i], reference_counts[i], statistics);
    const double score = chrf_score(statistics);
    if (score > best_score) {
      best_score = score;
      best = std::move(statistics);
    }
  }
  return best;
}

// {edits to the nearest reference, mean length of the references}
Statistics ter_statistics(std::string_view hypothesis, const std::vector<std::string>& references) {
  const auto words_of_line = [](std::string_view line) { return py::split(py::lower(py::rstrip(line))); };
  const std::vector<std::string> words = words_of_line(hypothesis);
  int64_t fewest = -1;
  double lengths = 0;
  for (const std::string& reference : references) {
    const std::vector<std::string> reference_words = words_of_line(reference);
    const int64_t edits = count_translation_edits(words, reference_words);
    lengths += static_cast<double>(reference_words.size());
    if (fewest < 0 || edits < fewest) fewest = edits;
  }
  return {static_cast<double>(fewest), lengths / static_cast<double>(references.size())};
}

double ter_score(const Statistics& sum) {
  if (sum[1] > 0) return 100 * (sum[0] / sum[1]);
  return sum[0] > 0 ? 100 : 0;
}

constexpr CorpusMetric kCorpusMetrics[] = {
    {"bleu", 2 + 2 * kBleuOrder, bleu_statistics, bleu_score},
    {"chrf", 3 * kCharacterOrder, chrf_statistics<0>, chrf_score},
    {"chrf++", 3 * (kCharacterOrder + 2), chrf_statistics<2>, chrf_score},
    {"ter", 2, ter_statistics, ter_score},
};

}  // namespace

std::string tokenize_13a(std::string_view line) {
  std::string text = py::replace(line, "<skipped>", "");
  text = py::replace(text, "-\n", "");
  text = py::replace(text, "\n", " ");
  if (text.find('&') != text.npos) {
    text = py::replace(text, "&quot;", "\"");
    text = py::replace(text, "&amp;", "&");
    text = py::replace(text, "&lt;", "<");
    text = py::replace(text, "&gt;", ">");
  }
  return py::join(py::split(split_punctuation(" " + text + " ")), " ");
}

double international_bleu(std::string_view hypothesis, std::string_view reference) {
  return bleu_score(bleu_statistics_of(hypothesis, {std::string(reference)}, tokenize_international));
}

const CorpusMetric* find_corpus_metric(std::string_view name) {
  for (const CorpusMetric& metric : kCorpusMetrics) {
    if (name == metric.name) return &metric;
  }
  return nullptr;
}

}  // namespace evalmpi::task
