#pragma once

// What `evalmpi generate` and `evalmpi logprobs` can be told.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evalmpi/base/fields.h"
#include "evalmpi/eval/options.h"

namespace evalmpi::eval {

enum class FileJob { kGenerate, kLogprobs };
const char* name_of(FileJob job);  // the command's

// A line whose prompt does not fit the model.
enum class TooLong { kSkip, kTruncate, kError };

struct FileOptions {
  explicit FileOptions(FileJob what) : job(what) {}

  FileJob job;
  EvalOptions each;  // model, layout and output
  std::string input;
  std::string output_file;
  std::string too_long = "skip";
  bool tokens = false;
  bool dry_run = false;

  // Settings of lines that do not say otherwise.
  std::optional<int> max_tokens;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<int> top_k;
  std::vector<std::string> stop;
  std::optional<int> n;
  int seed = 0;
};

// The one list of the options: those of EvalOptions that a file has a use for, and the file's own.
std::vector<Field> fields(FileOptions& options);

// Checks what can be checked before any file is read. FAILS: kUsage.
TooLong resolve(const FileOptions& options);

}  // namespace evalmpi::eval
