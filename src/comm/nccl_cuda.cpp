#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "evalmpi/base/error.h"
#include "nccl_library.h"

namespace evalmpi::comm {
namespace {

static_assert(sizeof(ncclUniqueId) == std::tuple_size_v<NcclLibrary::Id>);

ncclComm_t comm_of(NcclLibrary::Link link) { return static_cast<ncclComm_t>(link); }

void check_cuda(cudaError_t code, const char* call) {
  if (code != cudaSuccess) fail(ExitCode::kUnavailable, "{}: {}", call, cudaGetErrorString(code));
}

// A call on a link that does not block may say that it is under way; state() follows it up.
void check_nccl(ncclResult_t code, const char* call, ncclComm_t comm = nullptr) {
  if (code == ncclSuccess || code == ncclInProgress) return;
  const char* more = comm != nullptr ? ncclGetLastError(comm) : "";
  fail(ExitCode::kUnavailable, "{}: {} {}; NCCL_DEBUG=WARN tells more, and --host-staged works without NCCL", call,
       ncclGetErrorString(code), more);
}

// While another thread records a graph, CUDA takes calls like these for a fault of the recording unless it is told
// otherwise.
class BesideRecordings {
 public:
  BesideRecordings() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  BesideRecordings(const BesideRecordings&) = delete;
  BesideRecordings& operator=(const BesideRecordings&) = delete;
  ~BesideRecordings() { cudaThreadExchangeStreamCaptureMode(&mode_); }

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

// Events of one device, made once and used again.
class Events {
 public:
  cudaEvent_t take() {
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        const cudaEvent_t event = free_.back();
        free_.pop_back();
        return event;
      }
    }
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
    return event;
  }
  void give_back(cudaEvent_t event) noexcept {
    const std::lock_guard lock(mutex_);
    free_.push_back(event);
  }

 private:
  std::mutex mutex_;
  std::vector<cudaEvent_t> free_;  // never destroyed: the driver may be gone before us
};

class EventMark final : public NcclLibrary::Mark {
 public:
  EventMark(Events& events, cudaStream_t stream) : events_(events), event_(events.take()) {
    check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord");
  }
  ~EventMark() override { events_.give_back(event_); }
  // Any other answer than "not yet" counts as reached: an error of the device shows where its results are fetched.
  bool reached() override {
    const BesideRecordings beside;
    return cudaEventQuery(event_) != cudaErrorNotReady;
  }

 private:
  Events& events_;
  cudaEvent_t event_;
};

class Nccl final : public NcclLibrary {
 public:
  Id make_id() override {
    ncclUniqueId id;
    check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    Id bytes;
    std::memcpy(bytes.data(), &id, bytes.size());
    return bytes;
  }

  Link connect(const Id& bytes, int size, int rank) override {
    ncclUniqueId id;
    std::memcpy(&id, bytes.data(), bytes.size());
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    check_nccl(ncclCommInitRankConfig(&comm, size, id, rank, &config), "ncclCommInitRankConfig");
    return comm;
  }

  State state(Link link) override {
    ncclResult_t code = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(comm_of(link), &code);
    if (asked != ncclSuccess) code = asked;
    if (code == ncclSuccess) return {Progress::kDone};
    if (code == ncclInProgress) return {Progress::kUnderWay};
    return {Progress::kFailed, std::string(ncclGetErrorString(code)) + " " + ncclGetLastError(comm_of(link))};
  }

  void abort(Link link) noexcept override { ncclCommAbort(comm_of(link)); }

  void finish(Link link, std::chrono::milliseconds patience) noexcept override {
    const auto end = std::chrono::steady_clock::now() + patience;
    ncclResult_t code = ncclCommFinalize(comm_of(link));
    while (code == ncclInProgress && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (ncclCommGetAsyncError(comm_of(link), &code) != ncclSuccess) break;
    }
    if (code == ncclSuccess) {
      ncclCommDestroy(comm_of(link));
    } else {
      ncclCommAbort(comm_of(link));
    }
  }

  void exchange(Link link, std::span<const Part> sends, std::span<const Part> receives) override {
    const cudaStream_t stream = current_stream();
    check_nccl(ncclGroupStart(), "ncclGroupStart");
    for (const Part& part : sends) {
      check_nccl(ncclSend(part.data, part.bytes, ncclInt8, part.peer, comm_of(link), stream), "ncclSend",
                 comm_of(link));
    }
    for (const Part& part : receives) {
      check_nccl(ncclRecv(part.data, part.bytes, ncclInt8, part.peer, comm_of(link), stream), "ncclRecv",
                 comm_of(link));
    }
    check_nccl(ncclGroupEnd(), "ncclGroupEnd", comm_of(link));
  }

  void all_gather(Link link, const void* mine, void* all, size_t bytes) override {
    check_nccl(ncclAllGather(mine, all, bytes, ncclInt8, comm_of(link), current_stream()), "ncclAllGather",
               comm_of(link));
  }

  void sum(Link link, const float* x, float* out, size_t count) override {
    check_nccl(ncclAllReduce(x, out, count, ncclFloat32, ncclSum, comm_of(link), current_stream()), "ncclAllReduce",
               comm_of(link));
  }

  std::unique_ptr<Mark> mark() override {
    const cudaStream_t stream = current_stream();
    cudaStreamCaptureStatus recording = cudaStreamCaptureStatusNone;
    check_cuda(cudaStreamIsCapturing(stream, &recording), "cudaStreamIsCapturing");
    if (recording != cudaStreamCaptureStatusNone) return nullptr;
    const BesideRecordings beside;
    return std::make_unique<EventMark>(events_of_device(), stream);
  }

 private:
  static cudaStream_t current_stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

  Events& events_of_device() {
    int device = 0;
    check_cuda(cudaGetDevice(&device), "cudaGetDevice");
    const std::lock_guard lock(mutex_);
    while (events_.size() <= static_cast<size_t>(device)) events_.push_back(std::make_unique<Events>());
    return *events_[device];
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Events>> events_;  // [device]
};

}  // namespace

std::shared_ptr<NcclLibrary> nccl_library() {
  static const auto library = std::make_shared<Nccl>();
  return library;
}

}  // namespace evalmpi::comm
