#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>

#include "error_code.h"
#include "evalmpi/comm/bound_devices.h"
#include "evalmpi/comm/mesh.h"
#include "evalmpi/comm/together.h"
#include "group_checks.h"
#include "mpi_backend.h"
#include "mpi_session.h"

namespace evalmpi::comm {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLong{20000};

MPI_Comm copy_of_world() {
  MPI_Comm copy = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &copy);
  return copy;
}

void on_threads(std::vector<std::unique_ptr<Backend>> members, const std::function<void(Communicator&)>& f) {
  std::vector<std::thread> threads;
  for (std::unique_ptr<Backend>& member : members) {
    threads.emplace_back([&f, group = Communicator(std::move(member))]() mutable { f(group); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST(Session, KnowsItsRanks) {
  Session& session = test_session();
  EXPECT_EQ(session.size(), session.launch().size);
  EXPECT_EQ(session.rank(), session.launch().rank);
  EXPECT_EQ(session.local_rank(), session.launch().local_rank);
  const std::vector<std::string> hosts = session.world().all_gather(session.host_name());
  EXPECT_EQ(std::count(hosts.begin(), hosts.end(), session.host_name()), session.local_size());
  EXPECT_EQ(static_cast<int>(std::set(hosts.begin(), hosts.end()).size()), session.host_count());
  EXPECT_EQ(session.world().all_reduce(int64_t{session.host_index()}, Reduce::kMax), session.host_count() - 1);
  if (session.rank() == 0) {
    EXPECT_EQ(session.host_index(), 0);
  }
}

TEST(Mpi, EveryVerb) {
  Communicator group = test_session().world().duplicate();
  check_group(group);
}

TEST(Mpi, CallsOfAFewBytesGiveTheSame) {
  Communicator group(std::make_unique<MpiBackend>(copy_of_world(), 7));
  check_numbers(group);
  check_bytes(group);
  EXPECT_EQ(wrong_sums(group, 103), 0);
  Communicator larger(std::make_unique<MpiBackend>(copy_of_world(), 10000));
  check_group(larger);
}

// Two places on rank 0 and one on each other; then the places of the ranks taking turns.
TEST(Mixed, EveryVerb) {
  const int ranks = test_session().size();
  std::vector<int> uneven{0};
  for (int rank = 0; rank < ranks; ++rank) {
    uneven.push_back(rank);
  }
  on_threads(make_mixed_backends(copy_of_world(), uneven), check_group);
  std::vector<int> turns;
  for (int place = 0; place < 2 * ranks; ++place) {
    turns.push_back(place % ranks);
  }
  on_threads(make_mixed_backends(copy_of_world(), turns, 1000), check_group);
}

// The layouts that a user would ask for: in each, every lane sums over its own group at the same time.
TEST(Mesh, EachLaneIsAGroupOfItsOwn) {
  Session& session = test_session();
  struct Case {
    int tp;
    std::optional<int> dp;
  };
  for (const Case& layout : {Case{1, {}}, Case{2, {}}, Case{3, {}}, Case{4, {}}, Case{3, 1}, Case{1, 4}, Case{2, 2}}) {
    LayoutRequest request{.tp = layout.tp, .dp = layout.dp};
    request.cores_per_rank = 4;
    Mesh mesh = make_mesh(session, request);
    EXPECT_EQ(static_cast<int>(mesh.leaders.size()), mesh.dp);
    std::vector<std::thread> threads;
    for (LocalPlace& place : mesh.places) {
      EXPECT_EQ(static_cast<int>(place.lanes.size()), mesh.lanes_of_replica[place.dp_rank]);
      for (Communicator& lane : place.lanes) {
        EXPECT_EQ(lane.size(), layout.tp);
        EXPECT_EQ(lane.rank(), place.tp_rank);
        threads.emplace_back([&lane] {
          for (const int64_t n : {7, 20000, 7, 513}) {
            EXPECT_EQ(wrong_sums(lane, n), 0);
          }
        });
      }
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    const int64_t places = session.world().all_reduce(static_cast<int64_t>(mesh.places.size()), Reduce::kSum);
    EXPECT_EQ(places, mesh.dp * mesh.tp);
    EXPECT_EQ(session.world().all_reduce(int64_t{mesh.places.empty()}, Reduce::kSum), mesh.idle_ranks);
  }
}

// Nothing is done on the devices, so that any identity will do.
LayoutRequest on_devices(const std::vector<std::string>& identities) {
  LayoutRequest request;
  for (const std::string& identity : identities) {
    request.devices.push_back({.kind = device::Kind::kCuda,
                               .index = static_cast<int>(request.devices.size()),
                               .name = "stand-in",
                               .identity = identity});
  }
  return request;
}

TEST(Mesh, PlacesGetTheirRanksDevices) {
  Session& session = test_session();
  const std::string own = std::to_string(session.rank());
  LayoutRequest request = on_devices({"GPU-" + own + "a", "GPU-" + own + "b"});
  request.tp = 2;
  request.dp = session.size();  // two places on each rank
  const Mesh mesh = make_mesh(session, request);
  ASSERT_EQ(mesh.places.size(), 2U);
  for (const LocalPlace& place : mesh.places) {
    EXPECT_EQ(place.device.kind, device::Kind::kCuda);
    EXPECT_EQ(place.device.index, place.index_in_rank);
    EXPECT_EQ(place.lanes.size(), 1U);
  }
  const Mesh on_cpu = make_mesh(session, {});
  EXPECT_EQ(on_cpu.places.at(0).device.kind, device::Kind::kCpu);
}

TEST(Mesh, OneDeviceForTwoRanksIsRefusedOnAllUnlessMeant) {
  Session& session = test_session();
  LayoutRequest request = on_devices({"GPU-shared"});
  request.tp = session.size();
  if (session.size() > 1) {
    std::string message;
    EXPECT_EQ(code_of([&] { make_mesh(session, request); }, &message), ExitCode::kUsage);
    EXPECT_EQ(message.find("ranks 0 and 1 on " + session.host_name() + " are on the same CUDA device GPU-shared"), 0U)
        << message;
  }
  request.share_devices = true;
  Mesh mesh = make_mesh(session, request);
  EXPECT_EQ(mesh.places.at(0).device.identity, "GPU-shared");
  EXPECT_EQ(wrong_sums(mesh.places[0].lanes.at(0), 4097), 0);  // tensors of the CPU need no link
}

TEST(BoundDevices, TheFailureOfOneRankReachesAll) {
  Session& session = test_session();
  BoundDevices bound = bind_devices(device::Choice::kCpu, session.launch(), std::nullopt);
  if (session.rank() == session.size() - 1) bound.failure = Failure{ExitCode::kUnavailable, "an ECC error"};
  std::string message;
  EXPECT_EQ(code_of([&] { agree(session.world(), "bind the devices", bound.failure); }, &message),
            ExitCode::kUnavailable);
  EXPECT_NE(message.find("an ECC error"), std::string::npos);
}

TEST(Mesh, WhatCannotBeIsRefusedOnAllRanks) {
  try {
    make_mesh(test_session(), {.tp = 1000});
    ADD_FAILURE();
  } catch (const SharedError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_EQ(error.is_reporter(), test_session().rank() == 0);
    EXPECT_NE(std::string(error.what()).find("Layouts that fit"), std::string::npos);
  }
}

TEST(RunTogether, TheLastRanksFailureReachesAll) {
  Communicator& world = test_session().world();
  const std::string host_of_last = world.all_gather(test_session().host_name()).back();
  try {
    run_together(world, "read", [&] {
      if (world.rank() == world.size() - 1) {
        fail(ExitCode::kBadInput, "damaged");
      }
    });
    ADD_FAILURE();
  } catch (const SharedError& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    const std::string message = error.what();
    EXPECT_NE(message.find("damaged"), std::string::npos);
    if (world.size() > 1) {
      EXPECT_EQ(message.find(fmt::format("read: rank {} on {}: ", world.size() - 1, host_of_last)), 0U) << message;
    }
  }
}

// Rank 0 answers the questions of two threads of every rank, itself included.
TEST(MessagePort, QuestionsAndAnswers) {
  Session& session = test_session();
  MessagePort& port = session.port();
  constexpr int kQuestion = 1, kFirstAnswer = 10, kThreads = 2, kRounds = 20;
  std::vector<std::thread> threads;
  if (session.rank() == 0) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds * kThreads * session.size(); ++i) {
        const std::optional<Message> question = port.receive(kQuestion, kLong);
        ASSERT_TRUE(question);
        port.post(question->source, kFirstAnswer + std::stoi(question->bytes), question->bytes + " answered");
      }
    });
  }
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        port.post(0, kQuestion, std::to_string(t));
        const std::optional<Message> answer = port.receive(kFirstAnswer + t, kLong);
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->bytes, std::to_string(t) + " answered");
        EXPECT_EQ(answer->source, 0);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST(MessagePort, LargeMessagesKeepTheirOrder) {
  MessagePort& port = test_session().port();
  const int next = (port.rank() + 1) % port.size(), previous = (port.rank() + port.size() - 1) % port.size();
  const auto text = [](int rank, int i) { return std::string(3'000'000 >> i, static_cast<char>('a' + rank + i)); };
  for (int i = 0; i < 4; ++i) {
    port.post(next, 2, text(port.rank(), i));
  }
  for (int i = 0; i < 4; ++i) {
    const std::optional<Message> message = port.receive(2, kLong);
    ASSERT_TRUE(message);
    EXPECT_EQ(message->source, previous);
    EXPECT_TRUE(message->bytes == text(previous, i));
  }
  EXPECT_TRUE(port.flush(kLong));
  EXPECT_FALSE(port.receive(2, milliseconds(0)));
  test_session().world().barrier();
}

}  // namespace
}  // namespace evalmpi::comm
