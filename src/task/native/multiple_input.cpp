// Tasks whose choices are put into the question, so that what follows the gap is scored: WinoGrande and its kin.

#include "columns.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "twins.h"

namespace evalmpi::task::native {
namespace {

namespace py = text::python;

size_t gap_in(const std::string& sentence) {
  const size_t gap = sentence.find('_');
  if (gap == sentence.npos) fail(ExitCode::kBadInput, "the column sentence has no gap '_'");
  return gap;
}

}  // namespace

Json winogrande_doc_to_text(const Json& document) {
  const std::string& answer = text_of(document, "answer");
  if (answer != "1" && answer != "2") fail(ExitCode::kBadInput, "the column answer must be 1 or 2, not '{}'", answer);
  return answer == "1" ? 0 : 1;
}

Json winogrande_doc_to_target(const Json& document) {
  const std::string& sentence = text_of(document, "sentence");
  return py::strip(std::string_view(sentence).substr(gap_in(sentence) + 1));
}

Json winogrande_doc_to_choice(const Json& document) {
  const std::string& sentence = text_of(document, "sentence");
  const std::string before = sentence.substr(0, gap_in(sentence));
  return Json::array({before + text_of(document, "option1"), before + text_of(document, "option2")});
}

}  // namespace evalmpi::task::native
