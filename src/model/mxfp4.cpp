#include "mxfp4.h"

#include <ATen/ops/empty.h>
#include <c10/util/BFloat16.h>

#include <cmath>
#include <limits>

#include "evalmpi/base/error.h"

namespace evalmpi::model {
namespace {

constexpr const char* kBlocks = "_blocks";
constexpr int kNoScale = 255;

constexpr float kValues[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                               -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

float scale_of(uint8_t byte) {
  return byte == kNoScale ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, byte - 127);
}

// Columns [begin, end) of one row.
void widen_row(const uint8_t* blocks, const uint8_t* scales, const Range& columns, c10::BFloat16* out) {
  for (int64_t i = columns.begin; i < columns.end; ++i) {
    const uint8_t pair = blocks[i / 2];
    const float value = kValues[i % 2 == 0 ? pair & 15 : pair >> 4];
    *out++ = c10::BFloat16(value * scale_of(scales[i / kMxfp4Block]));
  }
}

}  // namespace

std::string mxfp4_scales_name(const std::string& blocks_name) {
  return blocks_name.substr(0, blocks_name.size() - std::string_view(kBlocks).size()) + "_scales";
}

void check_mxfp4(const Checkpoint& checkpoint, const std::string& blocks_name, const TensorRow& row) {
  const std::vector<int64_t>& shape = row.source.shape;
  checkpoint.check(blocks_name, shape, "U8");
  checkpoint.check(mxfp4_scales_name(blocks_name), {shape.begin(), shape.end() - 1}, "U8");
}

at::Tensor read_mxfp4(const Checkpoint& checkpoint, const std::string& blocks_name, const TensorRow& row,
                      const Slice& slice) {
  check_mxfp4(checkpoint, blocks_name, row);
  const std::vector<int64_t>& shape = row.source.shape;
  const int64_t rows = shape[1], row_blocks = shape[2];
  const int64_t matrix_blocks = slice.index * rows * row_blocks;
  const auto* blocks =
      reinterpret_cast<const uint8_t*>(checkpoint.find(blocks_name)->bytes.data()) + matrix_blocks * kMxfp4Block / 2;
  const auto* scales =
      reinterpret_cast<const uint8_t*>(checkpoint.find(mxfp4_scales_name(blocks_name))->bytes.data()) + matrix_blocks;
  const Slice all = {.dim = 0, .ranges = {{0, rows}}};
  const Slice& chosen = slice.dim == 0 ? slice : all;
  const std::vector<Range> columns = slice.dim == 1 ? slice.ranges : std::vector<Range>{{0, row_blocks * kMxfp4Block}};
  int64_t width = 0;
  for (const Range& range : columns) width += range.size();
  at::Tensor out = at::empty({chosen.size(), width}, at::kBFloat16);
  c10::BFloat16* to = out.mutable_data_ptr<c10::BFloat16>();
  for (const Range& range : chosen.ranges) {
    for (int64_t i = range.begin; i < range.end; i += chosen.step) {
      for (const Range& part : columns) {
        widen_row(blocks + i * row_blocks * kMxfp4Block / 2, scales + i * row_blocks, part, to);
        to += part.size();
      }
    }
  }
  checkpoint.count_read(static_cast<uint64_t>(out.numel() / 2 + out.numel() / kMxfp4Block));
  return out;
}

}  // namespace evalmpi::model
