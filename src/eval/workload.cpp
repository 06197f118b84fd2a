#include "workload.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "evalmpi/base/bytes.h"
#include "evalmpi/base/error.h"
#include "evalmpi/comm/together.h"
#include "evalmpi/text/python.h"

namespace evalmpi::eval {
namespace {

constexpr int64_t kDocumentsAtATime = 16;

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

// Gives all of `parts` in order and frees each as soon as it is taken over.
Encoded joined(std::vector<Encoded> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  Encoded all;
  size_t requests = 0, tokens = 0;
  for (const Encoded& part : parts) {
    requests += part.targets.size();
    tokens += part.tokens.size();
  }
  for (auto* column : {&all.position, &all.index, &all.targets, &all.max_new_tokens}) column->reserve(requests);
  all.token_begin.reserve(requests + 1);
  all.tokens.reserve(tokens);
  for (Encoded& part : parts) {
    const Encoded from = std::exchange(part, {});
    append(all.position, from.position);
    append(all.index, from.index);
    append(all.targets, from.targets);
    append(all.max_new_tokens, from.max_new_tokens);
    append(all.refused, from.refused);
    append(all.reasons, from.reasons);
    const auto offset = static_cast<int64_t>(all.tokens.size());
    append(all.tokens, from.tokens);
    for (size_t i = 1; i < from.token_begin.size(); ++i) all.token_begin.push_back(offset + from.token_begin[i]);
  }
  return all;
}

Encoded encode_documents(const task::Task& task, const PromptEncoder& encoder,
                         const std::optional<GenerationPlan>& generation, int64_t first, int64_t last) {
  Encoded encoded;
  for (int64_t position = first; position < last; ++position) {
    try {
      const std::string* counted = nullptr;  // the context that context_tokens belongs to
      size_t context_tokens = 0;
      const std::vector<task::Instance> instances = task.build(position, position + 1);
      for (const task::Instance& instance : instances) {
        switch (instance.kind) {
          case task::RequestKind::kLoglikelihood:
            if (std::exchange(counted, instance.context.get()) != instance.context.get()) {
              context_tokens = encoder.count_context(*instance.context);
            }
            encoded.add_score(position, instance.index,
                              encoder.encode_pair(*instance.context, instance.continuation, context_tokens));
            break;
          case task::RequestKind::kGenerateUntil:
            encoded.add_generation(position, instance.index,
                                   encoder.encode_prompt(*instance.context, generation.value().max_new_tokens),
                                   generation->max_new_tokens);
            break;
          case task::RequestKind::kLoglikelihoodRolling: {
            int32_t index = 0;
            for (const EncodedPair& window : encoder.encode_rolling(instance.continuation)) {
              encoded.add_score(position, index++, window);
            }
            break;
          }
        }
      }
    } catch (const Error& error) {
      fail(error.code(), "task {}, document {}: {}", task.name(), task.evaluated_rows()[position], error.what());
    }
  }
  return encoded;
}

// Documents [first, last) on several threads; the result is in document order.
Encoded encode_slice(const EncodeDocuments& encode, Slice slice, int threads) {
  const int64_t parts = (slice.last - slice.first + kDocumentsAtATime - 1) / kDocumentsAtATime;
  std::vector<Encoded> encoded(static_cast<size_t>(parts));
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (int64_t part = next++; part < parts; part = next++) {
        const int64_t begin = slice.first + part * kDocumentsAtATime;
        encoded[part] = encode(begin, std::min(begin + kDocumentsAtATime, slice.last));
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = parts;
    }
  };
  std::vector<std::thread> helpers;
  for (int64_t i = 1; i < std::min<int64_t>(threads, parts); ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
  return joined(std::move(encoded));
}

std::string to_bytes(const Encoded& encoded) {
  ByteWriter out;
  out.put_array(encoded.position).put_array(encoded.index).put_array(encoded.targets).put_array(encoded.max_new_tokens);
  out.put_array(encoded.tokens).put_array(encoded.token_begin).put_array(encoded.refused);
  for (const std::string& reason : encoded.reasons) out.put_text(reason);
  return out.take();
}

Encoded from_bytes(std::string_view bytes) {
  ByteReader in(bytes, "encoded requests");
  Encoded encoded;
  encoded.position = in.get_array<int32_t>();
  encoded.index = in.get_array<int32_t>();
  encoded.targets = in.get_array<int32_t>();
  encoded.max_new_tokens = in.get_array<int32_t>();
  encoded.tokens = in.get_array<int32_t>();
  encoded.token_begin = in.get_array<int64_t>();
  encoded.refused = in.get_array<int32_t>();
  for (size_t i = 0; i < encoded.refused.size(); ++i) encoded.reasons.emplace_back(in.get_text());
  in.finish();
  return encoded;
}

Hash128 request_key(const Hash128& model_id, const Hash128& settings, std::span<const int32_t> tokens,
                    int32_t targets) {
  Hasher hasher;
  hasher.add(model_id).add(settings).add(static_cast<uint64_t>(targets)).add(static_cast<uint64_t>(tokens.size()));
  return hasher.add_raw(std::as_bytes(tokens)).finish();
}

// Those of the chosen answers that are scores.
engine::ScoreTable scores_of(const TaskRequests& requests, std::span<const size_t> chosen) {
  engine::ScoreTable table{requests.tokens, {}};
  table.rows.reserve(chosen.size());
  for (const size_t answer : chosen) {
    const size_t i = answer / static_cast<size_t>(requests.repeats);
    if (requests.targets[i] == 0) continue;
    const int64_t begin = requests.token_begin[i];
    table.rows.push_back({requests.answer_key(answer), begin, static_cast<int32_t>(requests.token_begin[i + 1] - begin),
                          requests.targets[i]});
  }
  return table;
}

// Those that are generations.
std::vector<engine::GenerateRequest> generations_of(const TaskRequests& requests, std::span<const size_t> chosen) {
  std::vector<engine::GenerateRequest> prompts;
  for (const size_t answer : chosen) {
    const auto begin = requests.tokens->begin();
    const size_t i = answer / static_cast<size_t>(requests.repeats);
    if (requests.targets[i] > 0) continue;
    prompts.push_back({requests.answer_key(answer),
                       {begin + requests.token_begin[i], begin + requests.token_begin[i + 1]},
                       requests.max_new_tokens[i]});
  }
  return prompts;
}

int64_t longest_prompt(const TaskRequests& requests) {
  int64_t longest = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests.targets[i] > 0) continue;
    longest = std::max(longest, requests.token_begin[i + 1] - requests.token_begin[i]);
  }
  return longest;
}

