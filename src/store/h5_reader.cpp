#include <algorithm>
#include <memory>

#include "evalmpi/base/file.h"
#include "h5.h"

namespace evalmpi::store::h5 {
namespace {

constexpr uint64_t kMaxStringBytes = uint64_t{1} << 30;
constexpr size_t kBlockValues = size_t{1} << 20;  // read at once when hashing

// Frees what HDF5 allocated for strings of variable length.
struct StringBlock {
  std::vector<char*> pointers;
  hid_t type;
  hid_t space;
  ~StringBlock() { H5Dvlen_reclaim(type, space, H5P_DEFAULT, pointers.data()); }
};

std::string_view view_of(const char* text) {
  return text == nullptr ? std::string_view() : std::string_view(text, ::strnlen(text, kMaxStringBytes));
}

void check_bytes(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view bytes = file.bytes();
  const size_t trailer_bytes = trailer_of("").size();
  const std::string_view image = bytes.substr(0, bytes.size() - std::min(bytes.size(), trailer_bytes));
  if (bytes.substr(image.size()) == trailer_of(image)) return;
  fail(ExitCode::kBadInput,
       "{}: damaged, or changed by another program: its bytes are not those whose hash it ends with; \"evalmpi report "
       "{} --rebuild\" makes it anew from the logs",
       path.string(), path.parent_path().string());
}

}  // namespace

Reader::Reader(std::filesystem::path path) : path_(std::move(path)) {
  check_bytes(path_);
  start_library();
  const Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access.get(), false, true);
  file_ = Id(H5Fopen(path_.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  if (file_.get() < 0) fail_at("/", "cannot be opened");
}

void Reader::fail_at(const std::string& path, const std::string& what) const {
  fail(ExitCode::kBadInput, "{}: {} {}: {}", path_.string(), path, what, take_error_text());
}

Id Reader::open_object(const std::string& path) const {
  Id object(H5Oopen(file_.get(), path.c_str(), H5P_DEFAULT), H5Oclose);
  if (object.get() < 0) fail_at(path, "is missing");
  return object;
}

std::vector<std::string> Reader::children(const std::string& path) const {
  const Id group = open_object(path);
  std::vector<std::string> names;
  const H5L_iterate_t collect = [](hid_t, const char* name, const H5L_info_t*, void* to) -> herr_t {
    static_cast<std::vector<std::string>*>(to)->emplace_back(name);
    return 0;
  };
  if (H5Literate(group.get(), H5_INDEX_CRT_ORDER, H5_ITER_INC, nullptr, collect, &names) < 0) {
    fail_at(path, "cannot be listed");
  }
  return names;
}

Attributes Reader::attributes(const std::string& path) const {
  const Id object = open_object(path);
  H5O_info_t info;
  if (H5Oget_info2(object.get(), &info, H5O_INFO_NUM_ATTRS) < 0) fail_at(path, "has no readable attributes");
  Attributes all;
  for (hsize_t i = 0; i < info.num_attrs; ++i) {
    std::string name;
    Json value = attribute(object.get(), path, i, name);
    all.emplace_back(std::move(name), std::move(value));
  }
  return all;
}

Json Reader::attribute(hid_t object, const std::string& path, uint64_t index, std::string& name) const {
  const Id attribute(H5Aopen_by_idx(object, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, index, H5P_DEFAULT, H5P_DEFAULT),
                     H5Aclose);
  const ssize_t name_bytes = H5Aget_name(attribute.get(), 0, nullptr);
  if (attribute.get() < 0 || name_bytes < 0) fail_at(path, "has an unreadable attribute");
  name.resize(static_cast<size_t>(name_bytes) + 1);
  H5Aget_name(attribute.get(), name.size(), name.data());
  name.pop_back();

  const Id space(H5Aget_space(attribute.get()), H5Sclose);
  const Id type(H5Aget_type(attribute.get()), H5Tclose);
  if (H5Sget_simple_extent_type(space.get()) == H5S_NULL) return nullptr;
  if (H5Sget_simple_extent_type(space.get()) != H5S_SCALAR)
    fail_at(path, "has an attribute that is no scalar: " + name);
  herr_t result = -1;
  Json value;
  switch (H5Tget_class(type.get())) {
    case H5T_INTEGER: {
      if (H5Tget_sign(type.get()) == H5T_SGN_NONE) {
        uint64_t number = 0;
        result = H5Aread(attribute.get(), H5T_NATIVE_UINT64, &number);
        value = number;
      } else {
        int64_t number = 0;
        result = H5Aread(attribute.get(), H5T_NATIVE_INT64, &number);
        value = number;
      }
      break;
    }
    case H5T_ENUM: {
      int8_t number = 0;
      if (H5Tget_size(type.get()) == 1) result = H5Aread(attribute.get(), type.get(), &number);
      value = number != 0;
      break;
    }
    case H5T_FLOAT: {
      double number = 0;
      result = H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &number);
      value = number;
      break;
    }
    case H5T_STRING: {
      if (H5Tis_variable_str(type.get()) <= 0) break;
      StringBlock block{{nullptr}, type.get(), space.get()};
      result = H5Aread(attribute.get(), type.get(), block.pointers.data());
      value = std::string(view_of(block.pointers[0]));
      break;
    }
    default: break;
  }
  if (result < 0) fail_at(path, "has an attribute of another type: " + name);
  return value;
}

std::vector<uint64_t> Reader::shape(const std::string& path) const {
  const Id dataset(H5Dopen2(file_.get(), path.c_str(), H5P_DEFAULT), H5Dclose);
  if (dataset.get() < 0) fail_at(path, "is missing");
  const Id space(H5Dget_space(dataset.get()), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0) fail_at(path, "has no shape");
  std::vector<hsize_t> sizes(static_cast<size_t>(rank));
  H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr);
  return {sizes.begin(), sizes.end()};
}

