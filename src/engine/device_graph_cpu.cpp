// A build without CUDA.
#include "device_graph.h"

namespace evalmpi::engine {

struct DeviceGraph::State {
  std::function<void()> work;
};

DeviceGraph::DeviceGraph(c10::Device, std::function<void()> work)
    : state_(std::make_unique<State>(State{std::move(work)})) {
  state_->work();
}

DeviceGraph::~DeviceGraph() = default;

void DeviceGraph::replay() { state_->work(); }

}  // namespace evalmpi::engine
