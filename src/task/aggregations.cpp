#include "aggregations.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "corpus_metrics.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

using Aggregate = std::function<double(const Positions&)>;
using Numbers = std::vector<double>;

constexpr double kBypassed = 999;

[[noreturn]] void misfit(std::string_view aggregation, const Json& value) {
  fail(ExitCode::kBadInput, "the aggregation {} cannot take the value {}", aggregation, py::repr(value));
}

Numbers numbers_of(std::string_view aggregation, const std::vector<Json>& values) {
  Numbers numbers;
  numbers.reserve(values.size());
  for (const Json& value : values) numbers.push_back(number_of(aggregation, value));
  return numbers;
}

// Values that are pairs of numbers.
struct Pairs {
  Numbers first;
  Numbers second;
};

Pairs pairs_of(std::string_view aggregation, const std::vector<Json>& values) {
  Pairs pairs;
  for (const Json& value : values) {
    if (!value.is_array() || value.size() != 2) misfit(aggregation, value);
    pairs.first.push_back(number_of(aggregation, value[0]));
    pairs.second.push_back(number_of(aggregation, value[1]));
  }
  return pairs;
}

double sum_of(const Numbers& values, const Positions& positions) {
  double sum = 0;
  for (const int32_t position : positions) sum += values[static_cast<size_t>(position)];
  return sum;
}

double mean_of(const Numbers& values, const Positions& positions) {
  return sum_of(values, positions) / static_cast<double>(positions.size());
}

Aggregate prepare_mean(const std::vector<Json>& values) {
  return [numbers = numbers_of("mean", values)](const Positions& positions) { return mean_of(numbers, positions); };
}

Aggregate prepare_perplexity(const std::vector<Json>& values) {
  return [numbers = numbers_of("perplexity", values)](const Positions& positions) {
    return std::exp(-mean_of(numbers, positions));
  };
}

