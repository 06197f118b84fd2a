#include "mpi_backend.h"

#include <algorithm>
#include <numeric>

namespace evalmpi::comm {
namespace {

// Up to here everybody gets everything and adds all of it: one exchange instead of two.
constexpr size_t kSmallSumBytes = 16 << 10;
// Longer sums go in blocks of this size, which bounds the memory for the others' parts.
constexpr size_t kSumBlockBytes = 64 << 20;

constexpr int kGatherTag = kTagLimit;  // no user's tag

// Byte strings laid end to end, as long together as one call may carry.
struct Joined {
  explicit Joined(const std::vector<uint64_t>& lengths) {
    int end = 0;
    for (const uint64_t length : lengths) {
      counts.push_back(static_cast<int>(length));
      begins.push_back(end);
      end += counts.back();
    }
    text.resize(end);
  }
  std::vector<std::string> parts() const {
    std::vector<std::string> parts;
    for (size_t i = 0; i < counts.size(); ++i) {
      parts.push_back(text.substr(begins[i], counts[i]));
    }
    return parts;
  }
  std::vector<int> counts, begins;
  std::string text;
};

// Counts and beginnings of what each rank gets or gives, laid end to end.
struct Pieces {
  void add(size_t elements) {
    counts.push_back(static_cast<int>(elements));
    begins.push_back(total);
    total += counts.back();
  }
  std::vector<int> counts, begins;
  int total = 0;
};

}  // namespace

MpiBackend::MpiBackend(MPI_Comm comm, size_t bytes_per_call) : group_(comm), bytes_per_call_(bytes_per_call) {}

void MpiBackend::barrier() { check_mpi(MPI_Barrier(comm()), "MPI_Barrier"); }

void MpiBackend::broadcast(std::span<std::byte> data, int root) {
  for (size_t begin = 0; begin < data.size(); begin += bytes_per_call_) {
    const int count = static_cast<int>(std::min(bytes_per_call_, data.size() - begin));
    check_mpi(MPI_Bcast(data.data() + begin, count, MPI_BYTE, root, comm()), "MPI_Bcast");
  }
}

void MpiBackend::all_gather_equal(std::span<const std::byte> mine, std::span<std::byte> all) {
  if (all.size() <= bytes_per_call_) {
    const int count = static_cast<int>(mine.size());
    check_mpi(MPI_Allgather(mine.data(), count, MPI_BYTE, all.data(), count, MPI_BYTE, comm()), "MPI_Allgather");
    return;
  }
  std::copy(mine.begin(), mine.end(), all.begin() + rank() * mine.size());
  for (int root = 0; root < size(); ++root) {
    broadcast(all.subspan(root * mine.size(), mine.size()), root);
  }
}

std::vector<uint64_t> MpiBackend::gather_lengths(std::string_view mine) {
  const uint64_t length = mine.size();
  std::vector<uint64_t> lengths(size());
  all_gather_equal(std::as_bytes(std::span(&length, 1)), std::as_writable_bytes(std::span(lengths)));
  return lengths;
}

std::vector<std::string> MpiBackend::all_gather(std::string_view mine) {
  const std::vector<uint64_t> lengths = gather_lengths(mine);
  if (std::reduce(lengths.begin(), lengths.end()) <= bytes_per_call_) {
    Joined all(lengths);
    check_mpi(MPI_Allgatherv(mine.data(), static_cast<int>(mine.size()), MPI_BYTE, all.text.data(), all.counts.data(),
                             all.begins.data(), MPI_BYTE, comm()),
              "MPI_Allgatherv");
    return all.parts();
  }
  std::vector<std::string> parts;
  for (int root = 0; root < size(); ++root) {
    parts.push_back(root == rank() ? std::string(mine) : std::string(lengths[root], '\0'));
    broadcast(std::as_writable_bytes(std::span(parts.back())), root);
  }
  return parts;
}

std::vector<std::string> MpiBackend::gather(std::string_view mine, int root) {
  const std::vector<uint64_t> lengths = gather_lengths(mine);
  if (std::reduce(lengths.begin(), lengths.end()) <= bytes_per_call_) {
    Joined all(rank() == root ? lengths : std::vector<uint64_t>());
    check_mpi(MPI_Gatherv(mine.data(), static_cast<int>(mine.size()), MPI_BYTE, all.text.data(), all.counts.data(),
                          all.begins.data(), MPI_BYTE, root, comm()),
              "MPI_Gatherv");
    return all.parts();
  }
  if (rank() != root) {
    send(mine, root, kGatherTag);
    return {};
  }
  std::vector<std::string> parts;
  for (int from = 0; from < size(); ++from) {
    parts.push_back(from == root ? std::string(mine) : receive(from, kGatherTag));
  }
  return parts;
}

void MpiBackend::send(std::string_view bytes, int to, int tag) {
  PendingSends sends(comm(), bytes_per_call_);
  sends.start(bytes, to, tag);
  sends.wait();
}

std::string MpiBackend::receive(int from, int tag) { return receive_bytes(comm(), from, tag, bytes_per_call_); }

std::unique_ptr<Backend> MpiBackend::split(int color, int key) {
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(comm(), color, key, &part), "MPI_Comm_split");
  return std::make_unique<MpiBackend>(part, bytes_per_call_);
}

