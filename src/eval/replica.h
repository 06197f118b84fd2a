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

#include "computing.h"
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
  std::vector<std::string> classes;  // numerics classes, by dp rank
  model::DType product_type = model::DType::kFloat32;
  int device_loading_threads = 1;  // for each place on a device
  bool allow_split = false;
  bool replays_steps = false;
};

class LocalReplicas {
 public:
  // held: where the weights come from. It, the mesh and `computing` outlive this.
  LocalReplicas(comm::Mesh& mesh, const Computing& computing, ReplicaOptions options, HeldWeights& held);
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

  // The most rows of a step, a step of the devices' ladder from `rows` down, for which every device of this rank has
  // memory while it holds what `demand` asks for; `rows` on a CPU, 0 where there is none. After finish_loading(),
  // before start(); not COLLECTIVE: every place tries alone.
  int64_t probe(int64_t rows, const Demand& demand);
  // Of a step, instead of ReplicaOptions::token_budget. Before start().
  void set_token_budget(int64_t rows) { options_.token_budget = rows; }

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
  const Computing& computing_;
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
