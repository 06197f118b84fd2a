#include "native_functions.h"

#include <fnmatch.h>

#include <algorithm>

#include "evalmpi/base/error.h"
#include "evalmpi/task/task_index.h"
#include "native/columns.h"
#include "native/filter_classes.h"

namespace evalmpi::task {
namespace {

struct KeyRole {
  std::string_view key;
  FunctionRole role;
};

constexpr KeyRole kRoles[] = {
    {"process_docs", FunctionRole::kProcessDocs},
    {"doc_to_text", FunctionRole::kDocumentField},
    {"doc_to_target", FunctionRole::kDocumentField},
    {"doc_to_choice", FunctionRole::kDocumentField},
    {"gen_prefix", FunctionRole::kDocumentField},
    {"samples", FunctionRole::kSamples},
    {"process_results", FunctionRole::kProcessResults},
    {"aggregation", FunctionRole::kAggregation},
    {"construct_requests", FunctionRole::kDocumentRequests},
};

// Keys whose value no score depends on.
bool is_ignored(std::string_view key) { return key == "doc_to_decontamination_query" || key == "metadata"; }

// `key` outlives the result: it is a key of the mapping.
void collect(const Json& value, std::string_view key, std::vector<NamedFunction>& functions, int depth) {
  if (is_function(value)) {
    functions.push_back({key, &value});
  } else if (value.is_object() && depth <= 8) {
    for (auto item = value.begin(); item != value.end(); ++item) {
      if (depth > 0 || !is_ignored(item.key())) collect(*item, item.key(), functions, depth + 1);
    }
  } else if (value.is_array() && depth <= 8) {
    for (const Json& item : value) collect(item, key, functions, depth + 1);
  }
}

const PythonClass* find_class(const Json& function) {
  const std::string path = function_path(function);
  for (const PythonClass& row : python_classes()) {
    if (names_function(row.name, path)) return &row;
  }
  return nullptr;
}

}  // namespace

bool is_function(const Json& value) { return value.is_object() && value.contains("!function"); }

std::string function_path(const Json& function) {
  const std::filesystem::path file = function.at("!file").get<std::string>();
  return (file.parent_path() / function.at("!function").get<std::string>()).lexically_normal().string();
}

std::string function_identity(const Json& function) {
  const std::filesystem::path path = function_path(function);
  return (path.parent_path().filename() / path.filename()).string();
}

bool names_function(std::string_view name, std::string_view path) {
  size_t begin = path.size() + 1;
  for (ptrdiff_t part = std::count(name.begin(), name.end(), '/'); part >= 0 && begin > 0; --part) {
    const size_t slash = begin < 2 ? path.npos : path.rfind('/', begin - 2);
    begin = slash == path.npos ? 0 : slash + 1;
  }
  return fnmatch(std::string(name).c_str(), std::string(path.substr(begin)).c_str(), FNM_PATHNAME | FNM_NOESCAPE) == 0;
}

FunctionRole NativeFunction::role() const {
  constexpr FunctionRole kOfAlternative[] = {
      FunctionRole::kProcessDocs,    FunctionRole::kProcessDocs,   FunctionRole::kDocumentField,
      FunctionRole::kDocumentField,  FunctionRole::kDocumentField, FunctionRole::kSamples,
      FunctionRole::kProcessResults, FunctionRole::kAggregation,   FunctionRole::kDocumentRequests};
  static_assert(std::size(kOfAlternative) == std::variant_size_v<decltype(call)>);
  return kOfAlternative[call.index()];
}

void BoundFunction::process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) const {
  if (const auto* named = std::get_if<NamedProcessDocs>(&twin->call)) return (*named)(columns, rows, path);
  std::get<ProcessDocs>(twin->call)(columns, rows);
}

Json BoundFunction::field(const Json& document) const {
  if (const auto* named = std::get_if<NamedDocumentField>(&twin->call)) return (*named)(document, path);
  if (const auto* prompt = std::get_if<PromptText>(&twin->call)) return native::formatted(prompt->text, document);
  return std::get<DocumentField>(twin->call)(document);
}

std::vector<Json> BoundFunction::samples() const { return std::get<Samples>(twin->call)(); }

ProcessResults BoundFunction::process_results() const { return std::get<ProcessResults>(twin->call); }

AggregationFunction BoundFunction::aggregation() const { return std::get<AggregationFunction>(twin->call); }

DocumentRequests BoundFunction::document_requests() const { return std::get<DocumentRequests>(twin->call); }

std::optional<BoundFunction> find_native(const Json& function, FunctionRole role) {
  std::string path = function_path(function);
  const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
  for (const NativeFunction& row : native_functions()) {
    // The cheap look at the last part first: a folder of tasks asks for 50,000 functions.
    std::string_view pattern = row.name;
    pattern.remove_prefix(pattern.rfind('/') + 1);
    if (!name.starts_with(pattern.substr(0, pattern.find('*')))) continue;
    if (row.role() == role && names_function(row.name, path)) return BoundFunction{&row, std::move(path)};
  }
  return {};
}

Json with_class_written_out(Json mapping) {
  const auto found = mapping.find("class");
  if (found == mapping.end() || !is_function(*found)) return mapping;
  const PythonClass* row = find_class(*found);
  if (row == nullptr) return mapping;
  Json written = read_yaml_text(row->yaml, found->at("!file").get<std::string>());
  mapping.erase("class");
  written.update(mapping);
  return written;
}

FunctionRole role_of_key(std::string_view key) {
  for (const KeyRole& row : kRoles) {
    if (row.key == key) return row.role;
  }
  return FunctionRole::kNone;
}

std::vector<NamedFunction> functions_of(const Json& mapping) {
  std::vector<NamedFunction> functions;
  collect(mapping, "", functions, 0);
  return functions;
}

std::optional<std::string> row_for(const NamedFunction& function) {
  if (function.key == "class") {
    const PythonClass* row = find_class(*function.function);
    return row == nullptr ? std::nullopt : std::optional<std::string>(row->name);
  }
  if (function.key == "function") {
    const native::FilterClass* row = native::find_filter_class(function_path(*function.function));
    return row == nullptr ? std::nullopt : std::optional<std::string>(row->name);
  }
  const std::optional<BoundFunction> bound = find_native(*function.function, role_of_key(function.key));
  return bound ? std::optional<std::string>(bound->twin->name) : std::nullopt;
}

const char* note_on(const NamedFunction& function) {
  const std::optional<BoundFunction> bound = find_native(*function.function, role_of_key(function.key));
  return bound ? bound->twin->note : nullptr;
}

std::vector<MissingFunction> missing_functions(const Json& mapping) {
  std::vector<MissingFunction> missing;
  for (const NamedFunction& function : functions_of(mapping)) {
    if (row_for(function)) continue;
    std::string identity = function_identity(*function.function);
    const bool is_new = std::none_of(missing.begin(), missing.end(),
                                     [&](const MissingFunction& other) { return other.identity == identity; });
    if (is_new) missing.push_back({std::string(function.key), std::move(identity)});
  }
  return missing;
}

}  // namespace evalmpi::task
