#include <cuda_runtime_api.h>

#include <array>
#include <cstdlib>

#include "cuda_problem.h"
#include "evalmpi/base/error.h"
#include "evalmpi/device/devices.h"
#include "visible.h"

namespace evalmpi::device {
namespace {

CudaVersions versions() {
  CudaVersions versions;
  if (cudaDriverGetVersion(&versions.driver) != cudaSuccess) versions.driver = 0;
  if (cudaRuntimeGetVersion(&versions.runtime) != cudaSuccess) versions.runtime = CUDART_VERSION;
  return versions;
}

std::string problem(cudaError_t error) {
  const std::string words = cuda_problem(static_cast<int>(error), cudaGetErrorString(error), versions());
  if (error != cudaErrorNoDevice) return words;
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return words + ": " + explain_visible_devices(visible ? std::optional<std::string>(visible) : std::nullopt);
}

void check(cudaError_t error, int index, std::string_view what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // the next call shall not meet it again
  fail(ExitCode::kUnavailable, "CUDA device {}, {}: {}", index, what, problem(error));
}

// Visible devices, and what CUDA said when there are none.
struct Count {
  int devices = 0;
  cudaError_t error = cudaSuccess;
};

Count count_devices() {
  Count count;
  count.error = cudaGetDeviceCount(&count.devices);
  if (count.error != cudaSuccess) {
    count.devices = 0;
    cudaGetLastError();
  }
  return count;
}

// The driver's second version of this call names the MIG instance; the runtime's properties name the whole device.
cudaUUID_t uuid_of(int index, const cudaDeviceProp& properties) {
  using GetUuid = int (*)(cudaUUID_t*, int);
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  cudaUUID_t uuid = properties.uuid;
  if (cudaGetDriverEntryPointByVersion("cuDeviceGetUuid", &entry, 11040, cudaEnableDefault, &found) == cudaSuccess &&
      found == cudaDriverEntryPointSuccess && reinterpret_cast<GetUuid>(entry)(&uuid, index) != 0) {
    uuid = properties.uuid;
  }
  return uuid;
}

std::string identity_of(int index, const cudaDeviceProp& properties) {
  const cudaUUID_t uuid = uuid_of(index, properties);
  std::string text = "GPU-";
  bool is_zero = true;
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    text += fmt::format("{:02x}", byte);
    is_zero = is_zero && byte == 0;
  }
  if (!is_zero) return text;
  std::array<char, 64> bus{};  // some virtual machines hide the UUID
  check(cudaDeviceGetPCIBusId(bus.data(), bus.size(), index), index, "asking for its PCI address");
  return fmt::format("PCI-{}", bus.data());
}

}  // namespace

std::vector<Device> local_devices() {
  std::vector<Device> devices = {local_cpu()};
  const Count count = count_devices();
  if (count.error != cudaSuccess && !means_no_device(count.error, versions())) {
    fail(ExitCode::kUnavailable, "the CUDA devices cannot be used: {}; --device cpu works without them",
         problem(count.error));
  }
  for (int index = 0; index < count.devices; ++index) {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, index), index, "asking for its properties");
    devices.push_back({.kind = Kind::kCuda,
                       .index = index,
                       .name = properties.name,
                       .memory_bytes = static_cast<int64_t>(properties.totalGlobalMem),
                       .multiprocessors = properties.multiProcessorCount,
                       .compute_capability = properties.major * 10 + properties.minor,
                       .identity = identity_of(index, properties)});
  }
  return devices;
}

std::string no_cuda_reason() { return problem(count_devices().error); }

void bind(const Device& device) {
  if (device.kind != Kind::kCuda) return;
  if (const std::string why = capability_problem(device.compute_capability, EVALMPI_CUDA_ARCHITECTURES); !why.empty()) {
    fail(ExitCode::kUnavailable, "CUDA device {} ({}): {}", device.index, device.name, why);
  }
  check(cudaSetDevice(device.index), device.index, device.name);
  check(cudaFree(nullptr), device.index, device.name);  // makes the context
}

}  // namespace evalmpi::device
