#include "evalmpi/base/json.h"

#include <algorithm>
#include <string>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"

namespace evalmpi {
namespace {

constexpr int kMaxDepth = 200;

std::string line_and_column(std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte, text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0: the first line
  return fmt::format("line {}, column {}", line, before.size() - line_start + 1);
}

}  // namespace

Json parse_json(std::string_view text, std::string_view where) {
  const auto limit_depth = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) fail(ExitCode::kBadInput, "{}: JSON nested deeper than {}", where, kMaxDepth);
    return true;
  };
  try {
    return Json::parse(text, limit_depth);
  } catch (const Json::parse_error& error) {
    fail(ExitCode::kBadInput, "{}: not valid JSON at {}", where,
         line_and_column(text, error.byte > 0 ? error.byte - 1 : 0));
  } catch (const Json::exception& error) {
    fail(ExitCode::kBadInput, "{}: not valid JSON: {}", where, error.what());
  }
}

Json read_json_file(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

}  // namespace evalmpi
