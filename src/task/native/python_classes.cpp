// Tasks that lm-evaluation-harness writes as Python classes. Its classes give no examples (with --num_fewshot they
// fail); here an example is its text and its target as the classes write both.

#include "native_functions.h"

namespace evalmpi::task {
namespace {

constexpr const char* kSquad2 = R"(
dataset_path: lighteval/squad_v2
training_split: train
validation_split: validation
doc_to_text: "Title: {{title}}\n\nBackground: {{context}}\n\nQuestion: {{question}}\n\nAnswer:"
doc_to_target: !function task.SQuAD2.doc_to_target
fewshot_config: {target_delimiter: ""}
generation_kwargs: {until: ["\n"]}
construct_requests: !function task.SQuAD2.construct_requests
process_results: !function task.SQuAD2.process_results
metric_list:
  - {metric: exact, aggregation: !function task.SQuAD2.exact, higher_is_better: true}
  - {metric: f1, aggregation: !function task.SQuAD2.f1, higher_is_better: true}
  - {metric: HasAns_exact, aggregation: !function task.SQuAD2.HasAns_exact, higher_is_better: true}
  - {metric: HasAns_f1, aggregation: !function task.SQuAD2.HasAns_f1, higher_is_better: true}
  - {metric: NoAns_exact, aggregation: !function task.SQuAD2.NoAns_exact, higher_is_better: true}
  - {metric: NoAns_f1, aggregation: !function task.SQuAD2.NoAns_f1, higher_is_better: true}
  - {metric: best_exact, aggregation: !function task.SQuAD2.best_exact, higher_is_better: true}
  - {metric: best_f1, aggregation: !function task.SQuAD2.best_f1, higher_is_better: true}
metadata: {version: 3}
)";

constexpr const char* kFda = R"(
dataset_path: hazyresearch/based-fda
dataset_name: default
validation_split: validation
doc_to_text: !function task.FDA.doc_to_text
doc_to_target: !function task.FDA.doc_to_target
generation_kwargs: {until: ["\n"], max_gen_toks: 48}
process_results: !function task.FDA.process_results
metric_list: [{metric: contains, aggregation: !function task.FDA.contains, higher_is_better: true}]
metadata: {version: 1}
)";

constexpr const char* kSwde = R"(
dataset_path: hazyresearch/based-swde-v2
dataset_name: default
validation_split: validation
doc_to_text: !function task.SWDE.doc_to_text
doc_to_target: !function task.SWDE.doc_to_target
generation_kwargs: {until: ["\n"], max_gen_toks: 48}
process_results: !function task.SWDE.process_results
metric_list: [{metric: contains, aggregation: !function task.SWDE.contains, higher_is_better: true}]
metadata: {version: 1}
)";

constexpr const char* kSquadCompletion = R"(
dataset_path: hazyresearch/based-squad
dataset_name: default
validation_split: validation
doc_to_text: !function task.SQUADCompletion.doc_to_text
doc_to_target: !function task.SQUADCompletion.doc_to_target
process_results: !function task.SQUADCompletion.process_results
metric_list: [{metric: contains, aggregation: !function task.SQUADCompletion.contains, higher_is_better: true}]
metadata: {version: 1}
)";

const PythonClass kClasses[] = {{"squadv2/task.SQuAD2", kSquad2},
                                {"fda/task.FDA", kFda},
                                {"swde/task.SWDE", kSwde},
                                {"squad_completion/task.SQUADCompletion", kSquadCompletion}};

}  // namespace

std::span<const PythonClass> python_classes() { return kClasses; }

}  // namespace evalmpi::task
