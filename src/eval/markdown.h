#pragma once

#include <span>
#include <string>
#include <vector>

namespace evalmpi::eval {

// A Markdown table in the harness's look. right_aligned: by column.
std::string markdown_table(const std::vector<std::string>& header, std::span<const bool> right_aligned,
                           const std::vector<std::vector<std::string>>& rows);

}  // namespace evalmpi::eval
