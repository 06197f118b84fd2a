#include <map>

#include "evalmpi/task/filter.h"
#include "evalmpi/task/task.h"
#include "evalmpi/task/task_index.h"
#include "target.h"

using namespace evalmpi;

// A task file, and its documents as a JSON array; prompts are built and an answer is scored.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = fuzz::parts(fuzz::as_text(data, size), 2);
  fuzz::feed([&] {
    const Json mapping = task::read_yaml_text(parts[0], "input.yaml");
    const task::TaskConfig config = task::make_task_config(mapping, "input.yaml", {});
    for (const task::FilterConfig& filter : config.filters) task::FilterPipeline(filter, "input");
    Json rows = Json::array({{{"question", "Why?"}, {"choices", {"a", "b"}}, {"answer", 1}}});
    fuzz::feed([&] { rows = parse_json(parts[1], "rows"); });
    data::Split documents;
    std::vector<Json> pool;
    for (const Json& row : rows) {
      if (!row.is_object() || documents.rows.size() == 8) return;
      documents.rows.push_back(row);
      pool.push_back(row);
    }
    if (config.num_fewshot > 8 || config.repeats > 8) return;
    const task::Task task = task::Task::from_documents(config, std::move(documents), std::move(pool), {});
    std::map<int64_t, std::vector<std::vector<Json>>> responses;
    for (const task::Instance& instance : task.build_all()) {
      const Json response = instance.kind == task::RequestKind::kGenerateUntil ? Json("The answer is (B) 42.")
                            : instance.kind == task::RequestKind::kLoglikelihoodRolling
                                ? Json(-12.5)
                                : task::loglikelihood_response(-1.5, true);
      responses[instance.document].emplace_back(static_cast<size_t>(config.repeats), response);
    }
    for (const auto& [document, given] : responses) fuzz::feed([&] { task.score(document, given); });
  });
  return 0;
}