void MpiBackend::ordered_sum(std::span<const float> x, std::span<float> out) {
  Addends one_each{std::vector<int>(size(), 1), std::vector<size_t>(size())};
  std::iota(one_each.order.begin(), one_each.order.end(), 0);
  const float* mine = x.data();
  ordered_sum(one_each, {&mine, 1}, out);
}

void MpiBackend::ordered_sum(const Addends& addends, std::span<const float* const> mine, std::span<float> out) {
  if (out.size_bytes() <= std::min(kSmallSumBytes, bytes_per_call_ / addends.order.size())) {
    sum_all(addends, mine, out);
    return;
  }
  const size_t block_bytes = std::min(kSumBlockBytes, bytes_per_call_) / addends.order.size();
  const size_t block = std::max<size_t>(1, block_bytes / sizeof(float) * size());
  std::vector<const float*> shifted(mine.begin(), mine.end());
  for (size_t begin = 0; begin < out.size(); begin += block) {
    const size_t count = std::min(block, out.size() - begin);
    sum_by_slices(addends, shifted, out.subspan(begin, count));
    for (const float*& addend : shifted) {
      addend += count;
    }
  }
}

// Everyone gets everybody's addends.
void MpiBackend::sum_all(const Addends& addends, std::span<const float* const> mine, std::span<float> out) {
  Pieces received;
  for (const int count : addends.count_of_rank) {
    received.add(count * out.size());
  }
  packed_.clear();
  for (const float* addend : mine) {
    packed_.insert(packed_.end(), addend, addend + out.size());
  }
  received_.resize(received.total);
  check_mpi(MPI_Allgatherv(packed_.data(), static_cast<int>(packed_.size()), MPI_FLOAT, received_.data(),
                           received.counts.data(), received.begins.data(), MPI_FLOAT, comm()),
            "MPI_Allgatherv");
  add_received(addends, out);
}

// Everyone gets its slice of everybody's addends, adds, and hands the sum out.
void MpiBackend::sum_by_slices(const Addends& addends, std::span<const float* const> mine, std::span<float> out) {
  const auto n = static_cast<int64_t>(out.size());
  const Slice own = slice_of(n, rank(), size());
  Pieces slices, sent, received;
  packed_.clear();
  for (int r = 0; r < size(); ++r) {
    const Slice slice = slice_of(n, r, size());
    slices.add(slice.size());
    sent.add(mine.size() * slice.size());
    received.add(addends.count_of_rank[r] * own.size());
    for (const float* addend : mine) {
      if (mine.size() > 1) {
        packed_.insert(packed_.end(), addend + slice.begin, addend + slice.end);
      }
    }
  }
  received_.resize(received.total);
  check_mpi(
      MPI_Alltoallv(mine.size() > 1 ? packed_.data() : mine.front(), sent.counts.data(), sent.begins.data(), MPI_FLOAT,
                    received_.data(), received.counts.data(), received.begins.data(), MPI_FLOAT, comm()),
      "MPI_Alltoallv");
  add_received(addends, out.subspan(own.begin, own.size()));
  check_mpi(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_FLOAT, out.data(), slices.counts.data(), slices.begins.data(),
                           MPI_FLOAT, comm()),
            "MPI_Allgatherv");
}

// received_ holds, for every addend, as many floats as out.
void MpiBackend::add_received(const Addends& addends, std::span<float> out) {
  std::vector<const float*> parts;
  for (const size_t number : addends.order) {
    parts.push_back(received_.data() + number * out.size());
  }
  add_in_order(parts, out);
}

MPI_Comm mpi_comm_of(Backend& backend) {
  const auto* mpi = dynamic_cast<const MpiBackend*>(&backend);
  return mpi ? mpi->comm() : MPI_COMM_NULL;
}

}  // namespace evalmpi::comm
