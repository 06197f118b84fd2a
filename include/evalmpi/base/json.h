#pragma once

// JSON as evalmpi uses it: keys keep their order, because other tools hash and compare what we write.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace evalmpi {

using Json = nlohmann::ordered_json;

// Parses one JSON text. `where` names it in messages ("config.json", "rows.jsonl:17").
// FAILS: kBadInput on a syntax error (with line and column), on nesting deeper than 200, on trailing text.
Json parse_json(std::string_view text, std::string_view where);

// read_file + parse_json. FAILS: kMissingInput, kIo, kBadInput.
Json read_json_file(const std::filesystem::path& path);

}  // namespace evalmpi
