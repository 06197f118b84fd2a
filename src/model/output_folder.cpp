#include "output_folder.h"

#include "evalmpi/base/error.h"

namespace evalmpi::model {
namespace fs = std::filesystem;

OutputFolder::OutputFolder(fs::path path) : path_(std::move(path)) {
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  if (fs::exists(status)) {
    const bool is_empty = fs::is_directory(status) && fs::is_empty(path_, error);
    if (!is_empty) {
      fail(ExitCode::kCannotWrite, "{}: exists and is not an empty folder; remove it or name another", path_.string());
    }
    return;
  }
  fs::create_directories(path_, error);
  is_new_ = fs::is_directory(path_);
  if (!is_new_) fail(ExitCode::kCannotWrite, "{}: cannot create the folder: {}", path_.string(), error.message());
}

OutputFolder::~OutputFolder() {
  if (is_kept_) return;
  std::error_code ignored;
  for (const std::string& name : files_) fs::remove(path_ / name, ignored);
  if (is_new_) fs::remove(path_, ignored);
}

}  // namespace evalmpi::model
