#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <optional>

#include "device_graph.h"

namespace evalmpi::engine {

struct DeviceGraph::State {
  c10::Device device;
  std::function<void()> work;
  std::optional<at::cuda::CUDAGraph> graph;  // none on a CPU
};

DeviceGraph::DeviceGraph(c10::Device device, std::function<void()> work)
    : state_(std::make_unique<State>(State{device, std::move(work), std::nullopt})) {
  if (!device.is_cuda()) {
    state_->work();
    return;
  }
  const c10::cuda::CUDAGuard on_device(device);
  // What is recorded must be on another stream than the default one, after all that was started there.
  c10::cuda::getCurrentCUDAStream().synchronize();
  state_->graph.emplace();
  {
    const c10::cuda::CUDAStreamGuard on_stream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index()));
    // Other threads' calls, of another place's loading say, are none of this recording's business.
    state_->graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    state_->work();
    state_->graph->capture_end();
  }
  state_->graph->replay();
}

DeviceGraph::~DeviceGraph() = default;

void DeviceGraph::replay() {
  if (!state_->graph) return state_->work();
  const c10::cuda::CUDAGuard on_device(state_->device);
  state_->graph->replay();
}

}  // namespace evalmpi::engine
