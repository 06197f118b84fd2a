#include "evalmpi/ops/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <thread>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/threads.h"
#include "kernel_test.h"

namespace evalmpi::ops {
namespace {

std::vector<double> product(const at::Tensor& x_TK, const at::Tensor& weight_NK, const at::Tensor& bias_N) {
  const int64_t rows = x_TK.size(0), depth = x_TK.size(1), columns = weight_NK.size(0);
  const auto x = values(x_TK), w = values(weight_NK);
  std::vector<double> y;
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t n = 0; n < columns; ++n) {
      double sum = 0.0;
      for (int64_t k = 0; k < depth; ++k) sum += double{x[t * depth + k]} * w[n * depth + k];
      y.push_back(sum + (bias_N.defined() ? values(bias_N)[n] : 0.0));
    }
  return y;
}

// The contract, word for word: blocks of 256 terms, each one chain of fused multiply-adds, added in order.
float contract(const float* x, const float* w, int64_t depth) {
  float total = 0.0f;
  for (int64_t begin = 0; begin < depth; begin += 256) {
    float chain = 0.0f;
    for (int64_t k = begin; k < std::min(begin + 256, depth); ++k) chain = std::fma(x[k], w[k], chain);
    total = begin == 0 ? chain : total + chain;
  }
  return total;
}

struct Shape {
  int64_t rows, columns, depth;
};
const Shape kShapes[] = {{1, 7, 301},   {1, 1, 1},    {3, 16, 256}, {14, 32, 257}, {15, 33, 512}, {29, 64, 64},
                         {70, 100, 80}, {2, 65, 600}, {7, 129, 5},  {337, 20, 40}, {41, 48, 768}};

TEST(Linear, agrees_with_double_precision) {
  for (const Shape& s : kShapes) {
    const at::Tensor x = random_tensor({s.rows, s.depth}, 1), w = random_tensor({s.columns, s.depth}, 2);
    for (const at::Tensor& bias : {at::Tensor(), random_tensor({s.columns}, 3)}) {
      const at::Tensor y = on_every_variant([&] { return linear(x, PackedLinear::pack(w), bias); });
      EXPECT_EQ(y.sizes(), at::IntArrayRef({s.rows, s.columns}));
      EXPECT_TRUE(near(values(y), product(x, w, bias), 1e-6 * std::sqrt(s.depth) + 1e-6))
          << s.rows << " x " << s.columns << " x " << s.depth;
    }
  }
}

TEST(Linear, is_the_ordered_sum_of_chains_of_256) {
  for (const Shape& s : kShapes) {
    const at::Tensor x = random_tensor({s.rows, s.depth}, 4), w = random_tensor({s.columns, s.depth}, 5);
    const at::Tensor y = linear(x, PackedLinear::pack(w), {});
    for (int64_t t = 0; t < s.rows; ++t)
      for (int64_t n = 0; n < s.columns; ++n)
        ASSERT_EQ(bits(values(y)[t * s.columns + n]),
                  bits(contract(&values(x)[t * s.depth], &values(w)[n * s.depth], s.depth)));
  }
}

TEST(Linear, a_row_does_not_depend_on_its_neighbours) {
  const at::Tensor x = random_tensor({70, 301}, 6);
  const PackedLinear w = PackedLinear::pack(random_tensor({85, 301}, 7));
  const at::Tensor bias = random_tensor({85}, 8);
  const at::Tensor all = linear(x, w, bias);
  for (int64_t count = 1; count <= 70; ++count)
    for (int64_t begin : {int64_t{0}, 70 - count, (70 - count) / 2})
      ASSERT_TRUE(same_bits(linear(x.narrow(0, begin, count), w, bias), all.narrow(0, begin, count)))
          << count << " rows from " << begin;
}

TEST(Linear, threads_do_not_change_bits) {
  const at::Tensor x = random_tensor({50, 400}, 9);
  const PackedLinear w = PackedLinear::pack(random_tensor({1000, 400}, 10));
  const at::Tensor alone = linear(x, w, {});
  for (int threads : {2, 3, 1}) {
    const LentCores helpers(threads - 1);
    for (int repeat = 0; repeat < 20; ++repeat) EXPECT_TRUE(same_bits(linear(x, w, {}), alone));
  }
  std::vector<std::thread> lanes;
  for (int i = 0; i < 2; ++i)
    lanes.emplace_back([&] {
      const LentCores mine(1);
      for (int repeat = 0; repeat < 20; ++repeat) EXPECT_TRUE(same_bits(linear(x, w, {}), alone));
    });
  for (std::thread& lane : lanes) lane.join();
}

TEST(Linear, sixteen_bit_weights_equal_their_float32_values) {
  for (const Shape& s : kShapes)
    for (at::ScalarType type : {at::kBFloat16, at::kHalf}) {
      const at::Tensor x = random_tensor({s.rows, s.depth}, 11);
      const at::Tensor w = random_tensor({s.columns, s.depth}, 12, 1e-2f).to(type);
      const PackedLinear narrow = PackedLinear::pack(w), wide = PackedLinear::pack(w.to(at::kFloat));
      EXPECT_EQ(narrow.bytes() * 2, wide.bytes());
      const at::Tensor y = on_every_variant([&] { return linear(x, narrow, {}); });
      EXPECT_TRUE(same_bits(y, linear(x, wide, {})));
    }
}

TEST(Linear, every_half_precision_number_is_widened_exactly) {
  const at::Tensor all = at::empty({65536, 1}, at::kHalf);
  uint16_t* bits_of_all = static_cast<uint16_t*>(all.mutable_data_ptr());
  for (int i = 0; i < 65536; ++i) bits_of_all[i] = static_cast<uint16_t>(i);
  const at::Tensor one = at::empty({1, 1}, at::kFloat).fill_(1.0);
  const at::Tensor want = all.to(at::kFloat);
  for_each_variant([&] {
    const at::Tensor got = linear(one, PackedLinear::pack(all), {});
    for (int i = 0; i < 65536; ++i) {
      const float g = values(got)[i], w = values(want)[i];
      ASSERT_TRUE(g == w || (std::isnan(g) && std::isnan(w))) << i;
    }
  });
}

TEST(Linear, empty_shards_are_legal) {
  const at::Tensor bias = random_tensor({5}, 13);
  const at::Tensor x = random_tensor({3, 4}, 14);
  EXPECT_EQ(linear(x, PackedLinear::pack(random_tensor({0, 4}, 1)), {}).sizes(), at::IntArrayRef({3, 0}));
  EXPECT_EQ(linear(x.narrow(0, 0, 0), PackedLinear::pack(random_tensor({5, 4}, 1)), {}).sizes(),
            at::IntArrayRef({0, 5}));
  const PackedLinear no_terms = PackedLinear::pack(random_tensor({5, 0}, 1));
  const at::Tensor none = random_tensor({3, 0}, 1);
  EXPECT_TRUE(same_bits(linear(none, no_terms, {}), at::empty({3, 5}, at::kFloat).fill_(0.0)));
  EXPECT_TRUE(same_bits(linear(none, no_terms, bias), bias.expand({3, 5})));
}

TEST(Linear, strided_weights_and_infinities) {
  const at::Tensor w = random_tensor({40, 30}, 15);
  at::Tensor x = random_tensor({4, 40}, 16);
  EXPECT_TRUE(
      same_bits(linear(x, PackedLinear::pack(w.t()), {}), linear(x, PackedLinear::pack(w.t().contiguous()), {})));
  const at::Tensor clean = linear(x, PackedLinear::pack(w.t()), {});
  x.mutable_data_ptr<float>()[40] = std::nanf("");
  const at::Tensor y = linear(x, PackedLinear::pack(w.t()), {});
  for (float v : values(y.narrow(0, 1, 1))) EXPECT_TRUE(std::isnan(v));
  EXPECT_TRUE(same_bits(y.narrow(0, 0, 1), clean.narrow(0, 0, 1)));
  EXPECT_TRUE(same_bits(y.narrow(0, 2, 2), clean.narrow(0, 2, 2)));
}

TEST(Linear, plain_tensors_go_through_aten_and_are_differentiable) {
  const at::Tensor x = random_tensor({6, 10}, 17);
  at::Tensor w = random_tensor({4, 10}, 18);
  const at::Tensor bias = random_tensor({4}, 19);
  EXPECT_TRUE(near(values(linear(x, w, bias)), product(x, w, bias), 1e-5));
  EXPECT_EQ(linear(x.to(at::kBFloat16), w, bias).scalar_type(), at::kBFloat16);
  w.requires_grad_(true);
  linear(x, w, bias).sum().backward();
  const at::Tensor column_sums = x.sum(0);
  for (int64_t n = 0; n < 4; ++n)
    for (int64_t k = 0; k < 10; ++k)
      EXPECT_NEAR(values(w.grad().contiguous())[n * 10 + k], values(column_sums)[k], 1e-5);
}

TEST(KernelTables, the_environment_forces_one) {
  const char* before = std::getenv("EVALMPI_CPU_KERNELS");
  const std::string kept = before != nullptr ? before : "";
  for (const CpuKernels* table : available_kernels()) {
    setenv("EVALMPI_CPU_KERNELS", table->variant, 1);
    use_cpu_kernels("");
    EXPECT_STREQ(cpu_kernel_variant(), table->variant);
  }
  setenv("EVALMPI_CPU_KERNELS", "sse9", 1);
  try {
    use_cpu_kernels("");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_NE(std::string(error.what()).find("portable"), std::string::npos);
  }
  setenv("EVALMPI_CPU_KERNELS", kept.c_str(), 1);
  use_cpu_kernels("");
}

}  // namespace
}  // namespace evalmpi::ops
