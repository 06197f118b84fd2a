#include "numerics.h"

#include <fmt/format.h>

#include "evalmpi/base/error.h"
#include "evalmpi/ops/head.h"

namespace evalmpi::eval {

model::DType product_type(const EvalOptions& options, const model::ModelSpec& spec, device::Kind kind) {
  const std::string& dtype = options.dtype;
  if (kind == device::Kind::kCpu && dtype != "auto" && dtype != "float32") {
    fail(ExitCode::kUsage,
         "--dtype {}: a CPU computes in float32 only, so that all hosts agree (and {} arithmetic is hundreds of times "
         "slower there); checkpoints in {} are kept as they are in memory. Leave the option out, or say float32",
         dtype, dtype, dtype);
  }
  if (kind == device::Kind::kCpu || dtype == "float32") return model::DType::kFloat32;
  if (dtype == "auto") return spec.source_dtype;
  return dtype == "bfloat16" ? model::DType::kBFloat16 : model::DType::kFloat16;
}

std::string numerics_class(const device::Device& device, const Arithmetic& arithmetic, int tp, int pp) {
  if (device.kind == device::Kind::kCpu) return fmt::format("{} float32 tp{} pp{}", ops::cpu_kernel_class(), tp, pp);
  return fmt::format("{} on {}, {} multiprocessors of {}.{}, {} tp{} pp{}{}{}", ops::cuda_kernel_class(), device.name,
                     device.multiprocessors, device.compute_capability / 10, device.compute_capability % 10,
                     model::name_of(arithmetic.product_type), tp, pp, arithmetic.fast_kernels ? " fast-kernels" : "",
                     arithmetic.fast_reduce ? " fast-reduce" : "");
}

std::string class_of_split_chunks(const std::string& numerics_class) {
  return numerics_class + ", in smaller steps for lack of memory";
}

std::string class_in_words(const Json& header, const Hash128& of_record) {
  const std::string whole = header.value("numerics_class", of_record.hex());
  const std::string split = class_of_split_chunks(whole);
  return hash128(split) == of_record ? split : whole;
}

}  // namespace evalmpi::eval
