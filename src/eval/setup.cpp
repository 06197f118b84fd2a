#include "setup.h"

#include <algorithm>

#include "chat.h"
#include "evalmpi/base/error.h"
#include "evalmpi/model/adapter.h"

namespace evalmpi::eval {
namespace {

// Stands for the harness's "None": a draw that nobody could repeat is not offered.
constexpr int64_t kUnseeded = 1234;

}  // namespace

Setup make_model_setup(const EvalOptions& options) {
  Setup setup;
  setup.options = resolve_run(options);
  setup.model_folder = model::resolve_model_folder(options.model);
  setup.spec = model::read_model_spec(setup.model_folder);
  if (!options.adapter.empty()) {
    setup.spec = model::with_adapter(std::move(setup.spec), model::resolve_model_folder(options.adapter));
  }
  setup.slot_room = slot_room(setup.spec);
  setup.tokenizer_folder =
      options.tokenizer.empty() ? setup.model_folder : model::resolve_model_folder(options.tokenizer);
  setup.tokenizer =
      std::make_unique<const text::Tokenizer>(text::Tokenizer::load(setup.tokenizer_folder, {options.add_bos_token}));
  const int64_t max_length = options.max_length.value_or(setup.spec.max_positions);
  if (max_length > setup.spec.max_positions) {
    fail(ExitCode::kUsage, "--max-length {}: the model has {} positions", max_length, setup.spec.max_positions);
  }
  if (options.prefix_token_id && *options.prefix_token_id >= setup.spec.vocab) {
    fail(ExitCode::kUsage, "--prefix-token-id {}: the model's vocabulary has {} tokens", *options.prefix_token_id,
         setup.spec.vocab);
  }
  setup.encoder = std::make_unique<const PromptEncoder>(
      *setup.tokenizer, text::PromptRule{options.add_bos_token, options.prefix_token_id}, max_length,
      setup.spec.uniform_positions());
  return setup;
}

Setup make_setup(const EvalOptions& options) {
  const ResolvedOptions resolved = resolve(options);
  Setup setup = make_model_setup(options);
  setup.options = resolved;
  for (const std::string& root : options.data_roots) {
    if (!std::filesystem::is_directory(root)) fail(ExitCode::kMissingInput, "--data-root {}: no such folder", root);
    setup.data_roots.roots.emplace_back(root);
  }
  std::vector<std::filesystem::path> roots{task::builtin_tasks_dir()};
  roots.insert(roots.end(), options.include_paths.begin(), options.include_paths.end());
  setup.selection = task::TaskIndex::scan(roots).select(
      options.tasks, {options.num_fewshot, setup.options.generation_kwargs, options.predict_only});
  if (options.strict_functions && !setup.selection.changed_functions.empty()) {
    fail(ExitCode::kBadInput, "--strict-functions: {}", fmt::join(setup.selection.changed_functions, "\n"));
  }
  for (const auto& [name, rows] : setup.options.samples) {
    const auto& tasks = setup.selection.tasks;
    if (std::none_of(tasks.begin(), tasks.end(), [&](const task::TaskConfig& config) { return config.name == name; })) {
      fail(ExitCode::kUsage, "--samples: {} is not among the tasks of this run", name);
    }
  }
  setup.task_options.limit = options.limit;
  setup.task_options.fewshot_seed = setup.options.fewshot_seed.value_or(kUnseeded);
  setup.task_options.system_instruction = options.system_instruction;
  setup.chat_template = load_chat_template(setup.options.chat, setup.tokenizer_folder, *setup.tokenizer);
  setup.task_options.fewshot_as_multiturn = setup.options.chat.fewshot_as_multiturn.value_or(false);
  if (setup.chat_template) setup.task_options.chat_template = task_chat_template(*setup.chat_template);
  return setup;
}

std::string adapter_note(const Setup& setup) {
  const int64_t tokens = setup.tokenizer->size(), rows = setup.spec.vocab;
  if (!setup.spec.adapter || tokens == rows) return "";
  return fmt::format(
      "the model has {} vocabulary rows, its tokenizer {} tokens: lm_eval's peft= resizes the model to the latter, so "
      "its log-likelihoods differ a little; those here are PEFT's own, and lm_eval's of the merged model (evalmpi "
      "convert --adapter)",
      rows, tokens);
}

LoadedTask load_task(const Setup& setup, const task::TaskConfig& config) {
  task::TaskOptions options = setup.task_options;
  if (const auto rows = setup.options.samples.find(config.name); rows != setup.options.samples.end())
    options.rows = rows->second;
  LoadedTask loaded{task::Task::load(config, setup.data_roots, std::move(options)), std::nullopt};
  if (config.output_type == task::OutputType::kGenerateUntil) {
    loaded.generation = plan_generation(config.generation_kwargs, setup.spec, *setup.tokenizer, "task " + config.name,
                                        {config.repeats, setup.options.sampling_seed});
    loaded.generation->room = setup.slot_room;
    loaded.generation->think_end = setup.options.think_end_token;
  } else if (setup.options.chat.thinks) {
    fail(ExitCode::kUsage,
         "task {}: --enable-thinking true is for tasks that generate; this one scores given texts, before which "
         "a model cannot think",
         config.name);
  }
  return loaded;
}

}  // namespace evalmpi::eval
