#include "setup.h"

#include "evalmpi/base/error.h"
#include "evalmpi/model/adapter.h"
#include "evalmpi/ops/head.h"

namespace evalmpi::eval {
namespace {

// Stands for the harness's "None": a draw that nobody could repeat is not offered.
constexpr int64_t kUnseeded = 1234;

}  // namespace

Setup make_setup(const EvalOptions& options) {
  Setup setup;
  setup.options = resolve(options);
  setup.model_folder = model::resolve_model_folder(options.model);
  setup.spec = model::read_model_spec(setup.model_folder);
  if (!options.adapter.empty()) {
    setup.spec = model::with_adapter(std::move(setup.spec), model::resolve_model_folder(options.adapter));
  }
  setup.tokenizer = std::make_unique<const text::Tokenizer>(text::Tokenizer::load(setup.model_folder));
  const int64_t max_length = options.max_length.value_or(setup.spec.max_positions);
  if (max_length > setup.spec.max_positions) {
    fail(ExitCode::kUsage, "--max-length {}: the model has {} positions", max_length, setup.spec.max_positions);
  }
  setup.encoder =
      std::make_unique<const PromptEncoder>(*setup.tokenizer, max_length, setup.spec.uniform_positions());
  for (const std::string& root : options.data_roots) {
    if (!std::filesystem::is_directory(root)) fail(ExitCode::kMissingInput, "--data-root {}: no such folder", root);
    setup.data_roots.roots.emplace_back(root);
  }
  std::vector<std::filesystem::path> roots{task::builtin_tasks_dir()};
  roots.insert(roots.end(), options.include_paths.begin(), options.include_paths.end());
  setup.selection = task::TaskIndex::scan(roots).select(
      options.tasks, {options.num_fewshot, setup.options.generation_kwargs});
  setup.task_options.limit = options.limit;
  setup.task_options.fewshot_seed = setup.options.fewshot_seed.value_or(kUnseeded);
  return setup;
}

LoadedTask load_task(const Setup& setup, const task::TaskConfig& config) {
  LoadedTask loaded{task::Task::load(config, setup.data_roots, setup.task_options), std::nullopt};
  if (config.output_type == task::OutputType::kGenerateUntil) {
    loaded.generation = plan_generation(config.generation_kwargs, setup.spec, *setup.tokenizer, "task " + config.name,
                                        {config.repeats, setup.options.sampling_seed});
    loaded.generation->slot_positions = slot_positions(setup.spec);
  }
  return loaded;
}

std::string numerics_class(int tp, int pp) {
  return fmt::format("{} float32 tp{} pp{}", ops::cpu_kernel_class(), tp, pp);
}

}  // namespace evalmpi::eval
