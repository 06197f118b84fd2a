#include "numerics.h"

#include <gtest/gtest.h>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/head.h"

namespace evalmpi::eval {
namespace {

TEST(ProductType, is_the_checkpoints_on_a_gpu_and_float32_on_a_cpu) {
  using model::DType;
  model::ModelSpec spec;
  EvalOptions options;
  for (const DType source : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    spec.source_dtype = source;
    options.dtype = "auto";
    EXPECT_EQ(product_type(options, spec, device::Kind::kCuda), source);
    EXPECT_EQ(product_type(options, spec, device::Kind::kCpu), DType::kFloat32);
    options.dtype = "float32";
    EXPECT_EQ(product_type(options, spec, device::Kind::kCuda), DType::kFloat32);
    EXPECT_EQ(product_type(options, spec, device::Kind::kCpu), DType::kFloat32);
    options.dtype = "bfloat16";
    EXPECT_EQ(product_type(options, spec, device::Kind::kCuda), DType::kBFloat16);
    options.dtype = "float16";
    EXPECT_EQ(product_type(options, spec, device::Kind::kCuda), DType::kFloat16);
  }
  for (const char* dtype : {"bfloat16", "float16"}) {
    options.dtype = dtype;
    try {
      product_type(options, spec, device::Kind::kCpu);
      ADD_FAILURE() << dtype;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find(std::string("--dtype ") + dtype), std::string::npos) << error.what();
    }
  }
}

TEST(NumericsClass, of_a_cpu_is_its_kernels_and_the_layout) {
  const device::Device cpu = device::local_cpu();
  EXPECT_EQ(numerics_class(cpu, {}, 3, 1), std::string(ops::cpu_kernel_class()) + " float32 tp3 pp1");
  EXPECT_EQ(numerics_class(cpu, {.fast_kernels = true, .fast_reduce = true}, 3, 1), numerics_class(cpu, {}, 3, 1))
      << "they are of devices";
}

TEST(NumericsClass, of_a_record_is_found_by_its_hash) {
  const Json header = {{"numerics_class", "kernels float32 tp1 pp1"}};
  EXPECT_EQ(class_in_words(header, hash128("kernels float32 tp1 pp1")), "kernels float32 tp1 pp1");
  const std::string split = class_of_split_chunks("kernels float32 tp1 pp1");
  EXPECT_NE(split, "kernels float32 tp1 pp1");
  EXPECT_EQ(class_in_words(header, hash128(split)), split);
  EXPECT_EQ(class_in_words(Json::object(), Hash128{1, 2}), (Hash128{1, 2}.hex()));
}

}  // namespace
}  // namespace evalmpi::eval
