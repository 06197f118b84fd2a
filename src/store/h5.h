#pragma once

// HDF5's C API with owned handles and checked calls: a new file that is built, verified and published, and a reader.
// Private to store; nothing else sees HDF5.

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "evalmpi/base/descriptor.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/hash.h"
#include "evalmpi/store/results_file.h"

namespace evalmpi::store::h5 {

// A handle of any kind, closed once.
class Id {
 public:
  using Close = herr_t (*)(hid_t);
  Id() = default;
  Id(hid_t id, Close close) : id_(id), close_(close) {}
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Id& operator=(Id&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Id() { (void)close(); }
  hid_t get() const { return id_; }
  // Closes now and says whether that worked; writing errors can appear here first.
  [[nodiscard]] bool close() { return id_ < 0 || close_(std::exchange(id_, H5I_INVALID_HID)) >= 0; }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Close close_ = nullptr;
};

// Before the first call of a thread: errors are kept for take_error_text() and not printed; no plugins are loaded.
void start_library();

// What went wrong, from HDF5's error stack; clears it.
std::string take_error_text();

// Element types of datasets, and how they are stored.
enum class Kind { kInt8, kInt32, kInt64, kUint64, kFloat, kDouble, kString };

template <typename T>
constexpr Kind kind_of() {
  if constexpr (std::is_same_v<T, int8_t>) return Kind::kInt8;
  if constexpr (std::is_same_v<T, int32_t>) return Kind::kInt32;
  if constexpr (std::is_same_v<T, int64_t>) return Kind::kInt64;
  if constexpr (std::is_same_v<T, uint64_t>) return Kind::kUint64;
  if constexpr (std::is_same_v<T, float>) return Kind::kFloat;
  if constexpr (std::is_same_v<T, double>) return Kind::kDouble;
}

// Little-endian in files, the machine's own in memory; strings are UTF-8 of variable length in both.
Id file_type(Kind kind);
Id memory_type(Kind kind);
// The type of an attribute with a value as Writer stores it: bool is h5py's enum.
Id attribute_type(const Json& value);

// `text` as an HDF5 string can hold it: U+0000 becomes U+2400, what is no UTF-8 becomes U+FFFD.
std::string storable(std::string_view text);

// A file ends, behind what HDF5 reads of it, with the hash of all bytes before: HDF5 itself would read a flipped bit as
// another number, and be led astray by a damaged structure.
std::string trailer_of(std::string_view image);

// A file on its way: built in memory, then written under a temporary name in the directory of its final one.
class Writer {
 public:
  // FAILS: kCannotWrite when the directory is not writable, kIo.
  explicit Writer(std::filesystem::path final_path);
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer();  // removes what was not published

  // Paths are absolute; parents first.
  void group(const std::string& path);
  void attributes(const std::string& path, const Attributes& attributes);

  // columns = 0: a vector; otherwise a matrix of values.size() / columns rows.
  template <typename T>
  void dataset(const std::string& path, std::span<const T> values, uint64_t columns = 0) {
    numbers(path, kind_of<T>(), values.data(), values.size(), columns, sizeof(T));
  }
  void dataset(const std::string& path, std::span<const std::string> values);

  // Write, fsync, close, reopen, compare everything with what was handed in, rename, fsync of the directory.
  void publish();

 private:
  struct Expected {
    std::string path;
    Kind kind;
    std::vector<uint64_t> shape;
    Hash128 content;
  };
  void numbers(const std::string& path, Kind kind, const void* values, uint64_t count, uint64_t columns,
               size_t value_bytes);
  Id create_dataset(const std::string& path, Kind kind, const std::vector<uint64_t>& shape);
  void write_image();
  void verify() const;
  [[noreturn]] void fail_here(const std::string& what);

  std::filesystem::path final_path_;
  std::filesystem::path temporary_;
  Descriptor output_;  // of the temporary file
  Id file_;            // in memory until publish()
  std::vector<Expected> datasets_;
  std::vector<std::pair<std::string, Attributes>> attributes_;
  bool is_published_ = false;
};

// Reads a file whole, object by object, after its bytes have been compared with the hash they end with. Everything
// FAILS with kBadInput naming file and object.
class Reader {
 public:
  // FAILS: also kMissingInput.
  explicit Reader(std::filesystem::path path);

  // Names in a group, in the order of their creation.
  std::vector<std::string> children(const std::string& path) const;
  Attributes attributes(const std::string& path) const;
  std::vector<uint64_t> shape(const std::string& path) const;

  // All values, rows first.
  template <typename T>
  std::vector<T> numbers(const std::string& path) const {
    std::vector<T> values;
    const Id dataset = open_dataset(path, kind_of<T>());
    values.resize(count_of(dataset.get(), path));
    read(dataset.get(), kind_of<T>(), values.data(), path);
    return values;
  }
  std::vector<std::string> strings(const std::string& path) const;

  // Hash of a dataset's values as Writer computes it from those handed in.
  Hash128 content_hash(const std::string& path, Kind kind) const;

 private:
  Id open_dataset(const std::string& path, Kind kind) const;
  Id open_object(const std::string& path) const;
  Json attribute(hid_t object, const std::string& path, uint64_t index, std::string& name) const;
  uint64_t count_of(hid_t dataset, const std::string& path) const;
  void read(hid_t dataset, Kind kind, void* to, const std::string& path) const;
  [[noreturn]] void fail_at(const std::string& path, const std::string& what) const;

  std::filesystem::path path_;
  Id file_;
};

}  // namespace evalmpi::store::h5
