#pragma once

// The CUDA tensors of a group of places on different devices.

#include <ATen/core/Tensor.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "backend.h"
#include "nccl_library.h"

namespace evalmpi::comm {

class NcclWatch;

// One per member, beside the group's backend; used by one thread at a time.
class NcclGroup {
 public:
  struct Options {
    std::chrono::milliseconds deadline =
        std::chrono::minutes(5);  // for one verb, from the end of the one before; zero: none
    std::chrono::milliseconds period = std::chrono::milliseconds(200);  // between two looks at what is under way
    bool fast_reduce = false;
    int world_rank = 0;
    std::string host = {};
    // Told once, from any thread, when a peer is gone, NCCL fails or a verb is over its deadline. `turn`: how many
    // living members come before this one, so that one speaks for all. When it returns, what is under way is aborted,
    // and then tensors hold anything: a program that goes on must not use them.
    std::function<void(const std::string& why, int turn)> on_failure = [](const std::string&, int) {};
  };

  // `host` is this member's part of the same group and outlives this.
  NcclGroup(std::shared_ptr<NcclLibrary> library, Backend& host, Options options);
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;
  ~NcclGroup();

  // COLLECTIVE, as Communicator's verbs of these names: put on the current stream of x's device, which they do not wait
  // for. The first one connects the members. FAILS: kUnavailable as described for on_failure.
  at::Tensor all_reduce_sum(const at::Tensor& x);
  at::Tensor all_gather(const at::Tensor& x);

 private:
  NcclWatch& connected();
  at::Tensor sum_of_all(const at::Tensor& x);
  at::Tensor sum_by_slices(const at::Tensor& x);

  std::shared_ptr<NcclLibrary> library_;
  Backend& host_;
  Options options_;
  std::unique_ptr<NcclWatch> watch_;  // null until the first verb
};

}  // namespace evalmpi::comm
