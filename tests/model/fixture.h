#pragma once

// Where the small models of tests/fixtures/model lie, copies of them to damage, and errors to expect.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"

namespace evalmpi::model {

inline const char* const kFixtures[] = {"llama", "llama_odd", "llama_bf16", "neox", "neox_serial"};

inline std::filesystem::path fixture(std::string_view name) {
  return std::filesystem::path(EVALMPI_SOURCE_DIR) / "tests/fixtures/model" / name;
}

// An empty folder, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "evalmpi-model-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }

  const std::filesystem::path& path() const { return path_; }
  void write(std::string_view name, std::string_view bytes) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }
  void copy_fixture(std::string_view name) const {
    std::filesystem::copy(fixture(name), path_, std::filesystem::copy_options::recursive);
  }

 private:
  std::filesystem::path path_;
};

// `action` throws an Error with `code` whose message holds all of `words`.
inline void expect_error(ExitCode code, const std::function<void()>& action, std::initializer_list<const char*> words) {
  try {
    action();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    for (const char* word : words) EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

// A safetensors file of this header text and these data bytes.
inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(header.size() >> shift & 0xff);
  return bytes.append(header).append(data);
}

}  // namespace evalmpi::model
