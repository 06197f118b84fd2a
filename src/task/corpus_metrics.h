#pragma once

// Metrics of a whole corpus of translations, as sacrebleu 2.6 computes them with its default settings: BLEU (13a
// tokens, orders 1 to 4, exponential smoothing), chrF (character orders 1 to 6, beta 2), chrF++ (words of orders 1 and
// 2 besides) and TER (lower case, shifts as in Tercom).
//
// Each document gives statistics, the corpus' statistics are their sum, and the score follows from the sum; so a
// resample of documents costs additions only. Statistics are counts, exact in double.

#include <string>
#include <string_view>
#include <vector>

namespace evalmpi::task {

using Statistics = std::vector<double>;

struct CorpusMetric {
  const char* name;
  size_t n_statistics;
  // `references` is not empty.
  Statistics (*of_document)(std::string_view hypothesis, const std::vector<std::string>& references);
  double (*score)(const Statistics& sum);  // from 0 to 100; TER may exceed it
};

// bleu, chrf, chrf++, ter; nothing for other names.
const CorpusMetric* find_corpus_metric(std::string_view name);

// The BLEU of one sentence against one reference with sacrebleu's tokens "intl": punctuation apart from what is no
// number beside it, symbols alone.
double international_bleu(std::string_view hypothesis, std::string_view reference);

// sacrebleu's 13a tokens of a line, joined by single spaces. For tests.
std::string tokenize_13a(std::string_view line);

}  // namespace evalmpi::task
