#include "native_functions.h"

#include <fnmatch.h>

#include <algorithm>

#include "evalmpi/base/error.h"
#include "native/filter_classes.h"

namespace evalmpi::task {
namespace {

struct KeyRole {
  std::string_view key;
  FunctionRole role;
};

constexpr KeyRole kRoles[] = {
    {"process_docs", FunctionRole::kProcessDocs},       {"doc_to_text", FunctionRole::kDocumentField},
    {"doc_to_target", FunctionRole::kDocumentField},    {"doc_to_choice", FunctionRole::kDocumentField},
    {"gen_prefix", FunctionRole::kDocumentField},       {"samples", FunctionRole::kSamples},
    {"process_results", FunctionRole::kProcessResults}, {"aggregation", FunctionRole::kAggregation},
};

// Keys whose value no score depends on.
bool is_ignored(std::string_view key) { return key == "doc_to_decontamination_query" || key == "metadata"; }

void collect_missing(const Json& value, std::string_view key, std::vector<MissingFunction>& missing, int depth) {
  if (is_function(value)) {
    if (key == "function" ? native::find_filter_class(function_path(value)) != nullptr
                          : find_native(value, role_of_key(key)).has_value()) {
      return;
    }
    std::string identity = function_identity(value);
    const bool is_new = std::none_of(missing.begin(), missing.end(),
                                     [&](const MissingFunction& other) { return other.identity == identity; });
    if (is_new) missing.push_back({std::string(key), std::move(identity)});
    return;
  }
  if (depth > 8 || !value.is_structured()) return;
  for (const auto& [inner, item] : value.items()) {
    if (value.is_object() && depth == 0 && is_ignored(inner)) continue;
    collect_missing(item, value.is_object() ? std::string_view(inner) : key, missing, depth + 1);
  }
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
  constexpr FunctionRole kOfAlternative[] = {FunctionRole::kProcessDocs,   FunctionRole::kProcessDocs,
                                             FunctionRole::kDocumentField, FunctionRole::kDocumentField,
                                             FunctionRole::kSamples,       FunctionRole::kProcessResults,
                                             FunctionRole::kAggregation};
  static_assert(std::size(kOfAlternative) == std::variant_size_v<decltype(call)>);
  return kOfAlternative[call.index()];
}

void BoundFunction::process_docs(std::vector<std::string>& columns, std::vector<Json>& rows) const {
  if (const auto* named = std::get_if<NamedProcessDocs>(&twin->call)) return (*named)(columns, rows, path);
  std::get<ProcessDocs>(twin->call)(columns, rows);
}

Json BoundFunction::field(const Json& document) const {
  if (const auto* named = std::get_if<NamedDocumentField>(&twin->call)) return (*named)(document, path);
  return std::get<DocumentField>(twin->call)(document);
}

std::vector<Json> BoundFunction::samples() const { return std::get<Samples>(twin->call)(); }

ProcessResults BoundFunction::process_results() const { return std::get<ProcessResults>(twin->call); }

AggregationFunction BoundFunction::aggregation() const { return std::get<AggregationFunction>(twin->call); }

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

FunctionRole role_of_key(std::string_view key) {
  for (const KeyRole& row : kRoles) {
    if (row.key == key) return row.role;
  }
  return FunctionRole::kNone;
}

std::vector<MissingFunction> missing_functions(const Json& mapping) {
  std::vector<MissingFunction> missing;
  collect_missing(mapping, "", missing, 0);
  return missing;
}

}  // namespace evalmpi::task
