#pragma once

// The overlap of an answer with the accepted one by SQuAD's rules (transformers' squad_metrics).

#include <string>
#include <string_view>
#include <vector>

namespace evalmpi::task::native {

double squad_exact(std::string_view gold, std::string_view prediction);  // 1 for equal normal forms, else 0
double squad_f1(std::string_view gold, std::string_view prediction);     // of the bags of words, from 0 to 1

// The F1 of two bags of words; 0 where they share none.
double word_f1(const std::vector<std::string>& gold, const std::vector<std::string>& prediction);

}  // namespace evalmpi::task::native
