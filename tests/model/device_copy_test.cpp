#include "device_copy.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <vector>

namespace evalmpi::model {
namespace {

// A contiguous tensor put together from its pieces; every element is written once.
at::Tensor from_pieces(const at::Tensor& host, at::ScalarType type, int64_t buffer_bytes) {
  at::Tensor result = at::full({host.numel()}, -1, type);
  for_each_piece(host, type, buffer_bytes, [&](const at::Tensor& piece, int64_t first) {
    const at::Tensor place = result.narrow(0, first, piece.numel());
    EXPECT_TRUE(place.eq(-1).all().item<bool>()) << "written twice";
    place.copy_(piece.reshape({-1}));
  });
  return result.view(host.sizes());
}

std::vector<at::Tensor> tensors() {
  const at::Tensor whole = at::arange(0, 7 * 11, at::kFloat).view({7, 11});
  return {whole,
          whole.narrow(1, 3, 5),
          whole.t(),
          whole.select(0, 2),
          whole.narrow(0, 1, 0),
          whole.narrow(1, 4, 0),
          whole.view({-1})};
}

TEST(Pieces, cover_every_element_once_whatever_the_strides) {
  for (const at::Tensor& host : tensors()) {
    for (const int64_t buffer_bytes : {1, 4, 24, 50, 100'000}) {
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        EXPECT_TRUE(from_pieces(host, type, buffer_bytes).equal(host.to(type))) << host.sizes() << buffer_bytes;
      }
    }
  }
}

TEST(Pieces, keep_to_the_buffer) {
  const at::Tensor strided = at::empty({100, 40}, at::kFloat).narrow(1, 0, 30);
  int64_t pieces = 0;
  for_each_piece(strided, at::kBFloat16, 7 * 60, [&](const at::Tensor& piece, int64_t first) {
    EXPECT_EQ(first, pieces * 7 * 30);
    EXPECT_LE(piece.size(0), 7);
    ++pieces;
  });
  EXPECT_EQ(pieces, 15);
}

TEST(CopyToDevice, on_a_cpu_is_a_copy) {
  for (const at::Tensor& host : tensors()) {
    const at::Tensor copy = copy_to_device(host, at::kCPU, at::kBFloat16);
    EXPECT_TRUE(copy.is_contiguous());
    EXPECT_TRUE(copy.equal(host.to(at::kBFloat16)));
    EXPECT_TRUE(host.numel() == 0 || copy.const_data_ptr() != host.const_data_ptr());
  }
  release_staging();
}

}  // namespace
}  // namespace evalmpi::model
