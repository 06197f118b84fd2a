#include "evalmpi/model/safetensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"

namespace evalmpi::model {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's limit
constexpr size_t kMaxDims = 16;
constexpr size_t kMaxNameBytes = 1000;
constexpr int kMaxDepth = 200;

// Bits of one element, 0 for an unknown dtype.
uint64_t bits_of(std::string_view dtype) {
  static const std::map<std::string_view, uint64_t> kBits = {
      {"BOOL", 8}, {"U8", 8},   {"I8", 8},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"I16", 16},
      {"U16", 16}, {"F16", 16}, {"BF16", 16}, {"I32", 32},    {"U32", 32},    {"F32", 32},    {"F64", 64},
      {"I64", 64}, {"U64", 64}, {"C64", 64},  {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},
  };
  const auto found = kBits.find(dtype);
  return found == kBits.end() ? 0 : found->second;
}

uint64_t little_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = kLengthBytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// The header's JSON text. A file cut off inside it, or not safetensors at all, ends here.
std::string_view header_text(std::string_view bytes, std::string_view where) {
  if (bytes.size() < kLengthBytes) {
    fail(ExitCode::kBadInput, "{}: {} bytes, too short for a safetensors file: damaged or not fully downloaded", where,
         bytes.size());
  }
  const uint64_t length = little_endian(bytes);
  if (length > kMaxHeaderBytes) {
    fail(ExitCode::kBadInput, "{}: its header claims {} bytes (at most {}): not a safetensors file", where, length,
         kMaxHeaderBytes);
  }
  if (length > bytes.size() - kLengthBytes) {
    fail(ExitCode::kBadInput, "{}: cut off: the header needs {} bytes, the file has {}", where, kLengthBytes + length,
         bytes.size());
  }
  return bytes.substr(kLengthBytes, length);
}

struct Offsets {
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct HeaderEntry {
  TensorEntry tensor;
  Offsets offsets;
};

std::string shown(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ",")); }

// Takes the events of nlohmann's SAX parser. A JSON tree of a header would take many times its size in memory, and
// keeps one of two equal names without a word; a file that has them has no single meaning.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view where) : where_(where) {}

  std::map<std::string, HeaderEntry> take() { return std::move(entries_); }

  bool null() { return other_value(); }
  bool boolean(bool) { return other_value(); }
  bool number_integer(int64_t) { return other_value(); }
  bool number_float(double, const std::string&) { return other_value(); }
  bool binary(Json::binary_t&) { return other_value(); }

  bool number_unsigned(uint64_t value) {
    if (field_ == Field::kShape && depth_ == kInArray) {
      if (value > uint64_t{1} << 56) fail_field();
      std::vector<int64_t>& shape = entry_->tensor.shape;
      if (shape.size() == kMaxDims) fail_entry("too many dimensions");
      shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (field_ == Field::kOffsets && depth_ == kInArray) {
      if (offsets_read_ == 2) fail_field();
      (offsets_read_++ == 0 ? entry_->offsets.begin : entry_->offsets.end) = value;
      return true;
    }
    return other_value();
  }

  bool string(std::string& value) {
    if (field_ != Field::kDtype || depth_ != kInEntry) return other_value();
    if (bits_of(value) == 0) fail_entry(fmt::format("the dtype \"{}\" is not one of safetensors", value));
    entry_->tensor.dtype = value;
    return true;
  }

  bool start_object(size_t) {
    if (depth_ >= kInEntry && field_ != Field::kOther) fail_field();
    if (depth_ == kInHeader) in_metadata_ = entry_ == nullptr;
    return deeper();
  }

  bool start_array(size_t) {
    if (depth_ == kOutside) fail_header("not an object");
    if (depth_ == kInHeader && entry_ != nullptr) fail_entry("its header entry is not an object");
    const bool expected = depth_ == kInEntry && (field_ == Field::kShape || field_ == Field::kOffsets);
    if (!expected && field_ != Field::kOther) fail_field();
    return deeper();
  }

  bool end_object() {
    --depth_;
    if (depth_ == kInHeader && entry_ != nullptr) check_entry();
    return true;
  }

  bool end_array() {
    --depth_;
    if (depth_ == kInEntry && field_ == Field::kOffsets) {
      if (offsets_read_ != 2 || entry_->offsets.begin > entry_->offsets.end) fail_field();
    }
    return true;
  }

  bool key(std::string& name) {
    if (depth_ == kInHeader) begin_entry(name);
    if (depth_ == kInEntry) begin_field(name);
    return true;
  }

  bool parse_error(size_t byte, const std::string&, const Json::exception&) {
    fail_header(fmt::format("not valid JSON at byte {}", byte));
  }

 private:
  enum class Field { kOther, kDtype, kShape, kOffsets };
  enum Depth : int { kOutside = 0, kInHeader = 1, kInEntry = 2, kInArray = 3 };

  [[noreturn]] void fail_header(const std::string& what) const {
    fail(ExitCode::kBadInput, "{}, header: {}", where_, what);
  }
  [[noreturn]] void fail_entry(const std::string& what) const {
    fail(ExitCode::kBadInput, "{}: tensor \"{}\": {}", where_, name_, what);
  }
  [[noreturn]] void fail_field() const {
    fail_entry(fmt::format("no valid \"{}\"", field_ == Field::kDtype   ? "dtype"
                                              : field_ == Field::kShape ? "shape"
                                                                        : "data_offsets"));
  }

  bool deeper() {
    if (++depth_ > kMaxDepth) fail_header(fmt::format("JSON nested deeper than {}", kMaxDepth));
    return true;
  }

  // A value where no tensor's description has one of this kind.
  bool other_value() {
    if (depth_ == kOutside) fail_header("not an object");
    if (depth_ == kInHeader && entry_ != nullptr) fail_entry("its header entry is not an object");
    if (field_ != Field::kOther) fail_field();
    return true;
  }

  void begin_entry(const std::string& name) {
    field_ = Field::kOther;
    entry_ = nullptr;
    if (name == "__metadata__") return;
    in_metadata_ = false;
    if (name.size() > kMaxNameBytes) fail_header(fmt::format("a tensor's name of {} bytes", name.size()));
    if (entries_.size() == kMaxTensors) fail_header(fmt::format("more than {} tensors", kMaxTensors));
    const auto [position, inserted] = entries_.try_emplace(name);
    if (!inserted) fail(ExitCode::kBadInput, "{}: two tensors are named \"{}\"", where_, name);
    name_ = name;
    entry_ = &position->second;
    seen_dtype_ = seen_shape_ = false;
    offsets_read_ = 0;
  }

  void begin_field(const std::string& name) {
    if (in_metadata_) return;
    field_ = name == "dtype"          ? Field::kDtype
             : name == "shape"        ? Field::kShape
             : name == "data_offsets" ? Field::kOffsets
                                      : Field::kOther;
    bool twice = field_ == Field::kOffsets && offsets_read_ > 0;
    if (field_ == Field::kDtype) twice = std::exchange(seen_dtype_, true);
    if (field_ == Field::kShape) twice = std::exchange(seen_shape_, true);
    if (twice) fail_entry(fmt::format("\"{}\" stands twice", name));
  }

  void check_entry() {
    const TensorEntry& tensor = entry_->tensor;
    field_ = !seen_dtype_ ? Field::kDtype : !seen_shape_ ? Field::kShape : Field::kOffsets;
    if (!seen_dtype_ || !seen_shape_ || offsets_read_ != 2) fail_field();
    uint64_t bits = bits_of(tensor.dtype);
    bool overflow = false;
    for (const int64_t size : tensor.shape) {
      overflow = overflow || __builtin_mul_overflow(bits, static_cast<uint64_t>(size), &bits);
    }
    if (overflow || bits % 8 != 0) fail_entry("its shape is too large");
    if (bits / 8 != entry_->offsets.end - entry_->offsets.begin) {
      fail_entry(fmt::format("{} of {} needs {} bytes, its offsets span {}", tensor.dtype, shown(tensor.shape),
                             bits / 8, entry_->offsets.end - entry_->offsets.begin));
    }
    field_ = Field::kOther;
    entry_ = nullptr;
  }

  std::string_view where_;
  std::map<std::string, HeaderEntry> entries_;
  int depth_ = kOutside;
  bool in_metadata_ = false;
  std::string name_;              // of the tensor
  HeaderEntry* entry_ = nullptr;  // null in __metadata__
  Field field_ = Field::kOther;
  bool seen_dtype_ = false, seen_shape_ = false;
  int offsets_read_ = 0;
};

