#include "h5.h"

#include <algorithm>

namespace evalmpi::store::h5 {
namespace {

Id copy_of(hid_t type) { return Id(H5Tcopy(type), H5Tclose); }

Id string_type() {
  Id type = copy_of(H5T_C_S1);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

Id bool_type() {
  Id type(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
  for (const int8_t value : {int8_t{0}, int8_t{1}}) H5Tenum_insert(type.get(), value == 0 ? "FALSE" : "TRUE", &value);
  return type;
}

// Length of the UTF-8 sequence at the front of `text`, 0 if there is none (RFC 3629).
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool is_overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool is_surrogate = first == 0xed && byte(1) > 0x9f;
    return continues(1) && continues(2) && !is_overlong && !is_surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool is_in_range = (first != 0xf0 || byte(1) >= 0x90) && (first != 0xf4 || byte(1) <= 0x8f);
    return continues(1) && continues(2) && continues(3) && is_in_range ? 4 : 0;
  }
  return 0;
}

}  // namespace

void start_library() {
  H5open();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
}

std::string take_error_text() {
  std::string text;
  const H5E_walk2_t append = [](unsigned depth, const H5E_error2_t* error, void* to) -> herr_t {
    // The innermost names the cause, the outermost the call; those between repeat them.
    if (depth == 0 && error->desc != nullptr) *static_cast<std::string*>(to) += error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, append, &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "HDF5 gives no reason" : text;
}

Id file_type(Kind kind) {
  switch (kind) {
    case Kind::kInt8: return copy_of(H5T_STD_I8LE);
    case Kind::kInt32: return copy_of(H5T_STD_I32LE);
    case Kind::kInt64: return copy_of(H5T_STD_I64LE);
    case Kind::kUint64: return copy_of(H5T_STD_U64LE);
    case Kind::kFloat: return copy_of(H5T_IEEE_F32LE);
    case Kind::kDouble: return copy_of(H5T_IEEE_F64LE);
    case Kind::kString: return string_type();
  }
  return {};
}

Id memory_type(Kind kind) {
  switch (kind) {
    case Kind::kInt8: return copy_of(H5T_NATIVE_INT8);
    case Kind::kInt32: return copy_of(H5T_NATIVE_INT32);
    case Kind::kInt64: return copy_of(H5T_NATIVE_INT64);
    case Kind::kUint64: return copy_of(H5T_NATIVE_UINT64);
    case Kind::kFloat: return copy_of(H5T_NATIVE_FLOAT);
    case Kind::kDouble: return copy_of(H5T_NATIVE_DOUBLE);
    case Kind::kString: return string_type();
  }
  return {};
}

Id attribute_type(const Json& value) {
  if (value.is_boolean()) return bool_type();
  if (value.is_number_unsigned()) return copy_of(H5T_STD_U64LE);
  if (value.is_number_integer()) return copy_of(H5T_STD_I64LE);
  if (value.is_number()) return copy_of(H5T_IEEE_F64LE);
  return string_type();
}

std::string storable(std::string_view text) {
  std::string stored;
  stored.reserve(text.size());
  while (!text.empty()) {
    const size_t length = text.front() == '\0' ? 0 : sequence_length(text);
    if (length > 0) {
      stored += text.substr(0, length);
    } else {
      stored += text.front() == '\0' ? "\u2400" : "\ufffd";
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return stored;
}

std::string trailer_of(std::string_view image) { return "\nevalmpi-content-hash " + hash128(image).hex() + "\n"; }

}  // namespace evalmpi::store::h5
