// ArabCulture, in English and without the place, which is what the harness asks unless environment variables say more.

#include <algorithm>
#include <cstdlib>

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

constexpr const char* kChoose =
    "\nYou are tasked with selecting the most culturally appropriate option based on the context provided below.\n\n"
    "Statement: {statement}\n\n"
    "Consider the cultural nuances and choose the most suitable response from the options provided.\n";

void check_environment() {
  for (const char* name : {"COUNTRY", "REGION", "ARABIC"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && std::string_view(value) == "True") {
      fail(
          ExitCode::kBadInput,
          "the environment has {}=True, with which lm-evaluation-harness asks ArabCulture in another form that evalmpi "
          "does not have; unset it",
          name);
    }
  }
  const char* model = std::getenv("MODEL_NAME");
  const std::string_view name = model == nullptr ? "" : model;
  if (name.find("jais") != name.npos && name.find("chat") != name.npos) {
    fail(ExitCode::kBadInput,
         "the environment has MODEL_NAME={}, for which lm-evaluation-harness has a chat template of its own; unset it "
         "and use --apply-chat-template",
         name);
  }
}

std::string question_of(const Json& document) {
  check_environment();
  return formatted(kChoose, {{"statement", py::strip(text_of(document, "first_statement"))}});
}

}  // namespace

Json arab_culture_doc_to_text(const Json& document) {
  const std::vector<std::string> keys = texts_of(document, "options", "english_keys");
  const std::vector<std::string> texts = texts_of(document, "options", "text");
  if (keys.size() < 3 || texts.size() < 3) fail(ExitCode::kBadInput, "the column options has fewer than 3 options");
  std::string choices;
  for (size_t i = 0; i < 3; ++i) choices += keys[i] + ". " + py::strip(texts[i]) + "\n";
  return question_of(document) + "\nOptions:\n" + choices + "\n";
}

Json arab_culture_doc_to_choice(const Json& document) { return texts_of(document, "options", "english_keys"); }

Json arab_culture_doc_to_target(const Json& document) {
  return py::strip(text_of(value_of(document, "answer_key"), "english_answer_key"));
}

Json arab_culture_completion_doc_to_text(const Json& document) { return question_of(document); }

Json arab_culture_completion_doc_to_choice(const Json& document) { return texts_of(document, "options", "text"); }

Json arab_culture_completion_doc_to_target(const Json& document) {
  const std::vector<std::string> keys = texts_of(document, "options", "english_keys");
  const std::vector<std::string> texts = texts_of(document, "options", "text");
  const std::string& key = text_of(value_of(document, "answer_key"), "english_answer_key");
  const auto place = static_cast<size_t>(std::find(keys.begin(), keys.end(), key) - keys.begin());
  if (place >= keys.size() || place >= texts.size()) fail(ExitCode::kBadInput, "no option has the key '{}'", key);
  return py::strip(texts[place]);
}

}  // namespace evalmpi::task::native
