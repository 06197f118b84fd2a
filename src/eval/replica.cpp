#include "replica.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>

#include "evalmpi/base/bytes.h"
#include "evalmpi/base/error.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/engine/probe.h"
#include "evalmpi/job/worker.h"
#include "evalmpi/model/memory.h"
#include "evalmpi/model/transformer.h"
#include "evalmpi/model/weights.h"
#include "generation.h"

namespace evalmpi::eval {

LocalReplicas::LocalReplicas(comm::Mesh& mesh, const Computing& computing, ReplicaOptions options, HeldWeights& held)
    : mesh_(mesh), computing_(computing), options_(std::move(options)), held_(held) {
  device::keep_freed_memory();
}

LocalReplicas::~LocalReplicas() {
  for (std::thread& loader : loaders_) loader.join();
  join();
}

void LocalReplicas::begin_loading() {
  const model::ShardPlan plan = model::make_shard_plan(options_.spec, mesh_.tp);
  transformers_.resize(mesh_.places.size());
  load_failures_.resize(mesh_.places.size());
  loadings_.resize(mesh_.places.size());
  held_.make_room(mesh_.places.size());
  for (size_t i = 0; i < mesh_.places.size(); ++i) {
    loaders_.emplace_back([this, i, plan] {
      try {
        const auto start = std::chrono::steady_clock::now();
        model::LoadOptions load;
        Computing::place(mesh_.places[i].device, options_.product_type, load);
        // As many as budget.cpp counts with: the lanes that wait for these weights, or what keeps the bus busy.
        load.threads = std::clamp<int>(
            load.device.is_cpu() ? static_cast<int>(mesh_.places[i].lanes.size()) : options_.device_loading_threads, 1,
            model::kMaxLoadingThreads);
        const HeldWeights::Loaded loaded =
            held_.load(i, options_.model_folder, options_.spec, plan, mesh_.places[i].tp_rank, load);
        transformers_[i] = std::make_shared<model::Transformer>(loaded.weights);
        loadings_[i] = {loaded.bytes_read, load.threads,
                        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
      } catch (...) {
        load_failures_[i] = std::current_exception();
      }
    });
  }
}

void LocalReplicas::finish_loading() {
  if (loaders_.empty() && transformers_.empty()) begin_loading();
  for (std::thread& loader : loaders_) loader.join();
  loaders_.clear();
  for (const std::exception_ptr& failure : load_failures_) {
    if (failure) std::rethrow_exception(failure);
  }
  ::malloc_trim(0);  // gives back what loading threads held
}

int64_t LocalReplicas::probe(int64_t rows, const Demand& demand) {
  if (!computing_.is_on_devices()) return rows;
  // Places on one device try at once, as they will compute.
  std::vector<int64_t> rows_of_place(mesh_.places.size(), rows);
  std::vector<std::exception_ptr> failures(mesh_.places.size());
  {
    std::vector<std::jthread> places;
    for (size_t i = 0; i < mesh_.places.size(); ++i) {
      places.emplace_back([&, i] {
        try {
          device::bind(mesh_.places[i].device);
          const model::InferenceThread inference;
          const engine::ProbeShape shape{.paths = 1 + demand.generation_paths, .positions = demand.positions};
          rows_of_place[i] = engine::largest_step(
              rows, next_device_step, [&](int64_t step) { engine::run_largest_shape(*transformers_[i], step, shape); });
        } catch (...) {
          failures[i] = std::current_exception();
        }
      });
    }
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  return rows_of_place.empty() ? rows : *std::min_element(rows_of_place.begin(), rows_of_place.end());
}

uint64_t LocalReplicas::bytes_read() const {
  uint64_t bytes = 0;
  for (const Loading& loading : loadings_) bytes += loading.bytes_read;
  return bytes;
}

int LocalReplicas::worker_count(const comm::Mesh& mesh) {
  int lanes = 0;
  for (const int of_replica : mesh.lanes_of_replica) lanes += of_replica;
  return lanes;
}

void LocalReplicas::start(comm::Session& session, const job::StopFlag& stop, const text::Tokenizer& tokenizer,
                          store::LogWriter* log, job::Watchdog* watchdog,
                          std::function<void(std::exception_ptr)> on_failure) {
  int lanes = 0;
  for (const comm::LocalPlace& place : mesh_.places) lanes += static_cast<int>(place.lanes.size());
  helpers_of_lanes_.emplace(lanes * (options_.threads_per_lane - 1));
  for (size_t i = 0; i < mesh_.places.size(); ++i) {
    comm::LocalPlace& place = mesh_.places[i];
    const auto trunks = std::make_shared<engine::SharedTrunks>();
    const std::string& in_class = options_.classes[static_cast<size_t>(place.dp_rank)];
    for (size_t lane_index = 0; lane_index < place.lanes.size(); ++lane_index) {
      lanes_.push_back(std::make_unique<engine::Lane>(transformers_[i], std::move(place.lanes[lane_index]),
                                                      options_.token_budget, hash128(in_class), trunks));
      lanes_.back()->replay_steps(options_.replays_steps);
      if (options_.allow_split) lanes_.back()->allow_split(hash128(class_of_split_chunks(in_class)));
      threads_.emplace_back([this, &session, &place, &stop, &tokenizer, log, watchdog, on_failure,
                             lane_index = static_cast<int>(lane_index), lane = lanes_.back().get()] {
        try {
          device::bind(place.device);
          const model::InferenceThread inference;
          run_lane(session, place, lane_index, *lane, stop, stop_strings(tokenizer), log, watchdog, on_failure);
          const std::lock_guard lock(ended_mutex_);
          cores_of_ended_lanes_.push_back(std::make_unique<ops::LentCores>(1));
        } catch (...) {
          on_failure(std::current_exception());
        }
      });
    }
  }
}

namespace {

// A lane that waits lends its core to those that compute.
std::optional<job::Item> next_item(job::WorkerClient& client, RecordKeeper& keeper) {
  if (std::optional<job::Item> item = client.next_if_here()) return item;
  keeper.drain();
  const ops::LentCores waiting(1);
  return client.next();
}

std::string receive_chunk(comm::Communicator& group) {
  const ops::LentCores waiting(1);
  return group.broadcast_bytes({}, 0);
}

}  // namespace

// The leader of a replica's lane takes chunks from the coordinator and passes each to its group, its number first,
// before computing it; an empty message ends the group.
void LocalReplicas::run_lane(comm::Session& session, const comm::LocalPlace& place, int lane_index, engine::Lane& lane,
                             const job::StopFlag& stop, const engine::StopCriterion& criterion, store::LogWriter* log,
                             job::Watchdog* watchdog, const std::function<void(std::exception_ptr)>& on_failure) {
  comm::Communicator& group = lane.communicator();
  const auto heartbeat = job::heartbeat_of(watchdog, fmt::format("lane {}", lane_index));
  if (place.tp_rank != 0) {
    while (true) {
      heartbeat->enter("waiting for a chunk", job::Judged::kNever);
      const std::string chunk = receive_chunk(group);
      if (chunk.empty()) return;
      heartbeat->enter("computing", job::Judged::kAlone);
      ByteReader numbered(chunk, "a chunk");
      heartbeat->set_chunk(numbered.get<uint64_t>());
      lane.run(std::string_view(chunk).substr(sizeof(uint64_t)), criterion);
    }
  }
  EVALMPI_CHECK(log != nullptr);
  int worker = lane_index;
  for (int replica = 0; replica < place.dp_rank; ++replica) worker += mesh_.lanes_of_replica[replica];
  job::WorkerClient client(session.port(), worker, 0, stop);
  RecordKeeper keeper(client, *log, logging_time_, watchdog, on_failure);
  heartbeat->enter("waiting for a chunk", job::Judged::kNever);
  while (std::optional<job::Item> item = next_item(client, keeper)) {
    const auto start = std::chrono::steady_clock::now();
    heartbeat->enter("computing", job::Judged::kAlone);
    heartbeat->set_chunk(item->id);
    group.broadcast_bytes(ByteWriter().put(item->id).take() + item->payload, 0);
    std::string record = lane.run(item->payload, criterion);
    heartbeat->enter("waiting for a chunk", job::Judged::kNever);
    if (client.stop_now()) continue;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    keeper.keep(std::move(*item), elapsed.count(), std::move(record));
  }
  group.broadcast_bytes({}, 0);
}

void LocalReplicas::join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  cores_of_ended_lanes_.clear();
}

}  // namespace evalmpi::eval
