#pragma once

// A group of places (or ranks) and the few things that they do together.
//
// Every verb blocks, and is COLLECTIVE unless it is point to point: all members call the same verbs in the same
// order. A communicator is used by one thread at a time; different communicators, also of the same members, are
// independent. A group of one is the ordinary case: no caller asks.
//
// Tensors on a CUDA device go over NCCL where the mesh has given the group a link (its places are on different
// devices), else through the host; the bits are the same. Over NCCL a verb is put on the current stream and does not
// wait for it.
//
// FAILS (all verbs): Error kUnavailable with MPI's words when MPI reports an error, or, between threads of one
// process, when another member has left the group or abandoned it; over NCCL, when a peer is gone or a verb over its
// deadline.

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace evalmpi::comm {

class Backend;
class NcclGroup;

enum class Reduce { kSum, kMax, kMin };

class Communicator final {
 public:
  // The group of one.
  static Communicator self();

  // A group of `size` places of this process: element i is for the thread that drives place i. When one of them is
  // destroyed or abandons the group while others wait for it, these get an Error instead of waiting for ever.
  static std::vector<Communicator> threads(int size);

  // Passes everything on to `inner` and appends the name of each verb called to *verbs (for tests).
  static Communicator recording(Communicator inner, std::shared_ptr<std::vector<std::string>> verbs);

  explicit Communicator(std::unique_ptr<Backend> backend);  // used by the factories in src/comm
  Communicator(std::unique_ptr<Backend> backend, std::unique_ptr<NcclGroup> devices);
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;
  ~Communicator();

  int rank() const;  // 0 <= rank < size
  int size() const;

  void barrier();

  // `data` has the same length on all members; afterwards root's bytes are in all of them.
  void broadcast(std::span<std::byte> data, int root);
  // Root's text, whose length travels too; what the others pass is ignored.
  std::string broadcast_bytes(std::string text, int root);

  // The sum of x over all members, a new tensor of the same shape. x: float32 on any device, any strides, the same
  // shape on all members; not seen by autograd. Each element is ((x_0 + x_1) + x_2) + ... in float32 in the order of
  // ranks, so the bits are the same on all backends, hosts and arrangements of the members. Size 1 returns x itself.
  at::Tensor all_reduce_sum(const at::Tensor& x);

  // One number per member; a double sum is formed in the order of ranks.
  int64_t all_reduce(int64_t value, Reduce how);
  double all_reduce(double value, Reduce how);

  // x of the same shape and dtype from all members (any device and dtype) -> [size, ...x.shape] in the order of ranks.
  at::Tensor all_gather(const at::Tensor& x);
  // Byte strings of any lengths, in the order of ranks, on all members.
  std::vector<std::string> all_gather(std::string_view mine);
  // The same on root only; the others get an empty vector.
  std::vector<std::string> gather(std::string_view mine, int root);

  // Point to point. 0 <= tag < 2^15. Messages of one sender with one tag arrive in their order. send may
  // wait until the receiver has come to its receive.
  void send(std::string_view bytes, int to, int tag);
  std::string receive(int from, int tag);

  // Members with the same color >= 0 form a new group, ranked by (key, rank here). It has no link of NCCL.
  Communicator split(int color, int key);
  // A second, independent group of the same members (for another thread).
  Communicator duplicate();

  // NOT collective: this member will not take part any more, because of `why`. Between threads of one process the
  // others' waiting and later calls then throw an Error that quotes it. Between processes it does nothing:
  // there Session::abort ends the job.
  void abandon(std::string_view why) noexcept;

  Backend& backend() { return *backend_; }  // for src/comm only

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<NcclGroup> devices_;  // null: tensors on a device go through the host
};

}  // namespace evalmpi::comm
