// MMLU-ProX: MMLU-Pro in many languages. The words of each language stand in the harness's lang_libs.py, beside the
// folders of the languages, from which they are read.

#include <filesystem>
#include <map>
#include <mutex>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/text/python.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace fs = std::filesystem;
namespace py = text::python;

constexpr int kMaxOptions = 10;

struct Words {
  std::string question;
  std::string options;
  std::string answer;
  std::string answer_in_examples;
};

// The dictionary of lists after "LANG_LIBS = ", up to a closing brace at the start of a line.
std::map<std::string, Words> read_languages(const fs::path& file) {
  const std::string text = read_file(file);
  const std::string_view kName = "LANG_LIBS = ";
  const size_t begin = text.find(kName);
  const size_t end = begin == text.npos ? text.npos : text.find("\n}", begin);
  const size_t first = begin + kName.size();
  const std::optional<Json> languages =
      end == text.npos ? std::nullopt : py::parse_literal(text.substr(first, end + 2 - first));
  if (!languages || !languages->is_object()) {
    fail(ExitCode::kBadInput, "{}: LANG_LIBS is not a Python dictionary of texts", file.string());
  }
  std::map<std::string, Words> words;
  for (const auto& [language, list] : languages->items()) {
    const std::vector<std::string> texts = texts_of(*languages, language);
    if (texts.size() < 5) fail(ExitCode::kBadInput, "{}: {} has too few texts", file.string(), language);
    words[language] = {texts[0], texts[1], texts[2], texts[4]};
  }
  return words;
}

// The words for the function at `path`, ".../mmlu_prox/af/utils.doc_to_text".
const Words& words_for(std::string_view path) {
  static std::mutex mutex;
  static std::map<fs::path, std::map<std::string, Words>> known;
  const fs::path folder = fs::path(path).parent_path();
  const fs::path file = folder.parent_path() / "lang_libs.py";
  const std::lock_guard lock(mutex);
  if (!known.contains(file)) known[file] = read_languages(file);
  const auto found = known[file].find(folder.filename().string());
  if (found == known[file].end()) {
    fail(ExitCode::kBadInput, "{}: there is no language {}", file.string(), folder.filename().string());
  }
  return found->second;
}

std::string question_of(const Json& document, const Words& words) {
  std::string prompt = words.question + "\n" + text_of(document, "question") + "\n" + words.options + "\n";
  for (int i = 0; i < kMaxOptions; ++i) {
    const Json& option = value_of(document, "option_" + std::to_string(i));
    if (!option.is_null()) prompt += std::string(1, static_cast<char>('A' + i)) + ". " + py::str(option) + "\n";
  }
  return prompt;
}

}  // namespace

Json mmlu_prox_doc_to_text(const Json& document, std::string_view path) {
  const Words& words = words_for(path);
  return question_of(document, words) + words.answer;
}

Json mmlu_prox_fewshot_to_text(const Json& document, std::string_view path) {
  const Words& words = words_for(path);
  const std::string& content = text_of(document, "cot_content");
  return question_of(document, words) + py::replace(content, words.answer_in_examples, words.answer) + "\n\n";
}

}  // namespace evalmpi::task::native
