// The output folder of a run: opened, resumed, and filled with results.

#include <algorithm>
#include <filesystem>

#include "device_figures.h"
#include "evalmpi/device/cpu.h"
#include "evalmpi/model/adapter.h"
#include "evalmpi/model/weights.h"
#include "evalmpi/text/jinja.h"
#include "one_run.h"

namespace evalmpi::eval {
namespace fs = std::filesystem;

void Run::open_output() {
  published_.time_id = local_time_id();
  together("open the output folder", [&] {
    if (!is_root()) return;
    const Setup& setup = work_.setup();
    const auto [known, is_new] = shared_.model_digests.try_emplace(setup.model_folder);
    if (is_new) known->second = model::model_digest(setup.model_folder, device::usable_cores());
    Hash128 model_digest = known->second;
    if (setup.spec.adapter) model_digest = Hasher().add(model_digest).add(setup.spec.adapter->digest()).finish();
    model_id_ = Hasher().add(model_digest).add(setup.tokenizer->digest()).finish();
    identities_ = {{"model_digest", model_digest.hex()}, {"tokenizer_digest", setup.tokenizer->digest().hex()}};
    identities_.update(work_.identity());
    job::AttemptOptions attempt;
    attempt.directory = options_.output;
    attempt.must_match = identities_;
    attempt.may_differ = work_.options();
    attempt_.emplace(job::Attempt::open(attempt));
    identity_ = attempt_->identity();
    shared_.begin_attempt(identity_);  // before the others know of it: they may never answer
    write_status("starting", status_details());
    job::place_token_file(identity_);
  });
  const Json shared =
      parse_json(session_.world().broadcast_bytes(
                     is_root() ? Json{{"attempt", identity_.to_json()}, {"time", published_.time_id}}.dump() : "", 0),
                 "attempt");
  identity_ = job::AttemptIdentity::from_json(shared["attempt"]);
  published_.time_id = shared["time"];
  text::fix_strftime_now(identity_.created_unix_seconds);
  published_.directory = identity_.directory;
  if (!is_root()) shared_.begin_attempt(identity_);
  const bool has_leader = std::any_of(mesh_->places.begin(), mesh_->places.end(),
                                      [](const comm::LocalPlace& place) { return place.tp_rank == 0; });
  together("find the output folder", [&] {
    if (has_leader) job::check_token_file(identity_, session_.rank());
    if (has_leader) {
      // Neither copied nor moved: the log is made in place.
      log_.reset(new store::LogWriter(job::open_log(identity_, session_.rank(),
                                                    {{"numerics_class", class_here()},
                                                     {"numerics_class_hash", hash128(class_here()).hex()},
                                                     {"dtype", model::name_of(product_type_)},
                                                     {"device", computing_.kind()},
                                                     {"layout", mesh_->description}})));
    }
  });
  if (is_root()) job::remove_token_file(identity_);
  replicas_ = std::make_unique<LocalReplicas>(*mesh_, computing_, replica_options(), shared_.weights);
  // A resume may have nothing to compute; it reads the weights when a chunk is missing.
  if (identity_.number == 0) replicas_->begin_loading();
}

// Of the first replica that this rank leads.
const std::string& Run::class_here() const {
  for (const comm::LocalPlace& place : mesh_->places) {
    if (place.tp_rank == 0) return classes_[static_cast<size_t>(place.dp_rank)];
  }
  return class_name_;
}

ReplicaOptions Run::replica_options() const {
  const auto places = std::max<size_t>(1, mesh_->places.size());
  return {.model_folder = work_.setup().model_folder,
          .spec = work_.setup().spec,
          .token_budget = budget_.rows,
          .threads_per_lane = options_.threads_per_lane,
          .classes = classes_,
          .product_type = product_type_,
          .device_loading_threads = device::usable_cores() / session_.local_size() / static_cast<int>(places),
          .allow_split = options_.allow_split,
          .replays_steps = options_.cuda_graphs};
}

void Run::read_earlier_logs() {
  for (const std::string& name : classes_) {
    for (const std::string& in_words : {name, class_of_split_chunks(name)}) {
      answers_.name_class(hash128(in_words), in_words);
    }
  }
  together("read the logs of earlier attempts", [&] {
    if (!is_root() || !attempt_->is_resume()) return;
    attempt_->read_logs([&](const std::string& log_name, const Json& header, std::string_view payload,
                            const store::LogPosition& position) {
      const engine::ChunkRecord record = engine::decode_record(payload);
      answers_.name_class(record.numerics_class, class_in_words(header, record.numerics_class));
      answers_.add(log_name, position, record, class_hash_);
    });
  });
}

// COLLECTIVE: what each rank and each of its devices had in memory at most, beside what was predicted for it.
void Run::gather_peaks() {
  Json figures = Json::array();
  for (const device::DeviceFigures& of_device : sampler_->figures()) {
    figures.push_back(to_json(of_device));
    figures.back().update(
        {{"rank", session_.rank()}, {"host", session_.host_name()}, {"driver", sampler_->driver_version()}});
  }
  const Json mine = {
      {"host", device::peak_resident_bytes()}, {"devices", computing_.peak_bytes(mesh_->places)}, {"figures", figures}};
  const std::vector<std::string> peaks = session_.world().gather(mine.dump(), 0);
  if (!is_root()) return;
  memory_.token_budget = budget_.rows;
  memory_.why_this_budget = budget_.why;
  for (size_t i = 0; i < peaks.size(); ++i) {
    memory_.predicted_bytes.push_back(
        rank_memory(work_.setup().spec, options_.tp, ranks_[i], i == 0, budget_.rows, demand_).total());
    const Json peak = parse_json(peaks[i], "peak");
    memory_.peak_bytes.push_back(peak.at("host"));
    for (const Json& of_device : peak.at("devices")) memory_.device_peak_bytes.push_back(of_device);
    for (const Json& of_device : peak.at("figures")) device_figures_.push_back(of_device);
  }
  for (const DeviceMemory& device : device_memory(work_.setup().spec, options_.tp, ranks_, budget_.rows, demand_)) {
    memory_.device_predicted_bytes.push_back(device.predicted_bytes());
  }
}

// Where the time went, as far as the parts follow each other; prompts, plans and reports overlap with scoring. Logging:
// the CPU time of rank 0's logging threads beside its lanes, how long its lanes together waited for them, and both as a
// share of the lanes' time while they scored.
Json Run::timings(double now_seconds) const {
  const double scoring_seconds = std::max(0.0, last_record_seconds_ - first_chunk_seconds_);
  const LoggingTime& logging = replicas_->logging_time();
  size_t lanes = 0;
  for (const comm::LocalPlace& place : mesh_->places) lanes += place.tp_rank == 0 ? place.lanes.size() : 0;
  const double lane_seconds = scoring_seconds * static_cast<double>(lanes);
  return {{"read_inputs_seconds", inputs_read_seconds_},
          {"prompts_and_plan_seconds", prompts_and_plan_seconds_},
          {"start_to_first_chunk_seconds", first_chunk_seconds_},
          {"scoring_seconds", scoring_seconds},
          {"logging_cpu_seconds", logging.cpu_seconds.load()},
          {"waited_for_logging_seconds", logging.waited_seconds.load()},
          {"logging_share", lane_seconds > 0 ? (logging.cpu_seconds + logging.waited_seconds) / lane_seconds : 0.0},
          {"after_last_record_seconds", last_record_seconds_ > 0 ? now_seconds - last_record_seconds_ : 0.0}};
}

void Run::publish() {
  progress_.end_line();
  published_.tokens.computed = answers_.computed_tokens();
  RunFacts facts;
  facts.options = &options_;
  facts.setup = &work_.setup();
  facts.layout = mesh_->description;
  facts.numerics_class = class_name_;
  facts.dtype = model::name_of(product_type_);
  facts.device = computing_.kind();
  facts.identities = identities_;
  facts.host = session_.host_name();
  facts.attempt = identity_.number;
  facts.run_id = identity_.run_id;
  facts.seconds = seconds_since(started_);
  facts.first_chunk_seconds = first_chunk_seconds_;
  facts.timings = timings(facts.seconds);
  facts.bytes_read = replicas_->bytes_read();
  facts.memory = memory_;
  facts.devices = device_figures_;
  facts.verified = verification_.counts();
  work_.publish(published_, facts);
}

}  // namespace evalmpi::eval
