// Arrow's values as rows.

#include <arrow/api.h>
#include <arrow/extension/json.h>
#include <arrow/io/api.h>
#include <arrow/ipc/api.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>
#include <parquet/properties.h>

#include <cmath>
#include <functional>
#include <new>
#include <set>

#include "date_text.h"
#include "evalmpi/base/error.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {
namespace {

constexpr int64_t kMaxRows = 50'000'000;
constexpr uint64_t kMaxTextBytes = uint64_t{16} << 30;
constexpr int kMaxDepth = 100;
constexpr int64_t kBatchRows = 4096;

// A value of a type that rows cannot hold; the reader adds file and column.
struct UnsupportedType {
  std::string name;
};

// repr(bytes): b'\x00a'.
std::string bytes_text(std::string_view bytes) {
  const char quote = bytes.find('\'') != bytes.npos && bytes.find('"') == bytes.npos ? '"' : '\'';
  std::string out = std::string("b") + quote;
  for (const unsigned char byte : bytes) {
    if (byte == '\n') {
      out += "\\n";
    } else if (byte == '\r') {
      out += "\\r";
    } else if (byte == '\t') {
      out += "\\t";
    } else if (byte == '\\' || byte == static_cast<unsigned char>(quote)) {
      out += {'\\', static_cast<char>(byte)};
    } else if (byte < 32 || byte > 126) {
      out += {'\\', 'x', "0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
    } else {
      out += static_cast<char>(byte);
    }
  }
  return out + quote;
}

int64_t units_per_second(arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND: return 1;
    case arrow::TimeUnit::MILLI: return 1'000;
    case arrow::TimeUnit::MICRO: return 1'000'000;
    case arrow::TimeUnit::NANO: return 1'000'000'000;
  }
  return 1;
}

std::string zoned_text(int64_t value, const arrow::TimestampType& type) {
  const int64_t per_second = units_per_second(type.unit());
  if (type.timezone().empty()) return timestamp_text(value, per_second);
  const auto offset = fixed_offset_seconds(type.timezone());
  if (!offset) throw UnsupportedType{type.ToString() + " (convert it to UTC)"};
  const int64_t minutes = std::abs(*offset) / 60;
  return fmt::format("{}{}{:02}:{:02}", timestamp_text(value + *offset * per_second, per_second),
                     *offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

double half_to_double(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const double mantissa = bits & 1023;
  const double magnitude = exponent == 0    ? std::ldexp(mantissa, -24)
                           : exponent == 31 ? (mantissa == 0 ? INFINITY : NAN)
                                            : std::ldexp(mantissa + 1024, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

template <typename ArrayType>
auto at(const arrow::Array& array, int64_t i) {
  return static_cast<const ArrayType&>(array).Value(i);
}

// Turns Arrow's values into Json and counts what it makes.
class Converter {
 public:
  // Item `i` of the array as Json.
  Json value(const arrow::Array& array, int64_t i, int depth = 0) {
    if (array.IsNull(i)) return nullptr;
    if (depth > kMaxDepth) throw UnsupportedType{"deeply nested " + array.type()->ToString().substr(0, 100)};
    switch (array.type_id()) {
      case arrow::Type::NA: return nullptr;
      case arrow::Type::BOOL: return at<arrow::BooleanArray>(array, i);
      case arrow::Type::INT8: return integer<arrow::Int8Array>(array, i);
      case arrow::Type::INT16: return integer<arrow::Int16Array>(array, i);
      case arrow::Type::INT32: return integer<arrow::Int32Array>(array, i);
      case arrow::Type::INT64: return integer<arrow::Int64Array>(array, i);
      case arrow::Type::UINT8: return integer<arrow::UInt8Array>(array, i);
      case arrow::Type::UINT16: return integer<arrow::UInt16Array>(array, i);
      case arrow::Type::UINT32: return integer<arrow::UInt32Array>(array, i);
      case arrow::Type::UINT64: return large_integer(at<arrow::UInt64Array>(array, i));
      case arrow::Type::HALF_FLOAT: return half_to_double(static_cast<const arrow::HalfFloatArray&>(array).Value(i));
      case arrow::Type::FLOAT: return static_cast<double>(at<arrow::FloatArray>(array, i));
      case arrow::Type::DOUBLE: return at<arrow::DoubleArray>(array, i);
      case arrow::Type::STRING: return text(static_cast<const arrow::StringArray&>(array).GetView(i));
      case arrow::Type::LARGE_STRING: return text(static_cast<const arrow::LargeStringArray&>(array).GetView(i));
      case arrow::Type::STRING_VIEW: return text(static_cast<const arrow::StringViewArray&>(array).GetView(i));
      case arrow::Type::BINARY: return binary(static_cast<const arrow::BinaryArray&>(array).GetView(i));
      case arrow::Type::LARGE_BINARY: return binary(static_cast<const arrow::LargeBinaryArray&>(array).GetView(i));
      case arrow::Type::FIXED_SIZE_BINARY:
        return binary(static_cast<const arrow::FixedSizeBinaryArray&>(array).GetView(i));
      case arrow::Type::BINARY_VIEW: return binary(static_cast<const arrow::BinaryViewArray&>(array).GetView(i));
      case arrow::Type::DECIMAL32: return static_cast<const arrow::Decimal32Array&>(array).FormatValue(i);
      case arrow::Type::DECIMAL64: return static_cast<const arrow::Decimal64Array&>(array).FormatValue(i);
      case arrow::Type::DECIMAL128: return static_cast<const arrow::Decimal128Array&>(array).FormatValue(i);
      case arrow::Type::DECIMAL256: return static_cast<const arrow::Decimal256Array&>(array).FormatValue(i);
      case arrow::Type::DATE32: return date_text(at<arrow::Date32Array>(array, i));
      case arrow::Type::DATE64: return date_text(at<arrow::Date64Array>(array, i) / 86'400'000);
      case arrow::Type::TIME32:
        return time_text(at<arrow::Time32Array>(array, i),
                         units_per_second(static_cast<const arrow::Time32Type&>(*array.type()).unit()));
      case arrow::Type::TIME64:
        return time_text(at<arrow::Time64Array>(array, i),
                         units_per_second(static_cast<const arrow::Time64Type&>(*array.type()).unit()));
      case arrow::Type::TIMESTAMP:
        return zoned_text(at<arrow::TimestampArray>(array, i), static_cast<const arrow::TimestampType&>(*array.type()));
      case arrow::Type::DURATION:
        return duration_text(at<arrow::DurationArray>(array, i),
                             units_per_second(static_cast<const arrow::DurationType&>(*array.type()).unit()));
      case arrow::Type::LIST: return list(static_cast<const arrow::ListArray&>(array), i, depth);
      case arrow::Type::LARGE_LIST: return list(static_cast<const arrow::LargeListArray&>(array), i, depth);
      case arrow::Type::FIXED_SIZE_LIST: return list(static_cast<const arrow::FixedSizeListArray&>(array), i, depth);
      case arrow::Type::LIST_VIEW: return list(static_cast<const arrow::ListViewArray&>(array), i, depth);
      case arrow::Type::LARGE_LIST_VIEW: return list(static_cast<const arrow::LargeListViewArray&>(array), i, depth);
      case arrow::Type::MAP: return pairs(static_cast<const arrow::MapArray&>(array), i, depth);
      case arrow::Type::STRUCT: return structure(static_cast<const arrow::StructArray&>(array), i, depth);
      case arrow::Type::DICTIONARY: {
        const auto& encoded = static_cast<const arrow::DictionaryArray&>(array);
        return value(*encoded.dictionary(), encoded.GetValueIndex(i), depth + 1);
      }
      case arrow::Type::EXTENSION: {
        const arrow::Array& storage = *static_cast<const arrow::ExtensionArray&>(array).storage();
        const Json stored = value(storage, i, depth + 1);
        const auto& type = static_cast<const arrow::ExtensionType&>(*array.type());
        if (type.extension_name() != "arrow.json" || !stored.is_string()) return stored;
        return parse_json(stored.get_ref<const std::string&>(), "a value of type JSON");
      }
      default: throw UnsupportedType{array.type()->ToString()};
    }
  }

 private:
  template <typename ArrayType>
  static Json integer(const arrow::Array& array, int64_t i) {
    return static_cast<int64_t>(at<ArrayType>(array, i));
  }

  // Within int64 the same Json kind as all other integers.
  static Json large_integer(uint64_t number) {
    if (number <= static_cast<uint64_t>(INT64_MAX)) return static_cast<int64_t>(number);
    return number;
  }

  Json text(std::string_view bytes) {
    count(bytes.size());
    return std::string(bytes);
  }

  Json binary(std::string_view bytes) {
    count(4 * bytes.size());
    return bytes_text(bytes);
  }

  void count(uint64_t bytes) {
    text_bytes_ += bytes;
    if (text_bytes_ > kMaxTextBytes) throw UnsupportedType{"text above 16 GiB"};
  }

  template <typename ListType>
  Json list(const ListType& array, int64_t i, int depth) {
    Json out = Json::array();
    const auto start = static_cast<int64_t>(array.value_offset(i));
    const auto size = static_cast<int64_t>(array.value_length(i));
    count(16 * static_cast<uint64_t>(size));
    for (int64_t k = start; k < start + size; ++k) out.push_back(value(*array.values(), k, depth + 1));
    return out;
  }

  // A map is a list of (key, value).
  Json pairs(const arrow::MapArray& array, int64_t i, int depth) {
    Json out = Json::array();
    const auto start = static_cast<int64_t>(array.value_offset(i));
    const auto size = static_cast<int64_t>(array.value_length(i));
    count(48 * static_cast<uint64_t>(size));
    for (int64_t k = start; k < start + size; ++k) {
      out.push_back({value(*array.keys(), k, depth + 1), value(*array.items(), k, depth + 1)});
    }
    return out;
  }

  Json structure(const arrow::StructArray& array, int64_t i, int depth) {
    Json out = Json::object();
    for (int f = 0; f < array.num_fields(); ++f)
      out[array.type()->field(f)->name()] = value(*array.field(f), i, depth + 1);
    return out;
  }

  uint64_t text_bytes_ = 0;
};

template <typename T>
T checked(arrow::Result<T> result, const std::string& file) {
  if (!result.ok()) fail(ExitCode::kBadInput, "{}: damaged or not readable: {}", file, result.status().ToString());
  return std::move(result).ValueUnsafe();
}

void check(const arrow::Status& status, const std::string& file) {
  if (!status.ok()) fail(ExitCode::kBadInput, "{}: damaged or not readable: {}", file, status.ToString());
}

std::vector<std::string> columns_of(const arrow::Schema& schema, const std::string& file) {
  std::vector<std::string> names = schema.field_names();
  const std::set<std::string> distinct(names.begin(), names.end());
  if (distinct.size() != names.size()) fail(ExitCode::kBadInput, "{}: two columns have the same name", file);
  return names;
}

void append(Table& table, const arrow::RecordBatch& batch, Converter& converter, const std::string& file) {
  check(batch.ValidateFull(), file);
  const size_t first = table.rows.size();
  if (static_cast<int64_t>(first) + batch.num_rows() > kMaxRows)
    fail(ExitCode::kBadInput, "{}: more than {} rows", file, kMaxRows);
  table.rows.resize(first + static_cast<size_t>(batch.num_rows()), Json::object());
  for (int c = 0; c < batch.num_columns(); ++c) {
    const std::string& name = table.columns[static_cast<size_t>(c)];
    const arrow::Array& column = *batch.column(c);
    try {
      for (int64_t i = 0; i < batch.num_rows(); ++i) {
        table.rows[first + static_cast<size_t>(i)][name] = converter.value(column, i);
      }
    } catch (const UnsupportedType& problem) {
      fail(ExitCode::kBadInput, "{}: column '{}' holds a type that is not supported: {}", file, name, problem.name);
    }
  }
}

// Runs `read`, turning what Arrow throws about a damaged file into our error.
Table guarded(const std::filesystem::path& file, const std::function<Table()>& read) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) fail(ExitCode::kMissingInput, "{}: no such file", file.string());
  try {
    return read();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    fail(ExitCode::kUnavailable, "{}: out of memory while it is read", file.string());
  } catch (const std::exception& problem) {
    fail(ExitCode::kBadInput, "{}: damaged or not readable: {}", file.string(), problem.what());
  }
}

// The C library's: Arrow's own allocator would keep tens of MB after the last file is read.
arrow::MemoryPool* memory_pool() { return arrow::system_memory_pool(); }

void append_all(Table& table, arrow::RecordBatchReader& reader, Converter& converter, const std::string& where) {
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    check(reader.ReadNext(&batch), where);
    if (!batch) return;
    append(table, *batch, converter, where);
  }
}

}  // namespace

Table read_parquet(const std::filesystem::path& file) {
  return guarded(file, [&] {
    const std::string name = file.string();
    const auto input = checked(arrow::io::ReadableFile::Open(name, memory_pool()), name);
    parquet::ArrowReaderProperties properties(false);
    properties.set_batch_size(kBatchRows);
    parquet::arrow::FileReaderBuilder builder;
    check(builder.Open(input, parquet::ReaderProperties(memory_pool())), name);
    builder.memory_pool(memory_pool());
    std::unique_ptr<parquet::arrow::FileReader> reader;
    check(builder.properties(properties)->Build(&reader), name);
    std::shared_ptr<arrow::Schema> schema;
    check(reader->GetSchema(&schema), name);
    Table table{columns_of(*schema, name), {}};
    Converter converter;
    for (int group = 0; group < reader->num_row_groups(); ++group) {
      const std::string where = fmt::format("{}: row group {}", name, group);
      append_all(table, *checked(reader->GetRecordBatchReader({group}), where), converter, where);
    }
    return table;
  });
}

Table read_arrow(const std::filesystem::path& file) {
  return guarded(file, [&] {
    const std::string name = file.string();
    const auto input = checked(arrow::io::ReadableFile::Open(name, memory_pool()), name);
    arrow::ipc::IpcReadOptions options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = memory_pool();
    // `datasets` writes the stream format; the file format is told by its magic bytes.
    const auto magic = checked(input->Read(6), name);
    check(input->Seek(0), name);
    Converter converter;
    if (magic->ToString() != "ARROW1") {
      const auto reader = checked(arrow::ipc::RecordBatchStreamReader::Open(input, options), name);
      Table table{columns_of(*reader->schema(), name), {}};
      append_all(table, *reader, converter, name);
      return table;
    }
    const auto reader = checked(arrow::ipc::RecordBatchFileReader::Open(input, options), name);
    Table table{columns_of(*reader->schema(), name), {}};
    for (int i = 0; i < reader->num_record_batches(); ++i) {
      const std::string where = fmt::format("{}: batch {}", name, i);
      append(table, *checked(reader->ReadRecordBatch(i), where), converter, where);
    }
    return table;
  });
}

}  // namespace evalmpi::data
