#include "evalmpi/comm/message_port.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "evalmpi/base/error.h"

namespace evalmpi::comm {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLong{20000};

TEST(MessagePort, DeliversInOrderWithSourceAndTag) {
  std::vector<MessagePort> ports = MessagePort::connected(3);
  ports[0].post(2, 7, "a");
  ports[0].post(2, 7, "b");
  ports[1].post(2, 8, "c");
  EXPECT_EQ(ports[2].rank(), 2);
  EXPECT_EQ(ports[2].size(), 3);
  EXPECT_EQ(ports[2].receive(8, kLong)->bytes, "c");
  const std::vector<int> both{8, 7};
  const std::optional<Message> first = ports[2].receive(both, kLong);
  EXPECT_EQ(first->bytes, "a");
  EXPECT_EQ(first->source, 0);
  EXPECT_EQ(first->tag, 7);
  EXPECT_EQ(ports[2].receive(both, milliseconds(0))->bytes, "b");
  EXPECT_FALSE(ports[2].receive(both, milliseconds(0)));
  EXPECT_FALSE(ports[0].receive(both, milliseconds(1)));
}

TEST(MessagePort, ReachesItself) {
  MessagePort port = std::move(MessagePort::connected(1).front());
  port.post(0, 1, std::string("\0x", 2));
  EXPECT_EQ(port.receive(1, milliseconds(0))->bytes, std::string("\0x", 2));
  EXPECT_TRUE(port.flush(milliseconds(0)));
}

TEST(MessagePort, WakesAWaitingThread) {
  std::vector<MessagePort> ports = MessagePort::connected(2);
  std::optional<Message> got;
  std::thread waiting([&] { got = ports[1].receive(5, milliseconds::max()); });
  ports[0].post(1, 5, "wake");
  waiting.join();
  EXPECT_EQ(got->bytes, "wake");
}

TEST(MessagePort, EachMessageGoesToOneOfManyThreads) {
  std::vector<MessagePort> ports = MessagePort::connected(2);
  constexpr int kMessages = 500;
  std::vector<std::set<std::string>> got(4);
  std::vector<std::thread> threads;
  for (std::set<std::string>& mine : got) {
    threads.emplace_back([&] {
      while (true) {
        const std::optional<Message> message = ports[1].receive(1, kLong);
        if (!message || message->bytes == "end") {
          return;
        }
        mine.insert(message->bytes);
      }
    });
  }
  for (int i = 0; i < kMessages; ++i) {
    ports[0].post(1, 1, std::to_string(i));
  }
  for (size_t i = 0; i < got.size(); ++i) {
    ports[0].post(1, 1, "end");
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  size_t total = 0;
  std::set<std::string> all;
  for (const std::set<std::string>& mine : got) {
    total += mine.size();
    all.insert(mine.begin(), mine.end());
  }
  EXPECT_EQ(total, size_t{kMessages});
  EXPECT_EQ(all.size(), size_t{kMessages});
}

TEST(MessagePort, RefusesWrongArguments) {
  MessagePort port = std::move(MessagePort::connected(1).front());
  EXPECT_THROW(port.post(1, 0, ""), Error);
  EXPECT_THROW(port.post(0, -1, ""), Error);
  EXPECT_THROW(port.post(0, 1 << 15, ""), Error);
}

}  // namespace
}  // namespace evalmpi::comm
