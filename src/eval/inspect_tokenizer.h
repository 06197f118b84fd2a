#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"

namespace evalmpi::eval {

// Facts of the tokenizer in `folder` for `evalmpi inspect`, null when it cannot be read; vocab: the model's rows.
// problem is set then.
Json tokenizer_facts(const std::filesystem::path& folder, int64_t vocab, std::optional<Error>& problem);

}  // namespace evalmpi::eval
