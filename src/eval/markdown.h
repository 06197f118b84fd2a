#pragma once

#include <string>
#include <vector>

namespace evalmpi::eval {

// A Markdown table in the harness's look (pytablewriter's): headers centred; numbers to the right, with as many
// decimals in a column as its most exact number needs; a column whose cells are all numbers or blank is marked as
// right-aligned.
std::string markdown_table(const std::vector<std::string>& header, std::vector<std::vector<std::string>> rows);

}  // namespace evalmpi::eval
