#include "evalmpi/model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"

namespace evalmpi::model {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's limit
constexpr size_t kMaxDims = 16;

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

// The header as an object. JSON readers keep one of two equal names without a word; a file that has them has no
// single meaning.
Json read_header(std::string_view text, std::string_view where) {
  const std::string header_name = std::string(where) + ", header";
  if (!parse_json(text, header_name).is_object()) fail(ExitCode::kBadInput, "{}: not an object", header_name);
  std::set<std::string> names;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1 && !names.insert(parsed.get<std::string>()).second) {
      fail(ExitCode::kBadInput, "{}: two tensors are named \"{}\"", where, parsed.get<std::string>());
    }
    return true;
  };
  return Json::parse(text.begin(), text.end(), watch);
}

struct Offsets {
  uint64_t begin = 0;
  uint64_t end = 0;
};

class EntryReader {
 public:
  EntryReader(std::string_view where, const std::string& name, const Json& entry)
      : where_(where), name_(name), entry_(entry) {
    if (!entry.is_object()) fail_entry("its header entry is not an object");
  }

  TensorEntry read(Offsets& offsets) const {
    TensorEntry tensor;
    tensor.dtype = dtype();
    tensor.shape = shape();
    offsets = data_offsets();
    if (bytes_needed(tensor) != offsets.end - offsets.begin) {
      fail_entry(fmt::format("{} of {} needs {} bytes, its offsets span {}", tensor.dtype, entry_.at("shape").dump(),
                             bytes_needed(tensor), offsets.end - offsets.begin));
    }
    return tensor;
  }

 private:
  [[noreturn]] void fail_entry(const std::string& what) const {
    fail(ExitCode::kBadInput, "{}: tensor \"{}\": {}", where_, name_, what);
  }

  const Json& field(const char* key, bool (Json::*is_type)() const noexcept) const {
    const auto found = entry_.find(key);
    if (found == entry_.end() || !((*found).*is_type)()) fail_entry(fmt::format("no valid \"{}\"", key));
    return *found;
  }

  std::string dtype() const {
    const std::string text = field("dtype", &Json::is_string).get<std::string>();
    if (bits_of(text) == 0) fail_entry(fmt::format("the dtype \"{}\" is not one of safetensors", text));
    return text;
  }

  std::vector<int64_t> shape() const {
    std::vector<int64_t> shape;
    const Json& sizes = field("shape", &Json::is_array);
    if (sizes.size() > kMaxDims) fail_entry("too many dimensions");
    for (const Json& size : sizes) {
      if (!size.is_number_unsigned() || size.get<uint64_t>() > uint64_t{1} << 56) fail_entry("no valid \"shape\"");
      shape.push_back(size.get<int64_t>());
    }
    return shape;
  }

  Offsets data_offsets() const {
    const Json& pair = field("data_offsets", &Json::is_array);
    if (pair.size() != 2 || !pair[0].is_number_unsigned() || !pair[1].is_number_unsigned() ||
        pair[0].get<uint64_t>() > pair[1].get<uint64_t>()) {
      fail_entry("no valid \"data_offsets\"");
    }
    return {pair[0].get<uint64_t>(), pair[1].get<uint64_t>()};
  }

  uint64_t bytes_needed(const TensorEntry& tensor) const {
    uint64_t bits = bits_of(tensor.dtype);
    bool overflow = false;
    for (const int64_t size : tensor.shape) {
      overflow = overflow || __builtin_mul_overflow(bits, static_cast<uint64_t>(size), &bits);
    }
    if (overflow || bits % 8 != 0) fail_entry("its shape is too large");
    return bits / 8;
  }

  std::string_view where_;
  const std::string& name_;
  const Json& entry_;
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
  const Json header = read_header(text, where);
  const uint64_t data_begin = kLengthBytes + text.size();
  std::map<std::string, TensorEntry> tensors;
  std::vector<Placed> placed;
  std::vector<std::pair<TensorEntry*, Offsets>> to_locate;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    Offsets offsets;
    const auto [position, inserted] = tensors.emplace(name, EntryReader(where, name, entry).read(offsets));
    placed.push_back({offsets, &position->first});
    to_locate.emplace_back(&position->second, offsets);
  }
  check_layout(placed, data_begin, bytes.size(), where);
  for (auto& [tensor, offsets] : to_locate) {
    tensor->bytes = bytes.substr(data_begin + offsets.begin, offsets.end - offsets.begin);
  }
  return tensors;
}

}  // namespace evalmpi::model
