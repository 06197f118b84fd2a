#pragma once

// What a group of CUDA devices needs of NCCL and of the CUDA runtime. An interface, so that tests can put another
// library in its place.

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace evalmpi::comm {

class NcclLibrary {
 public:
  using Link = void*;  // a member's connection to the others (ncclComm_t)
  using Id = std::array<std::byte, 128>;
  enum class Progress { kDone, kUnderWay, kFailed };
  struct State {
    Progress progress = Progress::kDone;
    std::string why = {};  // kFailed: NCCL's words
  };
  // What goes to a peer or comes from it.
  struct Part {
    void* data = nullptr;
    size_t bytes = 0;
    int peer = 0;
  };
  // A point in a device's queue of work.
  class Mark {
   public:
    virtual ~Mark() = default;
    virtual bool reached() = 0;  // any thread
  };

  virtual ~NcclLibrary() = default;

  // Made by one member for all of one group, and used once.
  virtual Id make_id() = 0;
  // Begins to connect, on the calling thread's current device; state() tells when that is done.
  virtual Link connect(const Id& id, int size, int rank) = 0;
  virtual State state(Link link) = 0;  // any thread
  // Ends what is under way, here and not at the peers; nothing may use the link afterwards. Any thread.
  virtual void abort(Link link) noexcept = 0;
  // The planned end, which all members come to; aborts when they do not within `patience`.
  virtual void finish(Link link, std::chrono::milliseconds patience) noexcept = 0;

  // These put work on the current stream of the calling thread and do not wait for it. Until state() is kDone again no
  // other may be called.
  virtual void exchange(Link link, std::span<const Part> sends, std::span<const Part> receives) = 0;
  virtual void all_gather(Link link, const void* mine, void* all, size_t bytes) = 0;
  virtual void sum(Link link, const float* x, float* out, size_t count) = 0;  // in NCCL's order of addition
  // Behind all work on that stream; null while the stream records a graph.
  virtual std::unique_ptr<Mark> mark() = 0;
};

// NCCL; null in a build without CUDA.
std::shared_ptr<NcclLibrary> nccl_library();

}  // namespace evalmpi::comm
