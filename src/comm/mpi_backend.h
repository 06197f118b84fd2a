#pragma once

#include <memory>
#include <vector>

#include "backend.h"
#include "mpi_calls.h"

namespace evalmpi::comm {

// One member per rank of `comm`, which it then owns. bytes_per_call bounds the count of each MPI call.
class MpiBackend final : public Backend {
 public:
  explicit MpiBackend(MPI_Comm comm, size_t bytes_per_call = kBytesPerCall);

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
  MPI_Comm comm() const { return group_.comm(); }

  void barrier() override;
  void broadcast(std::span<std::byte> data, int root) override;
  void all_gather_equal(std::span<const std::byte> mine, std::span<std::byte> all) override;
  std::vector<std::string> all_gather(std::string_view mine) override;
  std::vector<std::string> gather(std::string_view mine, int root) override;
  void ordered_sum(std::span<const float> x, std::span<float> out) override;
  void send(std::string_view bytes, int to, int tag) override;
  std::string receive(int from, int tag) override;
  std::unique_ptr<Backend> split(int color, int key) override;
  void abandon(std::string_view) noexcept override {}

  // Who adds what when a rank has several addends (mixed_backend.cpp).
  struct Addends {
    std::vector<int> count_of_rank;  // [rank]
    std::vector<size_t> order;       // [addend]: its number when those of rank 0, rank 1, ... are laid end to end
  };
  // out = x_order[0] + x_order[1] + ..., added in that order. mine: this rank's, each as long as out.
  void ordered_sum(const Addends& addends, std::span<const float* const> mine, std::span<float> out);

 private:
  std::vector<uint64_t> gather_lengths(std::string_view mine);
  void sum_all(const Addends& addends, std::span<const float* const> mine, std::span<float> out);
  void sum_by_slices(const Addends& addends, std::span<const float* const> mine, std::span<float> out);
  void add_received(const Addends& addends, std::span<float> out);

  MpiGroup group_;
  size_t bytes_per_call_;
  std::vector<float> packed_, received_;
};

// What a group of ranks stands on; MPI_COMM_NULL for a group that does not use MPI.
MPI_Comm mpi_comm_of(Backend& backend);

// Several members on several ranks. rank_of_member: a rank of `comm` for each member; every rank of comm has one or
// more. One thread per rank calls it, and `comm` belongs to the group afterwards. Returns this rank's members, in
// order, each for its own thread.
std::vector<std::unique_ptr<Backend>> make_mixed_backends(MPI_Comm comm, std::vector<int> rank_of_member,
                                                          size_t bytes_per_call = kBytesPerCall);

}  // namespace evalmpi::comm