// Chunks of generations before those of scores.
engine::Plan plan_answers(const TaskRequests& requests, const std::optional<GenerationPlan>& generation,
                          int64_t token_budget, std::span<const size_t> chosen) {
  engine::Plan plan;
  if (generation) {
    const int32_t slots = generation->slots_for(longest_prompt(requests));
    plan = engine::plan_generations(generations_of(requests, chosen), generation->settings, slots, token_budget);
  }
  engine::ScoreTable scores = scores_of(requests, chosen);
  if (scores.rows.empty()) return plan;
  engine::Plan of_scores = engine::plan_scores(std::move(scores), token_budget);
  std::move(of_scores.chunks.begin(), of_scores.chunks.end(), std::back_inserter(plan.chunks));
  plan.naive_tokens += of_scores.naive_tokens;
  plan.distinct_tokens += of_scores.distinct_tokens;
  plan.planned_tokens += of_scores.planned_tokens;
  return plan;
}

int64_t count_distinct(const TaskRequests& requests, const std::optional<GenerationPlan>& generation,
                       int64_t token_budget, std::span<const size_t> chosen) {
  if (generation) return plan_answers(requests, generation, token_budget, chosen).distinct_tokens;
  return engine::count_distinct_tokens(scores_of(requests, chosen));
}

}  // namespace

Hash128 TaskRequests::answer_key(size_t answer) const {
  const Hash128& key = keys[answer / static_cast<size_t>(repeats)];
  const uint64_t repeat = answer % static_cast<size_t>(repeats);
  return repeat == 0 ? key : Hasher().add(key).add(repeat).finish();
}

void Encoded::add_score(int64_t document, int32_t request_index, const EncodedPair& pair) {
  position.push_back(static_cast<int32_t>(document));
  index.push_back(request_index);
  targets.push_back(pair.targets);
  max_new_tokens.push_back(0);
  append(tokens, pair.tokens);
  token_begin.push_back(static_cast<int64_t>(tokens.size()));
}

void Encoded::add_generation(int64_t document, int32_t request_index, const std::vector<int32_t>& prompt,
                             int32_t new_tokens) {
  add_score(document, request_index, {prompt, 0});
  max_new_tokens.back() = new_tokens;
}

