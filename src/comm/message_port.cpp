#include "evalmpi/comm/message_port.h"

#include <algorithm>
#include <utility>

#include "backend.h"
#include "evalmpi/base/error.h"
#include "message_port_impl.h"

namespace evalmpi::comm {
namespace {

constexpr size_t kMaxMessageBytes = size_t{1} << 30;

class LocalPort final : public MessagePort::Impl {
 public:
  using Inboxes = std::vector<Inbox>;
  LocalPort(std::shared_ptr<Inboxes> inboxes, int rank) : inboxes_(std::move(inboxes)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(inboxes_->size()); }
  void post(int rank, int tag, std::string bytes) override { (*inboxes_)[rank].put({rank_, tag, std::move(bytes)}); }
  std::optional<Message> receive(std::span<const int> tags, std::chrono::milliseconds timeout) override {
    return (*inboxes_)[rank_].take_until(tags, deadline_after(timeout));
  }
  bool flush(std::chrono::milliseconds) override { return true; }

 private:
  std::shared_ptr<Inboxes> inboxes_;
  int rank_;
};

}  // namespace

void Inbox::put(Message message) {
  {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
  }
  arrived_.notify_all();
}

std::optional<Message> Inbox::take_until(std::span<const int> tags, Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  auto found = messages_.end();
  const auto look = [&] {
    found = std::find_if(messages_.begin(), messages_.end(),
                         [&](const Message& m) { return std::find(tags.begin(), tags.end(), m.tag) != tags.end(); });
    return found != messages_.end();
  };
  if (!arrived_.wait_until(lock, deadline, look)) {
    return std::nullopt;
  }
  Message message = std::move(*found);
  messages_.erase(found);
  return message;
}

std::vector<MessagePort> MessagePort::connected(int n) {
  EVALMPI_CHECK(n >= 1);
  const auto inboxes = std::make_shared<LocalPort::Inboxes>(n);
  std::vector<MessagePort> ports;
  for (int rank = 0; rank < n; ++rank) {
    ports.emplace_back(std::make_unique<LocalPort>(inboxes, rank));
  }
  return ports;
}

MessagePort::MessagePort(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MessagePort::MessagePort(MessagePort&&) noexcept = default;
MessagePort& MessagePort::operator=(MessagePort&&) noexcept = default;
MessagePort::~MessagePort() = default;

int MessagePort::rank() const { return impl_->rank(); }
int MessagePort::size() const { return impl_->size(); }

void MessagePort::post(int rank, int tag, std::string bytes) {
  EVALMPI_CHECK(rank >= 0 && rank < size() && tag >= 0 && tag < kTagLimit && bytes.size() <= kMaxMessageBytes);
  impl_->post(rank, tag, std::move(bytes));
}

std::optional<Message> MessagePort::receive(std::span<const int> tags, std::chrono::milliseconds timeout) {
  return impl_->receive(tags, timeout);
}

std::optional<Message> MessagePort::receive(int tag, std::chrono::milliseconds timeout) {
  return impl_->receive({&tag, 1}, timeout);
}

bool MessagePort::flush(std::chrono::milliseconds timeout) { return impl_->flush(timeout); }

}  // namespace evalmpi::comm