Id Reader::open_dataset(const std::string& path, Kind kind) const {
  Id dataset(H5Dopen2(file_.get(), path.c_str(), H5P_DEFAULT), H5Dclose);
  if (dataset.get() < 0) fail_at(path, "is missing");
  const Id type(H5Dget_type(dataset.get()), H5Tclose);
  if (H5Tequal(type.get(), file_type(kind).get()) <= 0) fail_at(path, "has another element type");
  return dataset;
}

// Bounded by what the file really stores, so that a damaged shape cannot ask for all memory.
uint64_t Reader::count_of(hid_t dataset, const std::string& path) const {
  const Id space(H5Dget_space(dataset), H5Sclose);
  const Id type(H5Dget_type(dataset), H5Tclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  const size_t value_bytes = H5Tget_size(type.get());
  if (count < 0 || value_bytes == 0) fail_at(path, "has no shape");
  if (static_cast<uint64_t>(count) > H5Dget_storage_size(dataset) / value_bytes) fail_at(path, "is not stored whole");
  return static_cast<uint64_t>(count);
}

void Reader::read(hid_t dataset, Kind kind, void* to, const std::string& path) const {
  if (count_of(dataset, path) == 0) return;
  if (H5Dread(dataset, memory_type(kind).get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, to) < 0) fail_at(path, "cannot be read");
}

std::vector<std::string> Reader::strings(const std::string& path) const {
  const Id dataset = open_dataset(path, Kind::kString);
  const uint64_t count = count_of(dataset.get(), path);
  const Id type = memory_type(Kind::kString);
  const Id space(H5Dget_space(dataset.get()), H5Sclose);
  if (count == 0) return {};
  const StringBlock block{std::vector<char*>(count, nullptr), type.get(), space.get()};
  read(dataset.get(), Kind::kString, const_cast<char**>(block.pointers.data()), path);
  std::vector<std::string> values;
  values.reserve(count);
  for (const char* pointer : block.pointers) values.emplace_back(view_of(pointer));
  return values;
}

Hash128 Reader::content_hash(const std::string& path, Kind kind) const {
  Hasher hasher;
  if (kind == Kind::kString) {
    for (const std::string& value : strings(path)) hasher.add(value);
    return hasher.finish();
  }
  const Id dataset = open_dataset(path, kind);
  const Id type = memory_type(kind);
  const size_t value_bytes = H5Tget_size(type.get());
  const Id space(H5Dget_space(dataset.get()), H5Sclose);
  const std::vector<uint64_t> extent = shape(path);
  uint64_t row_values = 1;
  for (size_t i = 1; i < extent.size(); ++i) row_values *= extent[i];
  const uint64_t rows_at_once = std::max<uint64_t>(kBlockValues / std::max<uint64_t>(row_values, 1), 1);
  (void)count_of(dataset.get(), path);
  std::vector<std::byte> block;
  for (uint64_t row = 0; row < extent.at(0); row += rows_at_once) {
    std::vector<hsize_t> start(extent.size(), 0);
    std::vector<hsize_t> size(extent.begin(), extent.end());
    start[0] = row;
    size[0] = std::min(rows_at_once, extent[0] - row);
    block.resize(size[0] * row_values * value_bytes);
    const Id memory(H5Screate_simple(static_cast<int>(size.size()), size.data(), nullptr), H5Sclose);
    if (H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr) < 0 ||
        H5Dread(dataset.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, block.data()) < 0) {
      fail_at(path, "cannot be read");
    }
    hasher.add_raw(block);
  }
  return hasher.finish();
}

}  // namespace evalmpi::store::h5
