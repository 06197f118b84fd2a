// evalmpi fetch

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>

#include "commands.h"
#include "evalmpi/base/json.h"
#include "evalmpi/base/log.h"
#include "evalmpi/data/remote_files.h"
#include "evalmpi/net/hub.h"
#include "evalmpi/task/task_index.h"
#include "option_parser.h"

namespace evalmpi::cli {
namespace {

constexpr const char* kHelp =
    R"(usage: evalmpi fetch [MODEL] [--tasks a,b] [--dataset ORG/NAME[:CONFIG]] [--dry-run]

Downloads from the Hugging Face hub into its cache (HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub), laid
out as huggingface_hub lays it out, so that every tool finds it: the model's configuration, tokenizer and safetensors
files, and the files of the datasets that the tasks read. Run it where the network is (a login node), evaluate anywhere.

Files are compared with the hub's hashes. What ends early is continued: run the same command again. An access token is
taken from HF_TOKEN or ~/.cache/huggingface/token and is sent to the hub only. HF_ENDPOINT names a mirror.
Of a dataset that is made by a Python script the hub's own Parquet copy is fetched.

examples:
  evalmpi fetch meta-llama/Llama-3.2-1B --tasks arc_easy,hellaswag
  evalmpi fetch --dataset openai/gsm8k:main --dry-run
)";

struct FetchOptions {
  std::vector<std::string> tasks, datasets, include_paths;
  std::string revision = "main";
  int files_at_once = 4;
  std::optional<double> retry_wait;
  bool dry_run = false;
};

std::vector<Field> fields_of(FetchOptions& options) {
  return {
      list_field("tasks", "LIST", options.tasks, "Tasks, groups or tags whose datasets to fetch.", Affects::kNumbers),
      list_field("dataset", "ORG/NAME[:CONFIG]", options.datasets, "A dataset; all its configs unless one is named.",
                 Affects::kNumbers),
      path_list_field("include-path", "DIR", options.include_paths, "Folder with further task files.",
                      Affects::kNumbers),
      text_field("revision", "REV", options.revision, "The model's branch, tag or commit. Default main.",
                 Affects::kNumbers),
      integer_field("files-at-once", "N", options.files_at_once, 1, "Files fetched at the same time. Default 4.",
                    Affects::kLayout),
      number_field("retry-wait", "SECONDS", options.retry_wait,
                   "Wait before the second try of a request; doubles with each, up to 30. Default 1.",
                   Affects::kLayout),
      switch_field("dry-run", options.dry_run, "Only list the files and their sizes.", Affects::kOutput)};
}

// What is to be fetched from one repository.
struct Order {
  net::Repository repository;
  std::vector<net::RemoteFile> files;
};

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) { return name.ends_with(ending); });
}

// Configuration, tokenizer and templates: the small files beside the weights.
bool is_model_text(std::string_view path) {
  if (path.find('/') != path.npos) return false;
  return ends_with_any(path, {".json", ".jinja", ".tiktoken", ".spm"}) || path == "tokenizer.model" ||
         path == "sentencepiece.bpe.model" || path == "spiece.model" || path == "merges.txt" || path == "vocab.txt" ||
         path.starts_with("LICENSE");
}

// The files of weights: those that the index names, else model.safetensors or an adapter's, else all in the root.
std::set<std::string> weight_files(const net::HubOptions& hub, const net::Repository& repository) {
  std::set<std::string> names;
  if (const net::RemoteFile* index = repository.find("model.safetensors.index.json")) {
    const std::string where = repository.id + ": " + index->path;
    const Json whole = parse_json(fetch_text(hub, repository, *index), where);
    const Json map = whole.is_object() ? whole.value("weight_map", Json()) : Json();
    for (const Json& file : map) {
      if (file.is_string()) names.insert(file.get<std::string>());
    }
    if (names.empty()) fail(ExitCode::kBadInput, "{}: there is no weight_map", where);
    return names;
  }
  for (const char* name : {"model.safetensors", "adapter_model.safetensors"}) {
    if (repository.find(name) != nullptr) names.insert(name);
  }
  if (!names.empty()) return names;
  for (const net::RemoteFile& file : repository.files) {
    if (file.path.ends_with(".safetensors") && file.path.find('/') == file.path.npos) names.insert(file.path);
  }
  if (names.empty()) {
    fail(ExitCode::kMissingInput,
         "{} holds no safetensors files; a model in another format (.bin, GGUF) is not read by evalmpi", repository.id);
  }
  return names;
}

