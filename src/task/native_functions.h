#pragma once

// Functions of Python modules beside task files (`!function utils.process_docs`) that evalmpi has itself, as a table of
// rows. A twin gives what the Python function gives; tests compare both on the same rows. A new twin is a function in
// native/<task>.cpp, a line in native/twins.h, and a row in native/table.cpp.

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "evalmpi/base/json.h"
#include "evalmpi/task/metric.h"
#include "evalmpi/task/task.h"

namespace evalmpi::task {

// process_docs: changes the rows of a split in place, and adds the names of columns that it makes.
// FAILS: kBadInput naming row and column when a row does not have what the function reads.
using ProcessDocs = void (*)(std::vector<std::string>& columns, std::vector<Json>& rows);

// The same where the function's name, or that of its folder, says what it does:
// "global_mmlu/en/utils.process_virology".
using NamedProcessDocs = void (*)(std::vector<std::string>& columns, std::vector<Json>& rows, std::string_view path);

// doc_to_text, doc_to_target, doc_to_choice, gen_prefix: the field of one document. FAILS: kBadInput.
using DocumentField = Json (*)(const Json& document);
using NamedDocumentField = Json (*)(const Json& document, std::string_view path);

// The same as a text for str.format with the document's columns (native/columns.h).
struct PromptText {
  const char* text;
  bool operator==(const PromptText&) const = default;
};

// fewshot_config: samples.
using Samples = std::vector<Json> (*)();

// process_results: the metrics of one document from its filtered responses, one for each request (task.h says what a
// response is). FAILS: kBadInput.
using ProcessResults = MetricValues (*)(const Json& document, const std::vector<Json>& responses);

// The aggregation of a metric: the values of all documents, in order. It has no standard error. FAILS: kBadInput.
using AggregationFunction = double (*)(const std::vector<Json>& values);

// construct_requests: all that is asked about one document, after its prompt. FAILS: kBadInput.
struct Asked {
  RequestKind kind = RequestKind::kGenerateUntil;  // never kLoglikelihoodRolling
  std::string continuation;                        // kLoglikelihood: the text to score, with its delimiter
};
using DocumentRequests = std::vector<Asked> (*)(const Json& document);

// What a key of a task file may hold.
enum class FunctionRole {
  kProcessDocs,
  kDocumentField,
  kSamples,
  kProcessResults,
  kAggregation,
  kDocumentRequests,
  kNone
};

struct NativeFunction {
  // Trailing folders of the Python file, the file's stem and the function: "hellaswag/utils.process_docs". A * stands
  // for any run of characters but '/', so that one row serves a family: "mmlu_prox/*/utils.fewshot_to_text".
  const char* name;
  std::variant<ProcessDocs, NamedProcessDocs, DocumentField, NamedDocumentField, PromptText, Samples, ProcessResults,
               AggregationFunction, DocumentRequests>
      call;
  // Of process_results that cannot score every document, so that a run says so before it asks the model.
  // FAILS: kBadInput for a document without a score.
  void (*check_document)(const Json& document) = nullptr;
  // What the harness itself leaves open in its results, and what evalmpi does: for people.
  const char* note = nullptr;

  FunctionRole role() const;
};

// All rows. Of two that fit a function the first holds.
std::span<const NativeFunction> native_functions();

// A twin and the function that it stands for. Each verb asks for a twin of its role.
struct BoundFunction {
  const NativeFunction* twin = nullptr;
  std::string path;  // function_path

  void process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) const;
  Json field(const Json& document) const;
  std::vector<Json> samples() const;
  ProcessResults process_results() const;
  AggregationFunction aggregation() const;
  DocumentRequests document_requests() const;
};

bool is_function(const Json& value);

// "/tasks/hellaswag/utils.process_docs" of a function value: the folder of the file that writes it, module and name.
std::string function_path(const Json& function);

// Its last folder and what follows, for messages: "hellaswag/utils.process_docs".
std::string function_identity(const Json& function);

// Whether the row named `name` is meant by `path`.
bool names_function(std::string_view name, std::string_view path);

// The twin of a function value with that role; nothing when there is none.
std::optional<BoundFunction> find_native(const Json& function, FunctionRole role);

// A Python class that is a task (`class: !function task.SQuAD2`), as the task file that says the same. Functions that
// it names are rows of the table.
struct PythonClass {
  const char* name;  // as NativeFunction::name
  const char* yaml;
};
std::span<const PythonClass> python_classes();

// A task's mapping with its Python class, where that is built in, as the keys of a task file, over which the mapping's
// own keys hold; any other mapping as it is.
Json with_class_written_out(Json mapping);

// The role of a function under this key of a task file; kNone where no twin can stand.
FunctionRole role_of_key(std::string_view key);

// A function of a task's mapping, and the key that names it.
struct NamedFunction {
  std::string_view key;
  const Json* function;  // in the mapping
};

// Those on which scores depend, in the order of the file.
std::vector<NamedFunction> functions_of(const Json& mapping);

// The name of the row that stands for a function under this key of a task file: of a twin, a filter class or a task's
// class. Nothing where there is none.
std::optional<std::string> row_for(const NamedFunction& function);

// The note of that row; null where there is none.
const char* note_on(const NamedFunction& function);

// A function without a twin, and the key that names it.
struct MissingFunction {
  std::string key;
  std::string identity;
};

// Those in a task's mapping, each once, in the order of the file.
std::vector<MissingFunction> missing_functions(const Json& mapping);

}  // namespace evalmpi::task
