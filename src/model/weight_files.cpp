#include "evalmpi/model/weight_files.h"

#include <set>

namespace evalmpi::model {

std::string name_in_files(const Checkpoint& checkpoint, const TensorRow& row) {
  if (checkpoint.find(row.source_name) != nullptr) return row.source_name;
  const std::string bare = row.source_name.substr(row.source_name.find('.') + 1);
  return checkpoint.find(bare) != nullptr ? bare : row.source_name;
}

void check_headers(const Checkpoint& checkpoint, std::span<const TensorRow> table) {
  for (const TensorRow& row : table) checkpoint.check(name_in_files(checkpoint, row), row.source.shape);
}

std::vector<std::string> names_left_out(const Checkpoint& checkpoint, std::span<const TensorRow> table,
                                        const ModelSpec& spec) {
  std::set<std::string> known;
  for (const TensorRow& row : table) known.insert(name_in_files(checkpoint, row));
  std::vector<std::string> names;
  for (const auto& [name, entry] : checkpoint.tensors()) {
    const bool tied_copy = spec.tied_head && (name == "lm_head.weight" || name == "embed_out.weight");
    if (!known.contains(name) && !is_known_buffer(name) && !tied_copy) names.push_back(name);
  }
  return names;
}

uint64_t bytes_to_read(const Checkpoint& checkpoint, std::span<const TensorRow> table, const ModelSpec& spec,
                       const RankShard& shard) {
  uint64_t bytes = 0;
  for (const TensorRow& row : table) {
    const TensorEntry* entry = checkpoint.find(name_in_files(checkpoint, row));
    if (entry == nullptr) continue;
    const Slice slice = source_slice(row, shard_slice(row, spec, shard));
    const auto size = static_cast<uint64_t>(row.source.shape[static_cast<size_t>(slice.dim)]);
    if (size > 0) bytes += entry->bytes.size() / size * static_cast<uint64_t>(slice.size());
  }
  return bytes;
}

}  // namespace evalmpi::model
