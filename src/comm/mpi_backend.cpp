#include "mpi_backend.h"

#include <algorithm>
#include <numeric>

namespace evalmpi::comm {
namespace {

// Up to here everybody gets everything and adds all of it: one exchange instead of two.
constexpr size_t kSmallSumBytes = 16 << 10;
// Longer sums go in blocks of this size, which bounds the memory for the others' parts.
constexpr size_t kSumBlockBytes = 64 << 20;

class MpiBackend final : public Backend {
 public:
  MpiBackend(MPI_Comm comm, size_t bytes_per_call) : group_(comm), bytes_per_call_(bytes_per_call) {}

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
  void barrier() override { check_mpi(MPI_Barrier(group_.comm()), "MPI_Barrier"); }

  void broadcast(std::span<std::byte> data, int root) override {
    for (size_t begin = 0; begin < data.size(); begin += bytes_per_call_) {
      const int count = static_cast<int>(std::min(bytes_per_call_, data.size() - begin));
      check_mpi(MPI_Bcast(data.data() + begin, count, MPI_BYTE, root, group_.comm()), "MPI_Bcast");
    }
  }

  void all_gather_equal(std::span<const std::byte> mine, std::span<std::byte> all) override {
    if (all.size() <= bytes_per_call_) {
      const int count = static_cast<int>(mine.size());
      check_mpi(MPI_Allgather(mine.data(), count, MPI_BYTE, all.data(), count, MPI_BYTE, group_.comm()),
                "MPI_Allgather");
      return;
    }
    std::copy(mine.begin(), mine.end(), all.begin() + rank() * mine.size());
    for (int root = 0; root < size(); ++root) {
      broadcast(all.subspan(root * mine.size(), mine.size()), root);
    }
  }

  std::vector<std::string> all_gather(std::string_view mine) override {
    const std::vector<uint64_t> lengths = gather_lengths(mine);
    if (std::reduce(lengths.begin(), lengths.end()) <= bytes_per_call_) {
      Joined all(lengths);
      check_mpi(MPI_Allgatherv(mine.data(), static_cast<int>(mine.size()), MPI_BYTE, all.text.data(), all.counts.data(),
                               all.begins.data(), MPI_BYTE, group_.comm()),
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

  std::vector<std::string> gather(std::string_view mine, int root) override {
    const std::vector<uint64_t> lengths = gather_lengths(mine);
    if (std::reduce(lengths.begin(), lengths.end()) <= bytes_per_call_) {
      Joined all(rank() == root ? lengths : std::vector<uint64_t>());
      check_mpi(MPI_Gatherv(mine.data(), static_cast<int>(mine.size()), MPI_BYTE, all.text.data(), all.counts.data(),
                            all.begins.data(), MPI_BYTE, root, group_.comm()),
                "MPI_Gatherv");
      return all.parts();
    }
    if (rank() != root) {
      send_tagged(mine, root, kGatherTag);
      return {};
    }
    std::vector<std::string> parts;
    for (int from = 0; from < size(); ++from) {
      parts.push_back(from == root ? std::string(mine)
                                   : receive_bytes(group_.comm(), from, kGatherTag, bytes_per_call_));
    }
    return parts;
  }

  void ordered_sum(std::span<const float> x, std::span<float> out) override {
    if (x.size_bytes() <= std::min(kSmallSumBytes, bytes_per_call_ / size())) {
      scratch_.resize(x.size() * size());
      all_gather_equal(std::as_bytes(x), std::as_writable_bytes(std::span(scratch_)));
      add_scratch(x.size(), out);
      return;
    }
    const size_t block = std::max<size_t>(1, std::min(kSumBlockBytes, bytes_per_call_) / sizeof(float));
    for (size_t begin = 0; begin < x.size(); begin += block) {
      const size_t count = std::min(block, x.size() - begin);
      sum_by_slices(x.subspan(begin, count), out.subspan(begin, count));
    }
  }

  void send(std::string_view bytes, int to, int tag) override { send_tagged(bytes, to, tag); }
  std::string receive(int from, int tag) override { return receive_bytes(group_.comm(), from, tag, bytes_per_call_); }

  std::unique_ptr<Backend> split(int color, int key) override {
    MPI_Comm part = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split(group_.comm(), color, key, &part), "MPI_Comm_split");
    return make_mpi_backend(part, bytes_per_call_);
  }

  void abandon(std::string_view) noexcept override {}
  MPI_Comm comm() const { return group_.comm(); }

 private:
  static constexpr int kGatherTag = kTagLimit;  // no user's tag

  // Byte strings laid end to end. What it describes fits one call.
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

  std::vector<uint64_t> gather_lengths(std::string_view mine) {
    const uint64_t length = mine.size();
    std::vector<uint64_t> lengths(size());
    all_gather_equal(std::as_bytes(std::span(&length, 1)), std::as_writable_bytes(std::span(lengths)));
    return lengths;
  }

  void send_tagged(std::string_view bytes, int to, int tag) {
    PendingSends sends(group_.comm(), bytes_per_call_);
    sends.start(bytes, to, tag);
    sends.wait();
  }

  // Everyone gets its slice of everybody's x, adds, and hands the sum out.
  void sum_by_slices(std::span<const float> x, std::span<float> out) {
    const Slice mine = slice_of(static_cast<int64_t>(x.size()), rank(), size());
    std::vector<int> counts, begins, own_counts, own_begins;
    for (int r = 0; r < size(); ++r) {
      const Slice slice = slice_of(static_cast<int64_t>(x.size()), r, size());
      counts.push_back(static_cast<int>(slice.size()));
      begins.push_back(static_cast<int>(slice.begin));
      own_counts.push_back(static_cast<int>(mine.size()));
      own_begins.push_back(static_cast<int>(r * mine.size()));
    }
    scratch_.resize(mine.size() * size());
    check_mpi(MPI_Alltoallv(x.data(), counts.data(), begins.data(), MPI_FLOAT, scratch_.data(), own_counts.data(),
                            own_begins.data(), MPI_FLOAT, group_.comm()),
              "MPI_Alltoallv");
    add_scratch(mine.size(), out.subspan(mine.begin, mine.size()));
    check_mpi(
        MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_FLOAT, out.data(), counts.data(), begins.data(), MPI_FLOAT, group_.comm()),
        "MPI_Allgatherv");
  }

  // scratch_ holds `count` floats of each rank.
  void add_scratch(size_t count, std::span<float> out) {
    std::vector<const float*> parts;
    for (int r = 0; r < size(); ++r) {
      parts.push_back(scratch_.data() + r * count);
    }
    add_in_order(parts, out);
  }

  MpiGroup group_;
  size_t bytes_per_call_;
  std::vector<float> scratch_;
};

}  // namespace

std::unique_ptr<Backend> make_mpi_backend(MPI_Comm comm, size_t bytes_per_call) {
  return std::make_unique<MpiBackend>(comm, bytes_per_call);
}

MPI_Comm mpi_comm_of(Backend& backend) {
  const auto* mpi = dynamic_cast<const MpiBackend*>(&backend);
  return mpi ? mpi->comm() : MPI_COMM_NULL;
}

}  // namespace evalmpi::comm
