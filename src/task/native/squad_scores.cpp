#include "squad_scores.h"

#include <map>

#include "evalmpi/text/python.h"
#include "text_cleaning.h"

namespace evalmpi::task::native {

namespace py = text::python;

double squad_exact(std::string_view gold, std::string_view prediction) {
  return normalise_answer(gold) == normalise_answer(prediction) ? 1 : 0;
}

double squad_f1(std::string_view gold, std::string_view prediction) {
  const std::vector<std::string> gold_words = py::split(normalise_answer(gold));
  const std::vector<std::string> words = py::split(normalise_answer(prediction));
  if (gold_words.empty() || words.empty()) return gold_words == words ? 1 : 0;
  return word_f1(gold_words, words);
}

double word_f1(const std::vector<std::string>& gold, const std::vector<std::string>& prediction) {
  std::map<std::string, int64_t> counts;
  for (const std::string& word : gold) ++counts[word];
  int64_t common = 0;
  for (const std::string& word : prediction) common += counts[word]-- > 0 ? 1 : 0;
  if (common == 0) return 0;
  const double precision = static_cast<double>(common) / static_cast<double>(prediction.size());
  const double recall = static_cast<double>(common) / static_cast<double>(gold.size());
  return (2 * precision * recall) / (precision + recall);
}

}  // namespace evalmpi::task::native
