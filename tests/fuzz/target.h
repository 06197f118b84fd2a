#pragma once

// What a fuzz target is made of. A target is one file with LLVMFuzzerTestOneInput: it reads the input as a parser would
// and lets nothing out but an Error that blames the input; all else ends the process, and driver.cpp keeps the input.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace evalmpi::fuzz {

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Runs `read`. Aborts with the reason when anything but an Error leaves it, or one of kInternal.
void feed(const std::function<void()>& read);

// Aborts naming `promise` if it was broken.
void require(bool holds, const char* promise);

// The input's parts between lines of "====", at least `count` of them (empty ones at the end).
std::vector<std::string> parts(std::string_view input, size_t count);

// `bytes` with every three bytes of `patches` (a place of 16 bits, a value) written into them.
std::string patched(std::string bytes, std::string_view patches);

// A file in memory that has a path: what parsers of files read. One per process, rewritten for each input.
const std::filesystem::path& as_file(std::string_view bytes);

// An empty folder in memory, the same for each input and removed at the end; `name` in it is rewritten.
const std::filesystem::path& folder();
void put_file(const std::string& name, std::string_view bytes);

}  // namespace evalmpi::fuzz
