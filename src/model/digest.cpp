#include <algorithm>
#include <atomic>
#include <string_view>
#include <thread>
#include <vector>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/weights.h"

namespace evalmpi::model {
namespace {

constexpr size_t kBlockBytes = size_t{64} << 20;

struct Block {
  const MappedFile* file;
  std::string_view bytes;
  Hash128 hash;
};

// Each thread takes the next block that nobody has.
void hash_blocks(std::vector<Block>& blocks, int threads) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < blocks.size(); i = next++) {
      blocks[i].hash = hash128(blocks[i].bytes);
      blocks[i].file->forget(blocks[i].bytes);
    }
  };
  const size_t helpers = std::min(blocks.size(), static_cast<size_t>(std::max(threads, 1))) - (blocks.empty() ? 0 : 1);
  std::vector<std::jthread> team;
  for (size_t i = 0; i < helpers; ++i) team.emplace_back(work);
  work();
}

}  // namespace

Hash128 model_digest(const std::filesystem::path& folder, int threads) {
  const std::string config = read_file(folder / "config.json", uint64_t{16} << 20);
  const Checkpoint checkpoint(folder);
  std::vector<MappedFile> maps;
  maps.reserve(checkpoint.files().size());  // blocks point into it
  std::vector<Block> blocks;
  Hasher hasher;
  hasher.add(std::string_view("evalmpi model 1")).add(config).add(checkpoint.files().size());
  for (const std::filesystem::path& path : checkpoint.files()) {
    maps.emplace_back(path);
    const std::string_view bytes = maps.back().bytes();
    hasher.add(bytes.size());
    for (size_t begin = 0; begin < bytes.size(); begin += kBlockBytes) {
      blocks.push_back({&maps.back(), bytes.substr(begin, kBlockBytes), {}});
    }
  }
  hash_blocks(blocks, threads);
  for (const Block& block : blocks) hasher.add(block.hash);
  return hasher.finish();
}

}  // namespace evalmpi::model
