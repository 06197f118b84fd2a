#pragma once

// What a run asks of its model, and what becomes of the answers. Run is the same for every kind of work: evaluating
// tasks (task_work.h), answering a file of prompts (file_work.h).

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "answers.h"
#include "evalmpi/base/json.h"
#include "evalmpi/comm/communicator.h"
#include "generation.h"
#include "publish.h"
#include "results.h"
#include "setup.h"
#include "workload.h"

namespace evalmpi::eval {

// A work consists of parts (a task; the lines of a file with equal settings), which are planned and reported one after
// another. Functions are called in the order in which they stand here; those that are not COLLECTIVE may fail on one
// rank alone. REQUIRES: part < parts().
class Work {
 public:
  Work() = default;
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  virtual ~Work() = default;

  // What a resume may change, for the manifest, and what it may not.
  virtual Json options() const = 0;
  virtual Json identity() const { return Json::object(); }

  // COLLECTIVE: reads what must be known before any part: the model's description, its tokenizer, what there is to ask.
  // No weights.
  virtual void read(comm::Communicator& world) = 0;
  const Setup& setup() const { return setup_; }
  // Once it is known where the work is computed: before a part is loaded. Rank 0's counts.
  void set_slot_room(const SlotRoom& room) { setup_.slot_room = room; }
  // Equal on all ranks.
  virtual size_t parts() const = 0;
  virtual std::string name(size_t part) const = 0;

  virtual void load(size_t part) = 0;
  virtual int64_t documents(size_t part) const = 0;
  // For a reader, once the part is loaded (--write-out). Rank 0.
  virtual std::string first_prompt(size_t part) const = 0;
  // COLLECTIVE: the requests of a part, on rank 0; the others get none.
  virtual TaskRequests encode(comm::Communicator& world, size_t part, const Hash128& model_id, int threads) = 0;
  // How the part generates; nothing: it only scores. Rank 0.
  virtual const std::optional<GenerationPlan>& generation(size_t part) const = 0;
  // What the part holds in memory besides its requests. Rank 0.
  virtual int64_t document_bytes(size_t part) const = 0;

  // The part as a task, for its scores so far; null: it has none. Rank 0.
  virtual const task::Task* task(size_t) const { return nullptr; }

  // Takes the answers of a part, which are all there. Rank 0.
  virtual void report(size_t part, const TaskRequests& requests, AnswerTable& answers, const ReportOptions& options,
                      Published& published) = 0;
  // What the part was scored with, once it is reported; null: it has no scores. Rank 0.
  virtual const task::TaskResult* result(size_t) const { return nullptr; }
  // Writes the files of the finished run and prints its table. Rank 0. FAILS: kCannotWrite, kIo.
  virtual void publish(Published& published, const RunFacts& facts) = 0;

 protected:
  Setup setup_;
};

}  // namespace evalmpi::eval
