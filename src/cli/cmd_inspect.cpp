// evalmpi inspect

#include <fmt/format.h>

#include "commands.h"
#include "evalmpi/base/log.h"
#include "evalmpi/eval/inspect.h"
#include "option_parser.h"

namespace evalmpi::cli {
namespace {

constexpr const char* kHelp =
    R"(usage: evalmpi inspect MODEL [--tp 1,2,3] [--tensors] [--json]

Says what a model is and what it takes to run it. MODEL is a folder with config.json, *.safetensors and tokenizer.json, or
the id of a model in the Hugging Face cache. Reads the files' headers, no weights; takes about a second for any size.

  sizes, details, layers   the architecture: windows, rotary positions, experts, biases, soft caps
  parameters               by part; with experts also those that one token uses
  files                    dtypes and bytes; tensors that the model does not use
  tokenizer, generation    kind, special tokens, chat template; tokens against the model's rows; generation_config.json
  adapters                 the modules that a LoRA adapter's target_modules can name
  memory, shards           for each --tp: heads, MLP columns and vocabulary rows of every place, the memory of its weights,
                           the bytes that it reads, and keys and values for 1,000 tokens. Balance is the mean over the most.

Exit code 0 when evalmpi can run the model. 65 when it cannot, with the reason: an architecture, a quantisation or a file
format that is not supported, or a tensor that is missing or has another shape or dtype than config.json asks for.
)";

}  // namespace

ExitCode inspect_command(const Invocation& invocation) {
  eval::InspectOptions options;
  std::vector<Field> fields = eval::fields(options);
  const auto models = read_folders("inspect", invocation.arguments, kHelp, {"MODEL"}, fields);
  if (!models) return ExitCode::kComplete;
  options.model = models->front();
  const eval::Inspection inspection = eval::inspect(options);
  if (options.json) {
    fmt::print("{}\n", inspection.facts.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}", eval::inspection_text(inspection.facts));
  }
  if (!inspection.problem) return ExitCode::kComplete;
  log::error("{}", inspection.problem->what());
  return inspection.problem->code();
}

}  // namespace evalmpi::cli
