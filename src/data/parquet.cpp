// The only file that includes Arrow.

#include <arrow/api.h>
#include <arrow/io/api.h>
#include <arrow/ipc/api.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>
#include <parquet/properties.h>

#include <cmath>
#include <functional>
#include <set>

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

std::string hexadecimal(std::string_view bytes) {
  std::string out;
  out.reserve(2 * bytes.size());
  for (const unsigned char byte : bytes) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

// Proleptic Gregorian date of a day count from 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date
// algorithms").
std::string date_text(int64_t days) {
  days += 719468;
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto day_of_era = days - era * 146097;
  const auto year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const auto day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const auto month_index = (5 * day_of_year + 2) / 153;
  const auto day = day_of_year - (153 * month_index + 2) / 5 + 1;
  const auto month = month_index < 10 ? month_index + 3 : month_index - 9;
  const auto year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  return fmt::format("{:04}-{:02}-{:02}", year, month, day);
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

// HH:MM:SS and, when there is a rest, six decimals, as Python's str(datetime) has it.
std::string time_text(int64_t value, int64_t per_second) {
  const int64_t seconds = value / per_second;
  const int64_t micros = (value % per_second) * 1'000'000 / per_second;
  std::string out = fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  if (micros != 0) out += fmt::format(".{:06}", micros);
  return out;
}

std::string timestamp_text(int64_t value, const arrow::TimestampType& type) {
  const int64_t per_second = units_per_second(type.unit());
  const int64_t per_day = per_second * 86'400;
  const int64_t days = value >= 0 ? value / per_day : -((-(value + 1)) / per_day) - 1;
  std::string out = date_text(days) + " " + time_text(value - days * per_day, per_second);
  if (!type.timezone().empty()) out += "+00:00";
  return out;
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
      case arrow::Type::DECIMAL128: return static_cast<const arrow::Decimal128Array&>(array).FormatValue(i);
      case arrow::Type::DATE32: return date_text(at<arrow::Date32Array>(array, i));
      case arrow::Type::DATE64: return date_text(at<arrow::Date64Array>(array, i) / 86'400'000);
      case arrow::Type::TIME32:
        return time_text(at<arrow::Time32Array>(array, i),
                         units_per_second(static_cast<const arrow::Time32Type&>(*array.type()).unit()));
      case arrow::Type::TIME64:
        return time_text(at<arrow::Time64Array>(array, i),
                         units_per_second(static_cast<const arrow::Time64Type&>(*array.type()).unit()));
      case arrow::Type::TIMESTAMP:
        return timestamp_text(at<arrow::TimestampArray>(array, i),
                              static_cast<const arrow::TimestampType&>(*array.type()));
      case arrow::Type::LIST: return list(static_cast<const arrow::ListArray&>(array), i, depth);
      case arrow::Type::LARGE_LIST: return list(static_cast<const arrow::LargeListArray&>(array), i, depth);
      case arrow::Type::FIXED_SIZE_LIST: return list(static_cast<const arrow::FixedSizeListArray&>(array), i, depth);
      case arrow::Type::STRUCT: return structure(static_cast<const arrow::StructArray&>(array), i, depth);
      case arrow::Type::DICTIONARY: {
        const auto& encoded = static_cast<const arrow::DictionaryArray&>(array);
        return value(*encoded.dictionary(), encoded.GetValueIndex(i), depth + 1);
      }
      case arrow::Type::EXTENSION:
        return value(*static_cast<const arrow::ExtensionArray&>(array).storage(), i, depth + 1);
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
    count(2 * bytes.size());
    return hexadecimal(bytes);
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
  } catch (const std::exception& problem) {
    fail(ExitCode::kBadInput, "{}: damaged or not readable: {}", file.string(), problem.what());
  }
}

Table read_batches(arrow::RecordBatchReader& reader, const std::string& file) {
  Table table{columns_of(*reader.schema(), file), {}};
  Converter converter;
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    check(reader.ReadNext(&batch), file);
    if (!batch) return table;
    append(table, *batch, converter, file);
  }
}

}  // namespace

Table read_parquet(const std::filesystem::path& file) {
  return guarded(file, [&] {
    const std::string name = file.string();
    const auto input = checked(arrow::io::ReadableFile::Open(name), name);
    parquet::ArrowReaderProperties properties(false);
    properties.set_batch_size(kBatchRows);
    parquet::arrow::FileReaderBuilder builder;
    check(builder.Open(input), name);
    std::unique_ptr<parquet::arrow::FileReader> reader;
    check(builder.properties(properties)->Build(&reader), name);
    const auto batches = checked(reader->GetRecordBatchReader(), name);
    return read_batches(*batches, name);
  });
}

Table read_arrow(const std::filesystem::path& file) {
  return guarded(file, [&] {
    const std::string name = file.string();
    const auto input = checked(arrow::io::ReadableFile::Open(name), name);
    // `datasets` writes the stream format; the file format is told by its magic bytes.
    const auto magic = checked(input->Read(6), name);
    check(input->Seek(0), name);
    if (magic->ToString() != "ARROW1") {
      const auto reader = checked(arrow::ipc::RecordBatchStreamReader::Open(input), name);
      return read_batches(*reader, name);
    }
    const auto reader = checked(arrow::ipc::RecordBatchFileReader::Open(input), name);
    Table table{columns_of(*reader->schema(), name), {}};
    Converter converter;
    for (int i = 0; i < reader->num_record_batches(); ++i)
      append(table, *checked(reader->ReadRecordBatch(i), name), converter, name);
    return table;
  });
}

}  // namespace evalmpi::data
