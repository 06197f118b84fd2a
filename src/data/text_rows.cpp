#include <algorithm>

#include "evalmpi/base/error.h"
#include "evalmpi/data/file_text.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {
namespace {

// Appends the next line, which is removed from `text`; every kind of line end becomes "\n". Of a line above the limit
// only so much that the caller sees it.
void take_line(std::string_view& text, std::string& out) {
  const std::string_view longest = text.substr(0, kMaxLineBytes + 1);
  const size_t end = std::min(longest.find_first_of("\r\n"), longest.size());
  out += text.substr(0, end);
  if (end < text.size()) out += '\n';
  const size_t end_bytes = text.substr(end).starts_with("\r\n") ? 2 : 1;
  text.remove_prefix(std::min(end + end_bytes, text.size()));
}

Json row_of(std::string text) { return {{"text", std::move(text)}}; }

}  // namespace

Table read_text(const std::filesystem::path& file, const TextOptions& options) {
  const FileText whole(file);
  std::string_view text = whole.bytes();
  Table table{{"text"}, {}};
  std::string pending;
  for (size_t line = 1; !text.empty(); ++line) {
    const size_t start = pending.size();
    take_line(text, pending);
    if (pending.size() > kMaxLineBytes) {
      fail(ExitCode::kBadInput, "{}:{}: a sample above {} MiB", file.string(), line, kMaxLineBytes >> 20);
    }
    if (!is_utf8(std::string_view(pending).substr(start))) {
      fail(ExitCode::kBadInput, "{}:{}: not valid UTF-8; convert the file", file.string(), line);
    }
    if (options.sample_by == TextSample::kLine) {
      if (!options.keep_linebreaks && pending.ends_with('\n')) pending.pop_back();
      table.rows.push_back(row_of(std::move(pending)));
      pending.clear();
    } else if (options.sample_by == TextSample::kParagraph && pending.ends_with("\n\n")) {
      pending.resize(pending.size() - 2);
      if (!pending.empty()) table.rows.push_back(row_of(std::move(pending)));
      pending.clear();
    }
  }
  if (!pending.empty()) table.rows.push_back(row_of(std::move(pending)));
  return table;
}

}  // namespace evalmpi::data
