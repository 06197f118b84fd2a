#include "evalmpi/comm/communicator.h"

#include <algorithm>
#include <utility>

#include "backend.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/steps.h"
#include "host_staging.h"
#include "nccl_group.h"

namespace evalmpi::comm {
namespace {

template <class Number>
Number reduce_in_order(std::span<const Number> values, Reduce how) {
  Number result = values.front();
  for (const Number value : values.subspan(1)) {
    switch (how) {
      case Reduce::kSum: result += value; break;
      case Reduce::kMax: result = std::max(result, value); break;
      case Reduce::kMin: result = std::min(result, value); break;
    }
  }
  return result;
}

template <class Number>
Number all_reduce_number(Backend& backend, Number value, Reduce how) {
  const WaitForOthers waiting;
  std::vector<Number> values(backend.size());
  backend.all_gather_equal(std::as_bytes(std::span(&value, 1)), std::as_writable_bytes(std::span(values)));
  return reduce_in_order<Number>(values, how);
}

}  // namespace

Communicator Communicator::self() { return std::move(threads(1).front()); }

std::vector<Communicator> Communicator::threads(int size) {
  EVALMPI_CHECK(size >= 1);
  std::vector<Communicator> members;
  for (std::unique_ptr<Backend>& backend : make_thread_backends(size)) {
    members.emplace_back(std::move(backend));
  }
  return members;
}

Communicator::Communicator(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}
Communicator::Communicator(std::unique_ptr<Backend> backend, std::unique_ptr<NcclGroup> devices)
    : backend_(std::move(backend)), devices_(std::move(devices)) {}
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&& other) noexcept {
  devices_ = std::move(other.devices_);  // first, since it uses the backend
  backend_ = std::move(other.backend_);
  return *this;
}
Communicator::~Communicator() = default;

int Communicator::rank() const { return backend_->rank(); }
int Communicator::size() const { return backend_->size(); }
void Communicator::barrier() {
  const WaitForOthers waiting;
  backend_->barrier();
}

void Communicator::broadcast(std::span<std::byte> data, int root) {
  EVALMPI_CHECK(root >= 0 && root < size());
  const WaitForOthers waiting;
  backend_->broadcast(data, root);
}

std::string Communicator::broadcast_bytes(std::string text, int root) {
  uint64_t length = text.size();
  broadcast(std::as_writable_bytes(std::span(&length, 1)), root);
  text.resize(length);
  broadcast(std::as_writable_bytes(std::span(text)), root);
  return text;
}

at::Tensor Communicator::all_reduce_sum(const at::Tensor& x) {
  EVALMPI_CHECK(x.defined() && x.scalar_type() == at::kFloat);
  const WaitForOthers waiting;
  if (size() == 1) {
    return x;
  }
  if (devices_ && !x.device().is_cpu()) {
    return devices_->all_reduce_sum(x);
  }
  const at::Tensor whole = on_host(x);
  at::Tensor sum = host_tensor(whole.sizes(), x);
  const size_t count = whole.numel();
  backend_->ordered_sum({whole.const_data_ptr<float>(), count}, {sum.mutable_data_ptr<float>(), count});
  return to_device_of(x, sum);
}

int64_t Communicator::all_reduce(int64_t value, Reduce how) { return all_reduce_number(*backend_, value, how); }
double Communicator::all_reduce(double value, Reduce how) { return all_reduce_number(*backend_, value, how); }

at::Tensor Communicator::all_gather(const at::Tensor& x) {
  EVALMPI_CHECK(x.defined());
  const WaitForOthers waiting;
  if (devices_ && !x.device().is_cpu() && size() > 1) {
    return devices_->all_gather(x);
  }
  const at::Tensor whole = on_host(x);
  std::vector<int64_t> shape = whole.sizes().vec();
  shape.insert(shape.begin(), size());
  at::Tensor all = host_tensor(shape, x);
  backend_->all_gather_equal({static_cast<const std::byte*>(whole.const_data_ptr()), whole.nbytes()},
                             {static_cast<std::byte*>(all.mutable_data_ptr()), all.nbytes()});
  return to_device_of(x, all);
}

std::vector<std::string> Communicator::all_gather(std::string_view mine) {
  const WaitForOthers waiting;
  return backend_->all_gather(mine);
}

std::vector<std::string> Communicator::gather(std::string_view mine, int root) {
  EVALMPI_CHECK(root >= 0 && root < size());
  const WaitForOthers waiting;
  return backend_->gather(mine, root);
}

void Communicator::send(std::string_view bytes, int to, int tag) {
  EVALMPI_CHECK(to >= 0 && to < size() && tag >= 0 && tag < kTagLimit);
  const WaitForOthers waiting;
  backend_->send(bytes, to, tag);
}

std::string Communicator::receive(int from, int tag) {
  EVALMPI_CHECK(from >= 0 && from < size() && tag >= 0 && tag < kTagLimit);
  const WaitForOthers waiting;
  return backend_->receive(from, tag);
}

Communicator Communicator::split(int color, int key) {
  EVALMPI_CHECK(color >= 0);
  const WaitForOthers waiting;
  return Communicator(backend_->split(color, key));
}

Communicator Communicator::duplicate() { return split(0, rank()); }

void Communicator::abandon(std::string_view why) noexcept { backend_->abandon(why); }

}  // namespace evalmpi::comm
