#include <algorithm>

#include "evalmpi/model/convert.h"
#include "evalmpi/model/safetensors.h"
#include "source_names.h"

namespace evalmpi::model {
namespace {

std::string first_part(std::string_view name) { return std::string(name.substr(0, name.find('.') + 1)); }

}  // namespace

TensorNames::TensorNames(const ModelSpec& spec, const Checkpoint& checkpoint) {
  for (const SourceModule& module : source_modules(spec)) {
    if (module.slot == Slot::kEmbedding) prefix_ = first_part(module.pattern);
    if (module.slot == Slot::kHead) head_prefix_ = std::string(module.pattern) + ".";
  }
  is_bare_ = std::none_of(checkpoint.tensors().begin(), checkpoint.tensors().end(),
                          [&](const auto& tensor) { return tensor.first.starts_with(prefix_); });
}

bool TensorNames::belongs_to_head(const std::string& name) const {
  return !head_prefix_.empty() && name.starts_with(head_prefix_);
}

std::string TensorNames::full(const std::string& name) const {
  return is_bare_ && !belongs_to_head(name) ? prefix_ + name : name;
}

std::string TensorNames::bare(const std::string& name) const {
  return !prefix_.empty() && name.starts_with(prefix_) ? name.substr(prefix_.size()) : name;
}

}  // namespace evalmpi::model
