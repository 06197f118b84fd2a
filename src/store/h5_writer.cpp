#include <unistd.h>

#include <cmath>
#include <limits>

#include "evalmpi/base/file.h"
#include "h5.h"

namespace evalmpi::store::h5 {
namespace {

// The file grows in memory: HDF5 1.10 crashes at exit after it met a full disk, so the disk is
// written by our own calls only.
Id access_properties() {
  constexpr size_t kGrowthBytes = size_t{1} << 20;
  Id properties(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fapl_core(properties.get(), kGrowthBytes, false);
  return properties;
}

Id creation_properties(hid_t kind) {
  Id properties(H5Pcreate(kind), H5Pclose);
  H5Pset_obj_track_times(properties.get(), false);
  H5Pset_attr_creation_order(properties.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  return properties;
}

Id group_properties(hid_t kind) {
  Id properties = creation_properties(kind);
  H5Pset_link_creation_order(properties.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  return properties;
}

// What a reader sees where nothing was written: never something that looks like a result.
void set_fill(hid_t properties, Kind kind) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const int64_t minus_one = -1;
  if (kind == Kind::kFloat || kind == Kind::kDouble) H5Pset_fill_value(properties, H5T_NATIVE_DOUBLE, &nan);
  if (kind == Kind::kInt8 || kind == Kind::kInt32 || kind == Kind::kInt64) {
    H5Pset_fill_value(properties, H5T_NATIVE_INT64, &minus_one);
  }
}

Id simple_space(const std::vector<uint64_t>& shape) {
  const std::vector<hsize_t> sizes(shape.begin(), shape.end());
  return Id(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr), H5Sclose);
}

bool write_attribute(hid_t object, const std::string& name, const Json& value) {
  const bool is_null = value.is_null();
  const Id type = attribute_type(value);
  const Id space(H5Screate(is_null ? H5S_NULL : H5S_SCALAR), H5Sclose);
  Id attribute(H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (attribute.get() < 0) return false;
  if (is_null) return attribute.close();
  herr_t result = -1;
  if (value.is_boolean()) {
    const int8_t number = value.get<bool>();
    result = H5Awrite(attribute.get(), type.get(), &number);
  } else if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    result = H5Awrite(attribute.get(), H5T_NATIVE_UINT64, &number);
  } else if (value.is_number_integer()) {
    const int64_t number = value.get<int64_t>();
    result = H5Awrite(attribute.get(), H5T_NATIVE_INT64, &number);
  } else if (value.is_number()) {
    const double number = value.get<double>();
    result = H5Awrite(attribute.get(), H5T_NATIVE_DOUBLE, &number);
  } else {
    const std::string text = value.get<std::string>();
    const char* pointer = text.c_str();
    result = H5Awrite(attribute.get(), type.get(), &pointer);
  }
  return result >= 0 && attribute.close();
}

// The value as it will be read back: structures as text, strings storable, small unsigned numbers as signed.
Json stored_form(const Json& value) {
  if (value.is_structured()) return storable(value.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (value.is_string()) return storable(value.get<std::string>());
  if (value.is_number_unsigned() && value.get<uint64_t>() <= INT64_MAX)
    return static_cast<int64_t>(value.get<uint64_t>());
  return value;
}

bool is_same(const Json& a, const Json& b) {
  if (a.is_number_float() && b.is_number_float() && std::isnan(a.get<double>())) return std::isnan(b.get<double>());
  return a.type() == b.type() && a == b;
}

}  // namespace

Writer::Writer(std::filesystem::path final_path) : final_path_(std::move(final_path)) {
  start_library();
  temporary_ = temporary_beside(final_path_);
  output_ = Descriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (output_.get() < 0) {
    fail(exit_code_of(errno), "{}: cannot create: {}", final_path_.string(), std::strerror(errno));
  }
  const Id creation = group_properties(H5P_FILE_CREATE);
  file_ = Id(H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, creation.get(), access_properties().get()), H5Fclose);
  if (file_.get() < 0) fail_here("cannot create");
}

Writer::~Writer() {
  if (!is_published_) ::unlink(temporary_.c_str());
}

void Writer::fail_here(const std::string& what) {
  fail(ExitCode::kIo, "{}: {}: {}; the file is as it was", final_path_.string(), what, take_error_text());
}

void Writer::group(const std::string& path) {
  const Id properties = group_properties(H5P_GROUP_CREATE);
  Id group(H5Gcreate2(file_.get(), path.c_str(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Gclose);
  if (group.get() < 0 || !group.close()) fail_here("cannot create group " + path);
}

void Writer::attributes(const std::string& path, const Attributes& attributes) {
  Id object(H5Oopen(file_.get(), path.c_str(), H5P_DEFAULT), H5Oclose);
  if (object.get() < 0) fail_here("cannot open " + path);
  Attributes stored;
  for (const auto& [name, value] : attributes) {
    stored.emplace_back(name, stored_form(value));
    if (!write_attribute(object.get(), name, stored.back().second)) {
      fail_here("cannot write attribute " + name + " of " + path);
    }
  }
  if (!object.close()) fail_here("cannot close " + path);
  attributes_.emplace_back(path, std::move(stored));
}

Id Writer::create_dataset(const std::string& path, Kind kind, const std::vector<uint64_t>& shape) {
  const Id properties = creation_properties(H5P_DATASET_CREATE);
  set_fill(properties.get(), kind);
  const Id type = file_type(kind);
  const Id space = simple_space(shape);
  Id dataset(H5Dcreate2(file_.get(), path.c_str(), type.get(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
             H5Dclose);
  if (dataset.get() < 0) fail_here("cannot create dataset " + path);
  return dataset;
}

void Writer::numbers(const std::string& path, Kind kind, const void* values, uint64_t count, uint64_t columns,
                     size_t value_bytes) {
  EVALMPI_CHECK(columns == 0 || count % columns == 0);
  std::vector<uint64_t> shape{count};
  if (columns > 0) shape = {count / columns, columns};
  Id dataset = create_dataset(path, kind, shape);
  const Id type = memory_type(kind);
  if (count > 0 && H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
    fail_here("cannot write dataset " + path);
  }
  if (!dataset.close()) fail_here("cannot close dataset " + path);
  const auto bytes = std::span(static_cast<const std::byte*>(values), count * value_bytes);
  datasets_.push_back({path, kind, std::move(shape), Hasher().add_raw(bytes).finish()});
}

void Writer::dataset(const std::string& path, std::span<const std::string> values) {
  Hasher content;
  std::vector<std::string> texts;
  std::vector<const char*> pointers;
  texts.reserve(values.size());
  for (const std::string& value : values) {
    texts.push_back(storable(value));
    pointers.push_back(texts.back().c_str());
    content.add(texts.back());
  }
  Id dataset = create_dataset(path, Kind::kString, {values.size()});
  const Id type = memory_type(Kind::kString);
  if (!values.empty() && H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()) < 0) {
    fail_here("cannot write dataset " + path);
  }
  if (!dataset.close()) fail_here("cannot close dataset " + path);
  datasets_.push_back({path, Kind::kString, {values.size()}, content.finish()});
}

void Writer::verify() const {
  const Reader reader(temporary_);
  for (const Expected& expected : datasets_) {
    if (reader.shape(expected.path) != expected.shape ||
        reader.content_hash(expected.path, expected.kind) != expected.content) {
      fail(ExitCode::kIo, "{}: dataset {} did not arrive on the disk as it was written (a full disk?)",
           final_path_.string(), expected.path);
    }
  }
  for (const auto& [path, expected] : attributes_) {
    const Attributes found = reader.attributes(path);
    const auto same = [](const auto& a, const auto& b) { return a.first == b.first && is_same(a.second, b.second); };
    if (!std::equal(expected.begin(), expected.end(), found.begin(), found.end(), same)) {
      fail(ExitCode::kIo, "{}: the attributes of {} did not arrive on the disk as they were written",
           final_path_.string(), path);
    }
  }
}

void Writer::write_image() {
  if (H5Fflush(file_.get(), H5F_SCOPE_GLOBAL) < 0) fail_here("cannot flush");
  const ssize_t size_bytes = H5Fget_file_image(file_.get(), nullptr, 0);
  void* image = nullptr;  // the core driver gives the address of its buffer's pointer
  if (size_bytes < 0 || H5Fget_vfd_handle(file_.get(), H5P_DEFAULT, &image) < 0) fail_here("cannot be laid out");
  const std::string_view bytes(*static_cast<const char**>(image), static_cast<size_t>(size_bytes));
  if (const int error = write_fully(output_.get(), std::string(bytes) + trailer_of(bytes)))
    fail_to_write(final_path_, "write", bytes.size(), error);
  if (::fsync(output_.get()) != 0) fail_to_write(final_path_, "fsync", bytes.size(), errno);
  if (::close(output_.release()) != 0) fail_to_write(final_path_, "close after", bytes.size(), errno);
  if (!file_.close()) fail_here("cannot close");
}

void Writer::publish() {
  write_image();
  try {
    verify();
  } catch (const Error& error) {
    if (error.code() == ExitCode::kIo) throw;
    fail(ExitCode::kIo, "{}: what was written cannot be read back: {}", final_path_.string(), error.what());
  }
  if (::rename(temporary_.c_str(), final_path_.c_str()) != 0) {
    fail(exit_code_of(errno), "{}: cannot rename into place: {}", final_path_.string(), std::strerror(errno));
  }
  is_published_ = true;
  sync_directory(final_path_.parent_path());
}

}  // namespace evalmpi::store::h5