Order order_model(const net::HubOptions& hub, const std::string& id, const std::string& revision) {
  Order order{net::list_repository(hub, RepositoryKind::kModel, id, revision), {}};
  std::set<std::string> names = weight_files(hub, order.repository);
  for (const net::RemoteFile& file : order.repository.files) {
    if (is_model_text(file.path)) names.insert(file.path);
  }
  for (const std::string& name : names) {
    const net::RemoteFile* file = order.repository.find(name);
    if (file == nullptr) fail(ExitCode::kBadInput, "{}: the index names {}, which is not there", id, name);
    order.files.push_back(*file);
  }
  return order;
}

std::vector<std::string> paths_of(const net::Repository& repository) {
  std::vector<std::string> out;
  for (const net::RemoteFile& file : repository.files) out.push_back(file.path);
  return out;
}

Order order_dataset(const net::HubOptions& hub, const data::HubDataset& dataset) {
  constexpr const char* kExport = "refs/convert/parquet";
  Order order{net::list_repository(hub, RepositoryKind::kDataset, dataset.id, dataset.revision), {}};
  const net::RemoteFile* readme = order.repository.find("README.md");
  std::vector<std::string> names = needed_files(dataset, paths_of(order.repository),
                                                readme == nullptr ? "" : fetch_text(hub, order.repository, *readme));
  if (names.empty() && dataset.data_files.is_null() && dataset.data_dir.empty()) {
    log::info("{} has no data files of its own; fetching the hub's Parquet copy", dataset.id);
    order.repository = net::list_repository(hub, RepositoryKind::kDataset, dataset.id, kExport);
    names = needed_export_files(dataset, paths_of(order.repository));
  }
  if (names.empty()) fail(ExitCode::kMissingInput, "the dataset {} holds no data files that evalmpi reads", dataset.id);
  for (const std::string& name : names) order.files.push_back(*order.repository.find(name));
  return order;
}

// The datasets that tasks and --dataset name, each once.
std::vector<data::HubDataset> wanted_datasets(const FetchOptions& options) {
  std::vector<data::HubDataset> out;
  std::set<std::string> seen;
  const auto add = [&](data::HubDataset dataset) {
    const std::string key = fmt::format("{}\n{}\n{}\n{}\n{}\n{}", dataset.id, dataset.revision, dataset.name,
                                        dataset.all_configs, dataset.data_files.dump(), dataset.data_dir);
    if (seen.insert(key).second) out.push_back(std::move(dataset));
  };
  for (const std::string& text : options.datasets) {
    data::HubDataset dataset;
    const size_t colon = text.find(':');
    dataset.id = text.substr(0, colon);
    dataset.revision = "main";
    dataset.all_configs = colon == text.npos;
    if (!dataset.all_configs) dataset.name = text.substr(colon + 1);
    add(dataset);
  }
  if (options.tasks.empty()) return out;
  std::vector<std::filesystem::path> roots{task::builtin_tasks_dir()};
  roots.insert(roots.end(), options.include_paths.begin(), options.include_paths.end());
  for (const task::TaskConfig& config : task::TaskIndex::scan(roots).select(options.tasks).tasks) {
    data::DatasetReference reference{config.dataset_path, config.dataset_name, config.dataset_kwargs,
                                     config.file.parent_path()};
    if (auto dataset = data::hub_dataset(reference)) {
      add(*std::move(dataset));
    } else {
      log::info("task {}: its data ({}) are local files", config.name, config.dataset_path);
    }
  }
  return out;
}

std::string bytes_text(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  for (; bytes >= 1000 && unit < 4; ++unit) bytes /= 1000;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, units[unit]);
}

