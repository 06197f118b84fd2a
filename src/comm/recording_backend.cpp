// Notes each verb before passing it on: the proof that all members call the same verbs in the same order.

#include "backend.h"
#include "evalmpi/comm/communicator.h"

namespace evalmpi::comm {
namespace {

class RecordingBackend final : public Backend {
 public:
  RecordingBackend(Communicator inner, std::shared_ptr<std::vector<std::string>> verbs)
      : inner_(std::move(inner)), verbs_(std::move(verbs)) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void barrier() override { note("barrier").barrier(); }
  void broadcast(std::span<std::byte> data, int root) override { note("broadcast").broadcast(data, root); }
  void all_gather_equal(std::span<const std::byte> mine, std::span<std::byte> all) override {
    note("all_gather_equal").all_gather_equal(mine, all);
  }
  std::vector<std::string> all_gather(std::string_view mine) override { return note("all_gather").all_gather(mine); }
  std::vector<std::string> gather(std::string_view mine, int root) override {
    return note("gather").gather(mine, root);
  }
  void ordered_sum(std::span<const float> x, std::span<float> out) override {
    note("all_reduce_sum").ordered_sum(x, out);
  }
  void send(std::string_view bytes, int to, int tag) override { note("send").send(bytes, to, tag); }
  std::string receive(int from, int tag) override { return note("receive").receive(from, tag); }
  std::unique_ptr<Backend> split(int color, int key) override {
    return std::make_unique<RecordingBackend>(Communicator(note("split").split(color, key)), verbs_);
  }
  void abandon(std::string_view why) noexcept override { inner_.abandon(why); }

 private:
  Backend& note(const char* verb) {
    verbs_->emplace_back(verb);
    return inner_.backend();
  }

  Communicator inner_;
  std::shared_ptr<std::vector<std::string>> verbs_;
};

}  // namespace

Communicator Communicator::recording(Communicator inner, std::shared_ptr<std::vector<std::string>> verbs) {
  return Communicator(std::make_unique<RecordingBackend>(std::move(inner), std::move(verbs)));
}

}  // namespace evalmpi::comm
