#include "workload.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "evalmpi/base/error.h"
#include "evalmpi/task/task_index.h"

namespace evalmpi::bench {
namespace {

using Sequence = std::span<const int32_t>;

// Collects rows; what was appended to `tokens` since the last one is the next row's.
struct TableBuilder {
  std::vector<int32_t> tokens;
  std::vector<engine::ScoreTable::Row> rows;
  int64_t begin = 0;

  void finish_row(size_t targets) {
    const auto end = static_cast<int64_t>(tokens.size());
    rows.push_back(
        {Hash128{0, rows.size() + 1}, begin, static_cast<int32_t>(end - begin), static_cast<int32_t>(targets)});
    begin = end;
  }
  engine::ScoreTable take() && {
    return {std::make_shared<const std::vector<int32_t>>(std::move(tokens)), std::move(rows)};
  }
};

}  // namespace

std::vector<task::Task> load_tasks(const TaskSelection& selection) {
  data::DataRoots roots;
  if (!selection.data_root.empty()) roots.roots.push_back(selection.data_root);
  task::TaskOptions options;
  if (selection.limit > 0) options.limit = selection.limit;
  std::vector<task::Task> tasks;
  const task::Selection selected = task::TaskIndex::scan({task::builtin_tasks_dir()})
                                       .select({selection.tasks}, {selection.num_fewshot, Json::object()});
  for (const task::TaskConfig& config : selected.tasks) tasks.push_back(task::Task::load(config, roots, options));
  return tasks;
}

engine::ScoreTable score_requests(const std::vector<task::Task>& tasks, const text::Tokenizer& tokenizer,
                                  int64_t max_positions) {
  TableBuilder table;
  for (const task::Task& task : tasks) {
    for (const task::Instance& instance : task.build_all()) {
      if (instance.kind != task::RequestKind::kLoglikelihood) {
        fail(ExitCode::kUsage, "task {} is not scored by log-likelihoods", task.name());
      }
      const std::vector<int32_t> tokens = text::encode_scored(tokenizer, *instance.context + instance.continuation, {});
      const size_t context = text::encode_scored(tokenizer, *instance.context, {}).size();
      EVALMPI_CHECK(context > 0 && context < tokens.size());
      const size_t kept = std::min(tokens.size(), static_cast<size_t>(max_positions) + 1);
      table.tokens.insert(table.tokens.end(), tokens.end() - static_cast<int64_t>(kept), tokens.end());
      table.finish_row(tokens.size() - context);
    }
  }
  return std::move(table).take();
}

engine::ScoreTable few_shot_requests(const FewShotShape& shape, int64_t vocabulary) {
  TableBuilder table;
  const int64_t length = shape.header_tokens + shape.question_tokens + shape.answer_tokens;
  table.tokens.reserve(static_cast<size_t>(shape.headers * shape.documents * shape.choices * length));
  // A run of tokens that `seed` decides (splitmix64).
  const auto add_run = [&](uint64_t seed, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      uint64_t z = seed * 0x9e3779b97f4a7c15 + static_cast<uint64_t>(i) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      table.tokens.push_back(static_cast<int32_t>((z >> 33) % static_cast<uint64_t>(vocabulary)));
    }
  };
  uint64_t question = static_cast<uint64_t>(shape.headers);
  for (int64_t header = 0; header < shape.headers; ++header) {
    for (int64_t document = 0; document < shape.documents; ++document, ++question) {
      for (int64_t choice = 0; choice < shape.choices; ++choice) {
        add_run(static_cast<uint64_t>(header), shape.header_tokens);
        add_run(question, shape.question_tokens);
        add_run(~static_cast<uint64_t>(choice), shape.answer_tokens);
        table.finish_row(static_cast<size_t>(shape.answer_tokens));
      }
    }
  }
  return std::move(table).take();
}

Work least_work(const engine::ScoreTable& requests) {
  const auto inputs_of = [&](int32_t i) {
    const std::span<const int32_t> tokens = requests.tokens_of(requests.rows[i]);
    return tokens.first(tokens.size() - 1);
  };
  std::vector<int32_t> order(requests.rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const auto of_a = inputs_of(a), of_b = inputs_of(b);
    return std::lexicographical_compare(of_a.begin(), of_a.end(), of_b.begin(), of_b.end());
  });
  Work work;
  std::span<const int32_t> before;
  std::vector<bool> is_target;  // of the positions of the sequence before
  for (const int32_t i : order) {
    const auto inputs = inputs_of(i);
    const auto shared =
        std::mismatch(before.begin(), before.end(), inputs.begin(), inputs.end()).first - before.begin();
    const auto length = static_cast<int64_t>(inputs.size());
    work.naive_tokens += length;
    work.distinct_tokens += length - shared;
    work.attended_positions += (length * (length + 1) - shared * (shared + 1)) / 2;
    is_target.resize(static_cast<size_t>(shared));
    is_target.resize(inputs.size(), false);
    for (int64_t row = length - requests.rows[i].targets; row < length; ++row) {
      if (!is_target[row]) ++work.target_rows;
      is_target[row] = true;
    }
    before = inputs;
  }
  return work;
}

double linear_flops_per_token(const model::ModelSpec& spec) {
  const auto D = static_cast<double>(spec.hidden), F = static_cast<double>(spec.mlp);
  const auto query = static_cast<double>(spec.heads * spec.head_dim),
             key = static_cast<double>(spec.kv_heads * spec.head_dim);
  const double parameters = 2 * D * query + 2 * D * key + (spec.gated_mlp ? 3 : 2) * D * F;
  return 2 * parameters * static_cast<double>(spec.layers);
}

double flops(const model::ModelSpec& spec, const Work& work) {
  const double attention = 4.0 * static_cast<double>(spec.heads * spec.head_dim * spec.layers);
  const double head = 2.0 * static_cast<double>(spec.hidden * spec.vocab);
  return linear_flops_per_token(spec) * static_cast<double>(work.distinct_tokens) +
         attention * static_cast<double>(work.attended_positions) + head * static_cast<double>(work.target_rows);
}

}  // namespace evalmpi::bench