Slice slice_of(int64_t documents, int rank, int ranks) {
  return {documents * rank / ranks, documents * (rank + 1) / ranks};
}

TaskRequests encode_slices(comm::Communicator& world, const std::string& what, int64_t documents,
                           const EncodeDocuments& encode, const std::optional<GenerationPlan>& generation,
                           const Hash128& model_id, int threads) {
  Encoded mine = comm::run_together(world, fmt::format("prompts of {}", what), [&] {
    return encode_slice(encode, slice_of(documents, world.rank(), world.size()), threads);
  });
  const bool is_root = world.rank() == 0;
  std::vector<std::string> slices = world.gather(is_root ? std::string() : to_bytes(mine), 0);
  if (!is_root) return {};
  std::vector<Encoded> parts;
  parts.push_back(std::move(mine));
  for (size_t rank = 1; rank < slices.size(); ++rank) parts.push_back(from_bytes(std::exchange(slices[rank], {})));
  Encoded all = joined(std::move(parts));
  TaskRequests requests;
  requests.position = std::move(all.position);
  requests.index = std::move(all.index);
  requests.targets = std::move(all.targets);
  requests.max_new_tokens = std::move(all.max_new_tokens);
  requests.refused = std::move(all.refused);
  requests.reasons = std::move(all.reasons);
  requests.token_begin = std::move(all.token_begin);
  requests.repeats = generation ? generation->draws : 1;
  std::unordered_map<int32_t, Hash128> settings;  // by max_new_tokens
  for (size_t i = 0; i < requests.targets.size(); ++i) {
    const int32_t new_tokens = requests.max_new_tokens[i];
    const auto [known, is_new] = settings.try_emplace(new_tokens);
    if (is_new && requests.targets[i] == 0) known->second = generation.value().digest(new_tokens);
    const auto begin = requests.token_begin[i];
    const auto tokens = std::span(all.tokens).subspan(begin, requests.token_begin[i + 1] - begin);
    requests.keys.push_back(request_key(model_id, known->second, tokens, requests.targets[i]));
  }
  requests.tokens = std::make_shared<const std::vector<int32_t>>(std::move(all.tokens));
  return requests;
}

TaskRequests encode_task(comm::Communicator& world, const task::Task& task, const PromptEncoder& encoder,
                         const std::optional<GenerationPlan>& generation, const Hash128& model_id, int threads) {
  const auto encode = [&](int64_t first, int64_t last) {
    return encode_documents(task, encoder, generation, first, last);
  };
  return encode_slices(world, task.name(), static_cast<int64_t>(task.evaluated_rows().size()), encode, generation,
                       model_id, threads);
}

PlannedTask plan_task(const TaskRequests& requests, const std::optional<GenerationPlan>& generation,
                      int64_t token_budget, const std::function<bool(const Hash128&)>& is_known) {
  PlannedTask planned;
  std::vector<size_t> distinct, missing;  // answers
  std::unordered_set<Hash128> seen(requests.answers());
  for (size_t answer = 0; answer < requests.answers(); ++answer) {
    const size_t i = answer / static_cast<size_t>(requests.repeats);
    planned.naive_tokens += requests.token_begin[i + 1] - requests.token_begin[i] - (requests.targets[i] > 0 ? 1 : 0);
    const Hash128 key = requests.answer_key(answer);
    if (!seen.insert(key).second) continue;
    distinct.push_back(answer);
    if (is_known(key)) continue;
    missing.push_back(answer);
    planned.missing.push_back(key);
  }
  planned.plan = plan_answers(requests, generation, token_budget, missing);
  planned.distinct_tokens = missing.size() == distinct.size()
                                ? planned.plan.distinct_tokens
                                : count_distinct(requests, generation, token_budget, distinct);
  return planned;
}

std::string first_prompt_text(const task::Task& task) {
  const std::vector<task::Instance> instances = task.build(0, 1);
  std::string text = fmt::format("task {}, document {}; the prompt:\n", task.name(), task.evaluated_rows().front());
  const std::string* shown = nullptr;
  for (const task::Instance& instance : instances) {
    if (shown == nullptr || *shown != *instance.context) text += *instance.context + "\n(end of the prompt)\n";
    shown = instance.context.get();
    if (!instance.continuation.empty())
      text += fmt::format("continuation {}: {}\n", instance.index, text::python::repr_text(instance.continuation));
  }
  return text + fmt::format("target: {}\n\n", text::python::str(task.target(task.evaluated_rows().front())));
}

}  // namespace evalmpi::eval
