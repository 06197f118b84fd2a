#pragma once

// This rank's places: their shards of the model, and the threads of their lanes.

#include <chrono>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "evalmpi/base/hash.h"
#include "evalmpi/comm/mesh.h"
#include "evalmpi/comm/session.h"
#include "evalmpi/engine/lane.h"
#include "evalmpi/job/attempt.h"
#include "evalmpi/job/signals.h"
#include "evalmpi/job/watchdog.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/ops/threads.h"
#include "evalmpi/text/tokenizer.h"
#include "held_weights.h"
#include "record_keeper.h"

namespace evalmpi::eval {

struct ReplicaOptions {
  std::filesystem::path model_folder;
  model::ModelSpec spec;
  int64_t token_budget = 0;
  int threads_per_lane = 1;
  Hash128 numerics_class;
};

class LocalReplicas {
 public:
  // held: where the weights come from; it outlives this.
  LocalReplicas(comm::Mesh& mesh, ReplicaOptions options, HeldWeights& held);
  LocalReplicas(const LocalReplicas&) = delete;
  LocalReplicas& operator=(const LocalReplicas&) = delete;
  ~LocalReplicas();

  // Begins to read the shards, each place in a thread of its own.
  void begin_loading();
  // Waits for them. FAILS: the first failure of a place of this rank.
  void finish_loading();
  uint64_t bytes_read() const;

  // What each place of this rank read. After finish_loading().
  struct Loading {
    uint64_t bytes_read = 0;
    int threads = 1;
    double seconds = 0;
  };
  const std::vector<Loading>& loadings() const { return loadings_; }

  // Starts the lanes: leaders ask the coordinator for chunks, log and report records. `log` is this rank's (not null
  // where a leader lives). on_failure is called in a lane's thread and must end the job. Needs finish_loading().
  // watchdog: of the lanes' threads, or null.
  void start(comm::Session& session, const job::StopFlag& stop, const text::Tokenizer& tokenizer, store::LogWriter* log,
             job::Watchdog* watchdog, std::function<void(std::exception_ptr)> on_failure);
  // Waits until all lanes have ended.
  void join();

  // Of this rank's lanes. After join().
  const LoggingTime& logging_time() const { return logging_time_; }

  // Lanes of all replicas together: the coordinator's workers.
  static int worker_count(const comm::Mesh& mesh);

 private:
  void run_lane(comm::Session& session, const comm::LocalPlace& place, int lane_index, engine::Lane& lane,
                const job::StopFlag& stop, const engine::StopCriterion& criterion, store::LogWriter* log,
                job::Watchdog* watchdog, const std::function<void(std::exception_ptr)>& on_failure);

  comm::Mesh& mesh_;
  ReplicaOptions options_;
  HeldWeights& held_;
  std::vector<std::shared_ptr<const model::Transformer>> transformers_;  // one per place
  std::vector<std::exception_ptr> load_failures_;
  std::vector<Loading> loadings_;
  LoggingTime logging_time_;
  std::vector<std::thread> loaders_;
  std::vector<std::unique_ptr<engine::Lane>> lanes_;
  std::optional<ops::LentCores> helpers_of_lanes_;  // where each lane has several threads
  std::mutex ended_mutex_;
  std::vector<std::unique_ptr<ops::LentCores>> cores_of_ended_lanes_;  // for the lanes that still have chunks
  std::vector<std::thread> threads_;
};

}  // namespace evalmpi::eval
