#include <algorithm>

#include "evalmpi/base/error.h"
#include "evalmpi/data/file_text.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {
namespace {

// The kwarg of the first of these names that is set, or null.
Json first_of(const Json& kwargs, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (kwargs.contains(name) && !kwargs[name].is_null()) return kwargs[name];
  }
  return nullptr;
}

CsvOptions csv_options(const Json& kwargs, char separator, const std::string& file) {
  CsvOptions options;
  options.separator = separator;
  if (const Json given = first_of(kwargs, {"sep", "delimiter"}); !given.is_null()) {
    if (!given.is_string() || given.get<std::string>().size() != 1) {
      fail(ExitCode::kBadInput, "{}: the separator must be one character", file);
    }
    options.separator = given.get<std::string>()[0];
  }
  if (const Json names = first_of(kwargs, {"column_names", "names"}); !names.is_null()) {
    const bool legal =
        names.is_array() && std::all_of(names.begin(), names.end(), [](const Json& name) { return name.is_string(); });
    if (!legal) fail(ExitCode::kBadInput, "{}: column_names must be a list of texts", file);
    options.column_names = names.get<std::vector<std::string>>();
  }
  return options;
}

TextOptions text_options(const Json& kwargs, const std::string& file) {
  TextOptions options;
  const Json keep = first_of(kwargs, {"keep_linebreaks"});
  options.keep_linebreaks = keep == Json(true) || keep == Json("true") || keep == Json("True");
  const Json sample_by = first_of(kwargs, {"sample_by"});
  if (sample_by.is_null() || sample_by == "line") return options;
  if (sample_by != "paragraph" && sample_by != "document") {
    fail(ExitCode::kBadInput, "{}: sample_by must be line, paragraph or document", file);
  }
  options.sample_by = sample_by == "paragraph" ? TextSample::kParagraph : TextSample::kDocument;
  return options;
}

// The reader that an extension stands for; empty when there is none.
std::string format_of(std::string extension) {
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (extension == ".jsonl" || extension == ".ndjson" || extension == ".json") return "json";
  if (extension == ".csv" || extension == ".tsv") return extension.substr(1);
  if (extension == ".parquet" || extension == ".arrow") return extension.substr(1);
  return extension == ".txt" ? "text" : "";
}

}  // namespace

Table read_table(const std::filesystem::path& file, const Json& kwargs) {
  const std::string name = file.string();
  const std::string extension = without_compression(file).extension().string();
  const std::string found = format_of(extension);
  std::string format = kwargs.value("format", found);
  if (format == "csv" && found == "tsv" && first_of(kwargs, {"sep", "delimiter"}).is_null()) format = "tsv";
  if (format == "json" || format == "jsonl") {
    const Json field = first_of(kwargs, {"field"});
    return read_json(file, field.is_string() ? field.get<std::string>() : "");
  }
  if (format == "csv" || format == "tsv")
    return read_csv(file, csv_options(kwargs, format == "csv" ? ',' : '\t', name));
  if (format == "text") return read_text(file, text_options(kwargs, name));
  if (format == "parquet") return read_parquet(file);
  if (format == "arrow") return read_arrow(file);
  fail(ExitCode::kBadInput,
       "{}: the extension '{}' is none of .jsonl .ndjson .json .csv .tsv .txt .parquet .arrow (archives: unpack them)",
       name, extension);
}

}  // namespace evalmpi::data
