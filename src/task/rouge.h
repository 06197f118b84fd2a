#pragma once

// ROUGE as the Python package rouge_score 0.1.2 computes it without stemming.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace evalmpi::task {

// Runs of a to z and 0 to 9 in lower case.
std::vector<std::string> rouge_words(std::string_view text);

// F-measures from 0 to 1 of a prediction against one target.
double rouge_n(std::string_view target, std::string_view prediction, size_t order);  // n-grams of `order` words
double rouge_l(std::string_view target, std::string_view prediction);                // longest common subsequence
double rouge_l_sum(std::string_view target, std::string_view prediction);            // the same, line by line, united

}  // namespace evalmpi::task