std::string name_of(const net::Repository& repository) {
  return fmt::format("{} {} ({} {})", repository.kind == RepositoryKind::kModel ? "model" : "dataset", repository.id,
                     repository.revision, repository.commit.substr(0, 8));
}

void list_files(const Order& order) {
  uint64_t total = 0, missing = 0;
  fmt::print("{}\n", name_of(order.repository));
  for (const net::RemoteFile& file : order.files) {
    const uint64_t left = missing_bytes(order.repository, file);
    fmt::print("  {:>14}  {}{}\n", file.size_bytes, file.path, left == 0 ? "  (is here)" : "");
    total += file.size_bytes;
    missing += left;
  }
  fmt::print("  {} files, {} ({} bytes); to fetch: {} ({} bytes)\n", order.files.size(),
             bytes_text(static_cast<double>(total)), total, bytes_text(static_cast<double>(missing)), missing);
}

// One line of progress; on a terminal it is written over itself, else there is one every ten seconds.
class ProgressLine {
 public:
  explicit ProgressLine(std::string name) : name_(std::move(name)), on_terminal_(::isatty(STDERR_FILENO) != 0) {}
  ~ProgressLine() {
    if (on_terminal_ && shown_) fmt::print(stderr, "\n");
  }
  void show(const net::Progress& progress) {
    if (!on_terminal_ && progress.seconds < next_seconds_) return;
    next_seconds_ = progress.seconds + 10;
    const double rate = static_cast<double>(progress.fetched_bytes) / std::max(progress.seconds, 0.001);
    const auto left = static_cast<double>(progress.total_bytes - std::min(progress.total_bytes, progress.done_bytes));
    const std::string eta = rate > 0 && left > 0 ? fmt::format(", {:.0f} s left", left / rate) : "";
    const std::string line =
        fmt::format("{}: {} of {}, {} of {} files, {}/s{}", name_, bytes_text(static_cast<double>(progress.done_bytes)),
                    bytes_text(static_cast<double>(progress.total_bytes)), progress.done_files, progress.total_files,
                    bytes_text(rate), eta);
    if (on_terminal_) {
      fmt::print(stderr, "\r\x1b[K{}", line);
    } else {
      log::info("{}", line);
    }
    shown_ = true;
  }

 private:
  std::string name_;
  bool on_terminal_;
  bool shown_ = false;
  double next_seconds_ = 1;
};

}  // namespace

ExitCode fetch_command(const Invocation& invocation) {
  FetchOptions options;
  std::vector<Field> fields = fields_of(options);
  const CommandLine command_line = parse_command_line(invocation.arguments, fields);
  if (command_line.wants_help) {
    fmt::print("{}{}", kHelp, describe(fields));
    return ExitCode::kComplete;
  }
  apply({}, command_line.values, fields);
  if (command_line.positionals.size() > 1 ||
      (command_line.positionals.empty() && options.tasks.empty() && options.datasets.empty())) {
    fail(ExitCode::kUsage, "fetch takes a model, --tasks or --dataset; see evalmpi fetch --help");
  }
  // A cache is shared with other tools and often with other people: its files are as open as the user's are.
  ::umask(invocation.user_umask);
  net::HubOptions hub = net::hub_options();
  hub.parallel_files = options.files_at_once;
  if (options.retry_wait) hub.first_wait_seconds = *options.retry_wait;
  std::vector<Order> orders;
  for (const std::string& model : command_line.positionals) {
    if (std::filesystem::exists(model))
      fail(ExitCode::kUsage, "{}: is a folder here; fetch takes the id of a model on the hub", model);
    orders.push_back(order_model(hub, model, options.revision));
  }
  for (const data::HubDataset& dataset : wanted_datasets(options)) orders.push_back(order_dataset(hub, dataset));
  for (const Order& order : orders) {
    if (options.dry_run) {
      list_files(order);
      continue;
    }
    ProgressLine line(order.repository.id);
    const auto folder = net::download(hub, order.repository, order.files, true,
                                      [&](const net::Progress& progress) { line.show(progress); });
    fmt::print("{}: {} files in {}\n", name_of(order.repository), order.files.size(), folder.string());
  }
  return ExitCode::kComplete;
}

}  // namespace evalmpi::cli
