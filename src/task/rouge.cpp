#include "rouge.h"

#include <algorithm>
#include <map>
#include <set>

#include "evalmpi/text/python.h"

namespace evalmpi::task {
namespace {

namespace py = text::python;

using Words = std::vector<std::string>;

double f_measure(double precision, double recall) {
  return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
}

std::map<Words, int64_t> ngrams(const Words& words, size_t order) {
  std::map<Words, int64_t> counts;
  for (size_t i = 0; i + order <= words.size(); ++i) {
    ++counts[Words(words.begin() + static_cast<ptrdiff_t>(i), words.begin() + static_cast<ptrdiff_t>(i + order))];
  }
  return counts;
}

// Lengths of the longest common subsequences of all beginnings.
std::vector<std::vector<int32_t>> common_lengths(const Words& target, const Words& prediction) {
  std::vector<std::vector<int32_t>> table(target.size() + 1, std::vector<int32_t>(prediction.size() + 1));
  for (size_t i = 1; i <= target.size(); ++i) {
    for (size_t j = 1; j <= prediction.size(); ++j) {
      table[i][j] =
          target[i - 1] == prediction[j - 1] ? table[i - 1][j - 1] + 1 : std::max(table[i - 1][j], table[i][j - 1]);
    }
  }
  return table;
}

// Adds the positions in the target of one of the longest common subsequences: of equal ones that which goes up first.
void add_common_positions(const Words& target, const Words& prediction, std::set<size_t>& positions) {
  const auto table = common_lengths(target, prediction);
  size_t i = target.size();
  size_t j = prediction.size();
  while (i > 0 && j > 0) {
    if (target[i - 1] == prediction[j - 1]) {
      positions.insert(i - 1);
      --i;
      --j;
    } else if (table[i][j - 1] > table[i - 1][j]) {
      --j;
    } else {
      --i;
    }
  }
}

std::vector<Words> lines_of(std::string_view text) {
  std::vector<Words> lines;
  for (const std::string& line : py::split(text, "\n")) {
    if (!line.empty()) lines.push_back(rouge_words(line));
  }
  return lines;
}

std::map<std::string, int64_t> count_words(const std::vector<Words>& lines) {
  std::map<std::string, int64_t> counts;
  for (const Words& line : lines) {
    for (const std::string& word : line) ++counts[word];
  }
  return counts;
}

size_t total_words(const std::vector<Words>& lines) {
  size_t total = 0;
  for (const Words& line : lines) total += line.size();
  return total;
}

}  // namespace

std::vector<std::string> rouge_words(std::string_view text) {
  Words words;
  std::string word;
  for (const char c : py::lower(text)) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

double rouge_n(std::string_view target, std::string_view prediction, size_t order) {
  const std::map<Words, int64_t> wanted = ngrams(rouge_words(target), order);
  const std::map<Words, int64_t> given = ngrams(rouge_words(prediction), order);
  int64_t common = 0;
  int64_t n_wanted = 0;
  int64_t n_given = 0;
  for (const auto& [ngram, count] : wanted) {
    n_wanted += count;
    if (const auto found = given.find(ngram); found != given.end()) common += std::min(count, found->second);
  }
  for (const auto& [ngram, count] : given) n_given += count;
  const auto share = [&](int64_t total) {
    return static_cast<double>(common) / static_cast<double>(std::max<int64_t>(total, 1));
  };
  return f_measure(share(n_given), share(n_wanted));
}

double rouge_l(std::string_view target, std::string_view prediction) {
  const Words wanted = rouge_words(target);
  const Words given = rouge_words(prediction);
  if (wanted.empty() || given.empty()) return 0;
  const double common = common_lengths(wanted, given).back().back();
  return f_measure(common / static_cast<double>(given.size()), common / static_cast<double>(wanted.size()));
}

double rouge_l_sum(std::string_view target, std::string_view prediction) {
  const std::vector<Words> wanted = lines_of(target);
  const std::vector<Words> given = lines_of(prediction);
  const size_t n_wanted = total_words(wanted);
  const size_t n_given = total_words(given);
  if (n_wanted == 0 || n_given == 0) return 0;
  // Each word counts as often as both texts have it.
  std::map<std::string, int64_t> left_wanted = count_words(wanted);
  std::map<std::string, int64_t> left_given = count_words(given);
  int64_t hits = 0;
  for (const Words& line : wanted) {
    std::set<size_t> positions;
    for (const Words& other : given) add_common_positions(line, other, positions);
    for (const size_t position : positions) {
      int64_t& in_given = left_given[line[position]];
      int64_t& in_wanted = left_wanted[line[position]];
      if (in_given <= 0 || in_wanted <= 0) continue;
      ++hits;
      --in_given;
      --in_wanted;
    }
  }
  const auto common = static_cast<double>(hits);
  return f_measure(common / static_cast<double>(n_given), common / static_cast<double>(n_wanted));
}

}  // namespace evalmpi::task
