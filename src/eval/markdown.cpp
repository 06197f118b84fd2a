#include "markdown.h"

#include <algorithm>

#include "evalmpi/text/python.h"

namespace evalmpi::eval {
namespace {

using Cells = std::vector<std::string>;

constexpr size_t kMinWidth = 3;
constexpr const char* kDigits = "0123456789";

bool is_blank(const std::string& cell) { return cell.find_first_not_of(' ') == std::string::npos; }
bool is_named_number(const std::string& cell) { return cell == "NaN" || cell == "Infinity" || cell == "-Infinity"; }

// Digits with at most one point between them, and a sign.
bool is_decimal(const std::string& cell) {
  const size_t first = cell.starts_with('-') || cell.starts_with('+') ? 1 : 0;
  const size_t point = cell.find('.');
  const std::string whole = cell.substr(first, point == std::string::npos ? point : point - first);
  const std::string part = point == std::string::npos ? "0" : cell.substr(point + 1);
  return !whole.empty() && !part.empty() && (whole + part).find_first_not_of(kDigits) == std::string::npos;
}

bool is_number(const std::string& cell) { return is_decimal(cell) || is_named_number(cell); }

size_t decimals_needed(const std::string& number) {
  const size_t point = number.find('.');
  const size_t last = number.find_last_not_of('0');
  return point == std::string::npos || last <= point ? 0 : last - point;
}

std::string with_decimals(std::string number, size_t decimals) {
  const size_t point = std::min(number.find('.'), number.size());
  number.resize(point + (decimals > 0 ? 1 + decimals : 0), '0');
  if (decimals > 0) number[point] = '.';
  const bool is_zero = number.find_first_of("123456789") == std::string::npos;
  return is_zero && number.starts_with('-') ? number.substr(1) : number;
}

std::string as_named_number(const std::string& cell) {
  if (cell == "nan" || cell == "-nan") return "NaN";
  if (cell == "inf") return "Infinity";
  return cell == "-inf" ? "-Infinity" : cell;
}

// Whether all cells of the column that hold something hold numbers.
bool format_column(std::vector<Cells>& rows, size_t column) {
  size_t decimals = 0;
  bool has_numbers = false, has_texts = false;
  for (Cells& row : rows) {
    std::string& cell = row[column] = as_named_number(row[column]);
    if (is_decimal(cell)) decimals = std::max(decimals, decimals_needed(cell));
    has_numbers = has_numbers || is_number(cell);
    has_texts = has_texts || !(is_blank(cell) || is_number(cell));
  }
  for (Cells& row : rows) {
    if (is_decimal(row[column])) row[column] = with_decimals(row[column], decimals);
  }
  return has_numbers && !has_texts;
}

}  // namespace

std::string markdown_table(const Cells& header, std::vector<Cells> rows) {
  std::vector<size_t> widths;
  std::string rule = "|";
  for (size_t column = 0; column < header.size(); ++column) {
    const bool is_numeric = format_column(rows, column);
    size_t width = std::max(kMinWidth, text::python::length(header[column]));
    for (const Cells& row : rows) width = std::max(width, text::python::length(row[column]));
    widths.push_back(width);
    rule += std::string(width - 1, '-') + (is_numeric ? ":|" : "-|");
  }
  std::string text = "|";
  for (size_t column = 0; column < header.size(); ++column) {
    const size_t padding = widths[column] - text::python::length(header[column]);
    text += std::string(padding / 2, ' ') + header[column] + std::string(padding - padding / 2, ' ') + "|";
  }
  text += "\n" + rule + "\n";
  for (const Cells& row : rows) {
    text += "|";
    for (size_t column = 0; column < row.size(); ++column) {
      const std::string padding(widths[column] - text::python::length(row[column]), ' ');
      text += (is_number(row[column]) ? padding + row[column] : row[column] + padding) + "|";
    }
    text += "\n";
  }
  return text;
}

}  // namespace evalmpi::eval
