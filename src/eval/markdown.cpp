#include "markdown.h"

#include <algorithm>

#include "evalmpi/text/python.h"

namespace evalmpi::eval {

using Cells = std::vector<std::string>;

std::string markdown_table(const Cells& header, std::span<const bool> right_aligned, const std::vector<Cells>& rows) {
  std::vector<size_t> widths;
  for (size_t column = 0; column < header.size(); ++column) {
    size_t width = std::max<size_t>(3, text::python::length(header[column]));
    for (const Cells& row : rows) width = std::max(width, text::python::length(row[column]));
    widths.push_back(width);
  }
  const auto line = [&](const Cells& cells) {
    std::string text = "|";
    for (size_t column = 0; column < cells.size(); ++column) {
      const std::string padding(widths[column] - text::python::length(cells[column]), ' ');
      text += right_aligned[column] ? padding + cells[column] : cells[column] + padding;
      text += "|";
    }
    return text + "\n";
  };
  std::string text = line(header) + "|";
  for (size_t column = 0; column < header.size(); ++column) {
    text += std::string(widths[column] - 1, '-') + (right_aligned[column] ? ":|" : "-|");
  }
  text += "\n";
  for (const Cells& row : rows) text += line(row);
  return text;
}

}  // namespace evalmpi::eval