struct Placed {
  Offsets offsets;
  const std::string* name;
};

// The tensors' bytes must fill the file from the header to its end, each byte in one tensor.
void check_layout(std::vector<Placed>& placed, uint64_t header_end, uint64_t file_bytes, std::string_view where) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::pair(a.offsets.begin, a.offsets.end) < std::pair(b.offsets.begin, b.offsets.end);
  });
  uint64_t expected = 0;
  for (const Placed& tensor : placed) {
    if (tensor.offsets.begin != expected) {
      fail(ExitCode::kBadInput, "{}: tensor \"{}\" starts at byte {} of the data, {} was expected: tensors {}", where,
           *tensor.name, tensor.offsets.begin, expected, tensor.offsets.begin < expected ? "overlap" : "leave a hole");
    }
    expected = tensor.offsets.end;
  }
  if (expected != file_bytes - header_end) {
    fail(ExitCode::kBadInput,
         "{}: the file holds {} bytes of tensors, its header describes {}: damaged or not fully downloaded", where,
         file_bytes - header_end, expected);
  }
}

}  // namespace

std::map<std::string, TensorEntry> parse_safetensors(std::string_view bytes, std::string_view where) {
  const std::string_view text = header_text(bytes, where);
  HeaderReader reader(where);
  Json::sax_parse(text.begin(), text.end(), &reader);
  const std::map<std::string, HeaderEntry> entries = reader.take();
  const uint64_t data_begin = kLengthBytes + text.size();
  std::vector<Placed> placed;
  placed.reserve(entries.size());
  for (const auto& [name, entry] : entries) placed.push_back({entry.offsets, &name});
  check_layout(placed, data_begin, bytes.size(), where);
  std::map<std::string, TensorEntry> tensors;
  for (const auto& [name, entry] : entries) {
    TensorEntry& tensor = tensors.emplace_hint(tensors.end(), name, entry.tensor)->second;
    tensor.bytes = bytes.substr(data_begin + entry.offsets.begin, entry.offsets.end - entry.offsets.begin);
  }
  return tensors;
}

}  // namespace evalmpi::model
