#include "rebuild.h"

#include <algorithm>
#include <charconv>

#include "answers.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/log.h"
#include "evalmpi/comm/communicator.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/job/attempt.h"
#include "evalmpi/text/jinja.h"
#include "numerics.h"
#include "publish.h"
#include "results.h"
#include "setup.h"
#include "task_work.h"
#include "workload.h"

namespace evalmpi::eval {
namespace fs = std::filesystem;
namespace {

// FAILS: kBadInput naming the manifest's folder.
Hash128 digest_of(const Json& identities, const char* name, const fs::path& directory) {
  const std::string text = identities.value(name, "");
  Hash128 digest;
  const auto parse = [](std::string_view half, uint64_t& word) {
    std::from_chars(half.data(), half.data() + half.size(), word, 16);
  };
  if (text.size() == 32) {
    parse(std::string_view(text).substr(0, 16), digest.high);
    parse(std::string_view(text).substr(16), digest.low);
  }
  if (digest.hex() != text) fail(ExitCode::kBadInput, "{}: manifest.json: {} is no digest", directory.string(), name);
  return digest;
}

// One report's answers in the logs, and what the last attempt was.
struct Logged {
  AnswerTable answers;
  Hash128 last_class;
  std::string last_class_name, last_layout, last_dtype, last_device;
  int last_attempt = -1;
};

void find_last_attempt(const fs::path& log_directory, Logged& logged) {
  for (const store::LogName& name : store::list_logs(log_directory)) {
    const Json header = store::read_log_header(log_directory / name.file_name());
    if (!header.is_object() || name.attempt < logged.last_attempt) continue;
    logged.last_attempt = name.attempt;
    logged.last_class_name = header.value("numerics_class", "");
    logged.last_layout = header.value("layout", "");
    logged.last_dtype = header.value("dtype", "float32");
    logged.last_device = header.value("device", "cpu");
    logged.last_class = hash128(logged.last_class_name);
  }
  if (logged.last_attempt < 0)
    fail(ExitCode::kMissingInput, "{}: no logs to make results from", log_directory.string());
}

void read_answers(const job::Attempt& attempt, Logged& logged) {
  logged.answers.name_class(logged.last_class, logged.last_class_name);
  attempt.read_logs([&](const std::string& log_name, const Json& header, std::string_view payload,
                        const store::LogPosition& position) {
    const engine::ChunkRecord record = engine::decode_record(payload);
    logged.answers.name_class(record.numerics_class, class_in_words(header, record.numerics_class));
    logged.answers.add(log_name, position, record, logged.last_class);
  });
}

// The requests of every part, once every answer is known to be there. FAILS: kMissingInput naming each part that lacks
// some.
std::vector<TaskRequests> find_requests(Work& work, const Hash128& model_id, const std::optional<Hash128>& only,
                                        const Logged& logged, Published& published, const fs::path& directory) {
  std::vector<TaskRequests> all;
  std::string missing;
  comm::Communicator self = comm::Communicator::self();
  for (size_t part = 0; part < work.parts(); ++part) {
    work.load(part);
    TaskRequests requests = work.encode(self, part, model_id, device::usable_cores());
    constexpr int64_t kAnyBudget = 1024;  // nothing will be computed
    const PlannedTask planned = plan_task(requests, work.generation(part), kAnyBudget,
                                          [&](const Hash128& key) { return logged.answers.knows(key, only); });
    if (!planned.missing.empty()) {
      missing += fmt::format("{}{} lacks {} of {} answers", missing.empty() ? "" : ", ", work.name(part),
                             planned.missing.size(), requests.answers());
    }
    published.tokens.naive += planned.naive_tokens;
    published.tokens.distinct += planned.distinct_tokens;
    published.part_tokens.push_back({planned.naive_tokens, planned.distinct_tokens, 0});
    requests.tokens = {};
    all.push_back(std::move(requests));
  }
  if (!missing.empty()) {
    fail(ExitCode::kMissingInput,
         "{}: the run is not complete: {}; start evalmpi eval with -o {} again to compute them", directory.string(),
         missing, directory.string());
  }
  return all;
}

}  // namespace

void rebuild_run(const fs::path& directory) {
  const std::optional<Json> manifest = job::read_manifest(directory);
  if (!manifest) fail(ExitCode::kMissingInput, "{}: no manifest.json: not the folder of a run", directory.string());
  if (!manifest->value("may_differ", Json::object()).contains("tasks")) {
    fail(ExitCode::kUsage, "{}: not a run of tasks; start the command that made it again to have its outputs",
         directory.string());
  }
  const job::Attempt attempt = job::Attempt::open({directory,
                                                   manifest->at("must_match"),
                                                   manifest->value("may_differ", Json::object()),
                                                   {},
                                                   manifest->value("working_directory", "")});
  EvalOptions options;
  std::vector<Field> option_fields = fields(options);
  set_from_json(attempt.manifest()["may_differ"], option_fields);
  const fs::path started_in = attempt.manifest().value("working_directory", "");
  std::error_code error;
  fs::current_path(started_in, error);  // its paths are relative to it
  if (error)
    log::warning("the run was started in {}, which is not there; relative paths of its options may not be found",
                 started_in.string());
  text::fix_strftime_now(attempt.identity().created_unix_seconds);

  Logged logged;
  find_last_attempt(attempt.identity().log_directory(), logged);
  TaskWork work(options);
  comm::Communicator self = comm::Communicator::self();
  work.read(self);
  const Setup& setup = work.setup();
  const Json& identities = attempt.manifest()["must_match"];
  if (digest_of(identities, "tokenizer_digest", directory) != setup.tokenizer->digest()) {
    fail(ExitCode::kMismatch, "{}: its tokenizer is another than the run's; its prompts cannot be made again",
         options.model);
  }
  const Hash128 model_id =
      Hasher().add(digest_of(identities, "model_digest", directory)).add(setup.tokenizer->digest()).finish();
  read_answers(attempt, logged);

  Published published;
  published.directory = attempt.identity().directory;
  published.time_id = local_time_id();
  const std::optional<Hash128> only = options.strict ? std::optional(logged.last_class) : std::nullopt;
  const std::vector<TaskRequests> requests = find_requests(work, model_id, only, logged, published, directory);
  const ReportOptions report{attempt.identity().log_directory(), logged.last_class, options.bootstrap_iterations,
                             device::usable_cores()};
  for (size_t part = 0; part < work.parts(); ++part) {
    work.report(part, requests[part], logged.answers, report, published);
  }
  RunFacts facts;
  facts.options = &options;
  facts.setup = &setup;
  facts.layout = logged.last_layout;
  facts.numerics_class = logged.last_class_name;
  facts.dtype = logged.last_dtype;
  facts.device = logged.last_device;
  facts.identities = identities;
  facts.attempt = logged.last_attempt;
  facts.run_id = attempt.identity().run_id;
  facts.is_rebuilt = true;
  work.publish(published, facts);
  attempt.write_status("complete", {{"exit_code", 0}, {"results", published.files}, {"rebuilt", true}});
}

}  // namespace evalmpi::eval
