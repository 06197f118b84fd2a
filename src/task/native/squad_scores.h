#pragma once

// The overlap of an answer with the accepted one by SQuAD's rules (transformers' squad_metrics).

#include <string_view>

namespace evalmpi::task::native {

double squad_exact(std::string_view gold, std::string_view prediction);  // 1 for equal normal forms, else 0
double squad_f1(std::string_view gold, std::string_view prediction);     // of the bags of words, from 0 to 1

}  // namespace evalmpi::task::native
