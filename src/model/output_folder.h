#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace evalmpi::model {

// A folder that did not hold anything, and holds nothing again unless keep() is called.
class OutputFolder {
 public:
  // FAILS: kCannotWrite for what is not an empty folder or cannot be made one.
  explicit OutputFolder(std::filesystem::path path);
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder();
  const std::filesystem::path& path() const { return path_; }
  void wrote(const std::string& name) { files_.push_back(name); }
  const std::vector<std::string>& files() const { return files_; }
  void keep() { is_kept_ = true; }

 private:
  std::filesystem::path path_;
  std::vector<std::string> files_;
  bool is_new_ = false;
  bool is_kept_ = false;
};

}  // namespace evalmpi::model
