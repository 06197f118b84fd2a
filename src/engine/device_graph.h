#pragma once

// Work on a device that is recorded once and then started as a whole: a step of generation is a few hundred kernels,
// each shorter than the call that starts it. Where there is no such thing, on a CPU, the work is simply done again.

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace evalmpi::engine {

class DeviceGraph {
 public:
  // `work` reads and writes tensors that stay where they are; it must have been done before, allocates nothing that
  // outlives it but what it stores, and does not wait for the device. Does it once.
  DeviceGraph(c10::Device device, std::function<void()> work);
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;
  ~DeviceGraph();

  // Starts the work again with what the tensors hold by then.
  void replay();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace evalmpi::engine
