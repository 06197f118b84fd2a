#pragma once

// Everything that is known before a document is read: the model's description, its tokenizer, the chosen tasks.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "encode.h"
#include "evalmpi/eval/options.h"
#include "evalmpi/model/spec.h"
#include "evalmpi/task/task.h"
#include "evalmpi/task/task_index.h"
#include "evalmpi/text/chat_template.h"
#include "evalmpi/text/tokenizer.h"
#include "generation.h"

namespace evalmpi::eval {

struct Setup {
  ResolvedOptions options;
  std::filesystem::path model_folder;
  std::filesystem::path tokenizer_folder;
  model::ModelSpec spec;
  std::unique_ptr<const text::Tokenizer> tokenizer;
  std::unique_ptr<const PromptEncoder> encoder;
  task::Selection selection;
  data::DataRoots data_roots;
  task::TaskOptions task_options;
  std::optional<text::ChatTemplate> chat_template;
  SlotRoom slot_room;  // of a lane; a CPU's until Work::set_slot_room
};

// Reads config.json and the tokenizer: of the fields, those up to `encoder` but for the tasks'. No weights. FAILS: as
// their readers.
Setup make_model_setup(const EvalOptions& options);

// The same and the task files; no data. FAILS: as their readers.
Setup make_setup(const EvalOptions& options);

// Where lm-evaluation-harness would give other numbers for this adapter (src/DECISIONS.md); "": nowhere.
std::string adapter_note(const Setup& setup);

// A chosen task with its documents, and how it generates.
struct LoadedTask {
  task::Task task;
  std::optional<GenerationPlan> generation;  // of generate_until tasks
};
LoadedTask load_task(const Setup& setup, const task::TaskConfig& config);

}  // namespace evalmpi::eval
