#include "nccl_group.h"

#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "evalmpi/base/error.h"
#include "evalmpi/base/process.h"
#include "nccl_watch.h"

namespace evalmpi::comm {
namespace {

// Up to here everybody gets everything and adds all of it: one call instead of two, at the price of size - 1 times the
// bytes. An estimate, not measured on a GPU.
constexpr size_t kSmallSumBytes = 256 << 10;

std::vector<MemberHome> find_homes(Backend& host, const NcclGroup::Options& options) {
  const int64_t pid = getpid();
  const nlohmann::json mine = {options.world_rank, options.host, pid_namespace(), pid, process_start(pid)};
  std::vector<MemberHome> homes;
  for (const std::string& text : host.all_gather(mine.dump())) {
    const nlohmann::json home = nlohmann::json::parse(text);
    homes.push_back({home.at(0), home.at(1), home.at(2), home.at(3), home.at(4)});
  }
  return homes;
}

std::string of_bytes(const char* verb, size_t bytes) { return fmt::format("{} of {} bytes", verb, bytes); }

}  // namespace

NcclGroup::NcclGroup(std::shared_ptr<NcclLibrary> library, Backend& host, Options options)
    : library_(std::move(library)), host_(host), options_(std::move(options)) {}

NcclGroup::~NcclGroup() = default;

NcclWatch& NcclGroup::connected() {
  if (watch_) return *watch_;
  std::vector<MemberHome> homes = find_homes(host_, options_);
  NcclLibrary::Id id{};
  if (host_.rank() == 0) id = library_->make_id();
  host_.broadcast(id, 0);
  const NcclLibrary::Link link = library_->connect(id, host_.size(), host_.rank());
  watch_ = std::make_unique<NcclWatch>(*library_, link, std::move(homes), host_.rank(), options_);
  watch_->settle("connecting");
  return *watch_;
}

at::Tensor NcclGroup::all_reduce_sum(const at::Tensor& x) {
  const c10::DeviceGuard on_device(x.device());  // the current stream is that of the current device
  const at::Tensor whole = x.detach().contiguous();
  if (whole.numel() == 0) return at::empty_like(whole);
  if (options_.fast_reduce) {
    at::Tensor sum = at::empty_like(whole);
    connected().run(of_bytes("a sum in NCCL's order", whole.nbytes()), [&](NcclLibrary::Link link) {
      library_->sum(link, whole.const_data_ptr<float>(), sum.mutable_data_ptr<float>(), whole.numel());
    });
    return sum;
  }
  const at::Tensor flat = whole.view({-1});
  return (whole.nbytes() <= kSmallSumBytes ? sum_of_all(flat) : sum_by_slices(flat)).view(whole.sizes());
}

// Elementwise additions are exact in ATen: one rounding each, whatever the device.
at::Tensor NcclGroup::sum_of_all(const at::Tensor& x) {
  const at::Tensor all = all_gather(x);
  at::Tensor sum = at::add(all[0], all[1]);
  for (int rank = 2; rank < host_.size(); ++rank) sum.add_(all[rank]);
  return sum;
}

at::Tensor NcclGroup::sum_by_slices(const at::Tensor& x) {
  using Part = NcclLibrary::Part;
  const int size = host_.size(), own = host_.rank();
  const auto slice = [&](int rank) { return slice_of(x.numel(), rank, size); };
  // Everybody's addends of this member's slice.
  const at::Tensor addends = at::empty({size, slice(own).size()}, x.options());
  const auto pointer = [](const at::Tensor& t, int64_t begin) { return t.mutable_data_ptr<float>() + begin; };
  std::vector<Part> sends, receives;
  for (int rank = 0; rank < size; ++rank) {
    if (rank == own) continue;
    sends.push_back({pointer(x, slice(rank).begin), slice(rank).size() * sizeof(float), rank});
    receives.push_back({pointer(addends[rank], 0), slice(own).size() * sizeof(float), rank});
  }
  NcclWatch& watch = connected();
  watch.run(of_bytes("exchanging the slices of a sum", x.nbytes()),
            [&](NcclLibrary::Link link) { library_->exchange(link, sends, receives); });

  const at::Tensor sum = at::empty_like(x);
  at::Tensor own_sum = sum.narrow(0, slice(own).begin, slice(own).size());
  const auto addend = [&](int rank) {
    return rank == own ? x.narrow(0, slice(own).begin, slice(own).size()) : addends[rank];
  };
  at::add_out(own_sum, addend(0), addend(1));
  for (int rank = 2; rank < size; ++rank) own_sum.add_(addend(rank));

  sends.clear();
  receives.clear();
  for (int rank = 0; rank < size; ++rank) {
    if (rank == own) continue;
    sends.push_back({pointer(own_sum, 0), own_sum.nbytes(), rank});
    receives.push_back({pointer(sum, slice(rank).begin), slice(rank).size() * sizeof(float), rank});
  }
  watch.run(of_bytes("gathering the slices of a sum", x.nbytes()),
            [&](NcclLibrary::Link link) { library_->exchange(link, sends, receives); });
  return sum;
}

at::Tensor NcclGroup::all_gather(const at::Tensor& x) {
  const c10::DeviceGuard on_device(x.device());
  const at::Tensor whole = x.detach().contiguous();
  std::vector<int64_t> shape = whole.sizes().vec();
  shape.insert(shape.begin(), host_.size());
  at::Tensor all = at::empty(shape, whole.options());
  if (whole.nbytes() == 0) return all;
  connected().run(of_bytes("gathering tensors", whole.nbytes()), [&](NcclLibrary::Link link) {
    library_->all_gather(link, whole.const_data_ptr(), all.mutable_data_ptr(), whole.nbytes());
  });
  return all;
}

}  // namespace evalmpi::comm
