#pragma once

#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/model/safetensors.h"

namespace evalmpi::model {

// The bytes of a parsed safetensors entry as values of T.
template <typename T>
std::vector<T> values_of(const std::map<std::string, TensorEntry>& tensors, const char* name) {
  const std::string_view bytes = tensors.at(name).bytes;
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

}  // namespace evalmpi::model