// Of an even number of values the upper of the two in the middle.
Aggregate prepare_median(const std::vector<Json>& values) {
  return [numbers = numbers_of("median", values)](const Positions& positions) {
    Numbers sorted;
    for (const int32_t position : positions) sorted.push_back(numbers[static_cast<size_t>(position)]);
    const auto middle = sorted.begin() + static_cast<ptrdiff_t>(sorted.size() / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    return *middle;
  };
}

Aggregate prepare_nan_mean(const std::vector<Json>& values) {
  return [numbers = numbers_of("nanmean", values)](const Positions& positions) {
    Numbers chosen;
    size_t count = 0;
    for (const int32_t position : positions) {
      const double value = numbers[static_cast<size_t>(position)];
      chosen.push_back(std::isnan(value) ? 0 : value);
      count += std::isnan(value) ? 0 : 1;
    }
    if (count == 0) return std::numeric_limits<double>::quiet_NaN();
    return pairwise_sum(chosen.data(), chosen.size()) / static_cast<double>(count);
  };
}

double weighted_mean(const Pairs& pairs, const Positions& positions) {
  return sum_of(pairs.first, positions) / sum_of(pairs.second, positions);
}

Aggregate prepare_weighted_perplexity(const std::vector<Json>& values) {
  return [pairs = pairs_of("weighted_perplexity", values)](const Positions& positions) {
    return std::exp(-weighted_mean(pairs, positions));
  };
}

Aggregate prepare_bits_per_byte(const std::vector<Json>& values) {
  return [pairs = pairs_of("bits_per_byte", values)](const Positions& positions) {
    return -weighted_mean(pairs, positions) / std::log(2.0);
  };
}

// F1 of the class 1 among classes 0 and 1; 0 where it is undefined.
Aggregate prepare_f1(const std::vector<Json>& values) {
  Pairs pairs = pairs_of("f1", values);
  for (const Numbers* classes : {&pairs.first, &pairs.second}) {
    for (const double one : *classes) {
      if (one != 0 && one != 1) {
        fail(ExitCode::kBadInput, "the aggregation f1 takes the classes 0 and 1 only, not {}", one);
      }
    }
  }
  return [pairs = std::move(pairs)](const Positions& positions) {
    double hits = 0;
    double misses = 0;
    for (const int32_t position : positions) {
      const double gold = pairs.first[static_cast<size_t>(position)];
      const double prediction = pairs.second[static_cast<size_t>(position)];
      if (gold == 1 && prediction == 1) ++hits;
      if (gold != prediction) ++misses;
    }
    return hits == 0 ? 0.0 : 2 * hits / (2 * hits + misses);
  };
}

// Matthews' coefficient for any number of classes: covariance of gold and prediction over the root of the product of
// their variances, all in counts (Gorodkin 2004); 0 where one of them is constant.
double matthews(const Pairs& pairs, const Positions& positions) {
  std::map<double, double> golds;
  std::map<double, double> predictions;
  double right = 0;
  for (const int32_t position : positions) {
    const double gold = pairs.first[static_cast<size_t>(position)];
    const double prediction = pairs.second[static_cast<size_t>(position)];
    golds[gold] += 1;
    predictions[prediction] += 1;
    if (gold == prediction) ++right;
  }
  const auto total = static_cast<double>(positions.size());
  double both = 0;
  double gold_squares = 0;
  double prediction_squares = 0;
  for (const auto& [value, count] : golds) {
    gold_squares += count * count;
    if (const auto found = predictions.find(value); found != predictions.end()) both += count * found->second;
  }
  for (const auto& [value, count] : predictions) prediction_squares += count * count;
  const double scale = (total * total - prediction_squares) * (total * total - gold_squares);
  return scale == 0 ? 0.0 : (right * total - both) / std::sqrt(scale);
}

Aggregate prepare_matthews(const std::vector<Json>& values) {
  return [pairs = pairs_of("matthews_corrcoef", values)](const Positions& positions) {
    return matthews(pairs, positions);
  };
}

// One document's sum of squared distances to the gold answer.
double brier_distance(const Json& value, size_t n_classes) {
  if (!value.is_array() || value.size() != 2 || !value[0].is_number_integer() || !value[1].is_array()) {
    misfit("brier_score", value);
  }
  const int64_t gold = value[0].get<int64_t>();
  const auto count = static_cast<int64_t>(n_classes);
  if (value[1].size() != n_classes || gold >= count || gold < -count) misfit("brier_score", value);
  const auto right = static_cast<size_t>(gold < 0 ? gold + count : gold);
  Numbers squares;
  for (size_t k = 0; k < n_classes; ++k) {
    const double distance = number_of("brier_score", value[1][k]) - (k == right ? 1 : 0);
    squares.push_back(distance * distance);
  }
  return pairwise_sum(squares.data(), squares.size());
}

Aggregate prepare_brier_score(const std::vector<Json>& values) {
  if (!values[0].is_array() || values[0].size() != 2) misfit("brier_score", values[0]);
  Numbers distances;
  for (const Json& value : values) distances.push_back(brier_distance(value, values[0][1].size()));
  return [distances = std::move(distances)](const Positions& positions) {
    Numbers chosen;
    for (const int32_t position : positions) chosen.push_back(distances[static_cast<size_t>(position)]);
    return pairwise_sum(chosen.data(), chosen.size()) / static_cast<double>(chosen.size());
  };
}

Aggregate prepare_bypass(const std::vector<Json>&) {
  return [](const Positions&) { return kBypassed; };
}

// A reference and a prediction, or several references: every text of one document that a corpus metric sees.
struct Translation {
  std::string hypothesis;
  std::vector<std::string> references;
};

Translation translation_of(std::string_view aggregation, const Json& value) {
  if (!value.is_array() || value.size() != 2) misfit(aggregation, value);
  // A prediction may stand in a list of its own.
  const Json& prediction = value[1].is_array() && value[1].size() == 1 ? value[1][0] : value[1];
  if (!prediction.is_string()) misfit(aggregation, value);
  Translation translation{prediction.get<std::string>(), {}};
  for (const Json& reference : value[0].is_array() ? value[0] : Json::array({value[0]})) {
    if (!reference.is_string()) misfit(aggregation, value);
    translation.references.push_back(reference.get<std::string>());
  }
  if (translation.references.empty()) misfit(aggregation, value);
  return translation;
}

// Where documents have different numbers of references, only as many count as the one with the fewest has: of those
// that are aggregated. by_count holds the statistics for each such number.
struct CorpusStatistics {
  std::vector<size_t> n_references;  // by document
  std::map<size_t, std::vector<Statistics>> by_count;
};

CorpusStatistics corpus_statistics(const CorpusMetric& metric, const std::vector<Json>& values) {
  CorpusStatistics corpus;
  std::vector<Translation> translations;
  for (const Json& value : values) {
    translations.push_back(translation_of(metric.name, value));
    corpus.n_references.push_back(translations.back().references.size());
    corpus.by_count[corpus.n_references.back()];
  }
  for (auto& [count, all] : corpus.by_count) {
    for (const Translation& translation : translations) {
      std::vector<std::string> references = translation.references;
      references.resize(std::min(references.size(), count));
      all.push_back(metric.of_document(translation.hypothesis, references));
    }
  }
  return corpus;
}

Aggregate prepare_corpus(const CorpusMetric& metric, const std::vector<Json>& values) {
  return [&metric, corpus = corpus_statistics(metric, values)](const Positions& positions) {
    size_t fewest = std::numeric_limits<size_t>::max();
    for (const int32_t at : positions) fewest = std::min(fewest, corpus.n_references[static_cast<size_t>(at)]);
    const std::vector<Statistics>& all = corpus.by_count.at(fewest);
    Statistics sum(metric.n_statistics);
    for (const int32_t at : positions) {
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += all[static_cast<size_t>(at)][i];
    }
    return metric.score(sum);
  };
}

Aggregate prepare_bleu(const std::vector<Json>& values) { return prepare_corpus(*find_corpus_metric("bleu"), values); }
Aggregate prepare_chrf(const std::vector<Json>& values) { return prepare_corpus(*find_corpus_metric("chrf"), values); }
Aggregate prepare_chrf_words(const std::vector<Json>& values) {
  return prepare_corpus(*find_corpus_metric("chrf++"), values);
}
Aggregate prepare_ter(const std::vector<Json>& values) { return prepare_corpus(*find_corpus_metric("ter"), values); }

using Error = Aggregation::Error;
constexpr Aggregation kAggregations[] = {
    {"mean", Error::kOfMean, prepare_mean},
    {"median", Error::kBootstrap, prepare_median},
    {"nanmean", Error::kBootstrap, prepare_nan_mean},
    {"perplexity", Error::kBootstrap, prepare_perplexity},
    {"weighted_perplexity", Error::kNone, prepare_weighted_perplexity},
    {"bits_per_byte", Error::kNone, prepare_bits_per_byte},
    {"f1", Error::kBootstrap, prepare_f1},
    {"matthews_corrcoef", Error::kBootstrap, prepare_matthews},
    {"brier_score", Error::kNone, prepare_brier_score},
    {"bleu", Error::kBootstrap, prepare_bleu},
    {"chrf", Error::kBootstrap, prepare_chrf},
    {"chrf++", Error::kBootstrap, prepare_chrf_words},
    {"ter", Error::kBootstrap, prepare_ter},
    {"bypass", Error::kNone, prepare_bypass},
};

constexpr size_t kPairwiseBlock = 128;
constexpr size_t kLanes = 8;

}  // namespace

const Aggregation* find_aggregation(std::string_view name) {
  for (const Aggregation& aggregation : kAggregations) {
    if (name == aggregation.name) return &aggregation;
  }
  return nullptr;
}

Positions all_positions(size_t count) {
  Positions positions(count);
  std::iota(positions.begin(), positions.end(), 0);
  return positions;
}

double pairwise_sum(const double* values, size_t count) {
  if (count < kLanes) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += values[i];
    return sum;
  }
  if (count <= kPairwiseBlock) {
    double lanes[kLanes];
    std::copy_n(values, kLanes, lanes);
    size_t i = kLanes;
    for (; i + kLanes <= count; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += values[i + lane];
    }
    double sum = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
    for (; i < count; ++i) sum += values[i];
    return sum;
  }
  size_t half = count / 2;
  half -= half % kLanes;
  return pairwise_sum(values, half) + pairwise_sum(values + half, count - half);
}

double number_of(std::string_view aggregation, const Json& value) {
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (!value.is_number()) misfit(aggregation, value);
  return value.get<double>();
}

}  // namespace evalmpi::task
