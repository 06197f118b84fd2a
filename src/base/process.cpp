#include "evalmpi/base/process.h"

#include <filesystem>
#include <fstream>
#include <sstream>

namespace evalmpi {

// In the line of proc(5) the name in brackets may hold spaces, so fields are counted from its end: the state is field
// 3, the start field 22.
std::string process_start(int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return "";
  std::istringstream fields(line.substr(name_end + 1));
  std::string state;
  std::string start;
  fields >> state;
  for (int field = 4; field <= 22; ++field) fields >> start;
  return fields && state != "Z" && state != "X" ? start : "";
}

std::string pid_namespace() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/ns/pid", error).string();
}

}  // namespace evalmpi
