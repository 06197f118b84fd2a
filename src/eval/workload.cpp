#include "workload.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>

#include "evalmpi/base/bytes.h"
#include "evalmpi/base/error.h"
#include "evalmpi/text/python.h"
#include "evalmpi/comm/together.h"

namespace evalmpi::eval {
namespace {

constexpr int64_t kDocumentsAtATime = 16;

struct Encoded {
  std::vector<int32_t> position, index, targets, tokens;
  std::vector<int64_t> token_begin{0};
};

// Gives all of `parts` in order and frees each as soon as it is taken over.
Encoded joined(std::vector<Encoded> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  Encoded all;
  size_t requests = 0, tokens = 0;
  for (const Encoded& part : parts) {
    requests += part.targets.size();
    tokens += part.tokens.size();
  }
  all.position.reserve(requests);
  all.index.reserve(requests);
  all.targets.reserve(requests);
  all.token_begin.reserve(requests + 1);
  all.tokens.reserve(tokens);
  for (Encoded& part : parts) {
    const Encoded from = std::exchange(part, {});
    all.position.insert(all.position.end(), from.position.begin(), from.position.end());
    all.index.insert(all.index.end(), from.index.begin(), from.index.end());
    all.targets.insert(all.targets.end(), from.targets.begin(), from.targets.end());
    const auto offset = static_cast<int64_t>(all.tokens.size());
    all.tokens.insert(all.tokens.end(), from.tokens.begin(), from.tokens.end());
    for (size_t i = 1; i < from.token_begin.size(); ++i) all.token_begin.push_back(offset + from.token_begin[i]);
  }
  return all;
}

void append(Encoded& encoded, int64_t position, int32_t index, const EncodedPair& pair) {
  encoded.position.push_back(static_cast<int32_t>(position));
  encoded.index.push_back(index);
  encoded.targets.push_back(pair.targets);
  encoded.tokens.insert(encoded.tokens.end(), pair.tokens.begin(), pair.tokens.end());
  encoded.token_begin.push_back(static_cast<int64_t>(encoded.tokens.size()));
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
            append(encoded, position, instance.index,
                   encoder.encode_pair(*instance.context, instance.continuation, context_tokens));
            break;
          case task::RequestKind::kGenerateUntil:
            append(encoded, position, instance.index,
                   {encoder.encode_prompt(*instance.context, generation.value().max_new_tokens), 0});
            break;
          case task::RequestKind::kLoglikelihoodRolling: {
            int32_t index = 0;
            for (const EncodedPair& window : encoder.encode_rolling(instance.continuation)) {
              append(encoded, position, index++, window);
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
Encoded encode_slice(const task::Task& task, const PromptEncoder& encoder,
                     const std::optional<GenerationPlan>& generation, int64_t first, int64_t last, int threads) {
  const int64_t parts = (last - first + kDocumentsAtATime - 1) / kDocumentsAtATime;
  std::vector<Encoded> encoded(static_cast<size_t>(parts));
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (int64_t part = next++; part < parts; part = next++) {
        const int64_t begin = first + part * kDocumentsAtATime;
        encoded[part] = encode_documents(task, encoder, generation, begin, std::min(begin + kDocumentsAtATime, last));
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
  out.put_array(encoded.position).put_array(encoded.index).put_array(encoded.targets);
  out.put_array(encoded.tokens).put_array(encoded.token_begin);
  return out.take();
}

Encoded from_bytes(std::string_view bytes) {
  ByteReader in(bytes, "encoded requests");
  Encoded encoded;
  encoded.position = in.get_array<int32_t>();
  encoded.index = in.get_array<int32_t>();
  encoded.targets = in.get_array<int32_t>();
  encoded.tokens = in.get_array<int32_t>();
  encoded.token_begin = in.get_array<int64_t>();
  in.finish();
  return encoded;
}

Hash128 request_key(const Hash128& model_id, const Hash128& settings, std::span<const int32_t> tokens,
                    int32_t targets) {
  Hasher hasher;
  hasher.add(model_id).add(settings).add(static_cast<uint64_t>(targets)).add(static_cast<uint64_t>(tokens.size()));
  return hasher.add_raw(std::as_bytes(tokens)).finish();
}

engine::ScoreTable scores_of(const TaskRequests& requests, std::span<const size_t> chosen) {
  engine::ScoreTable table{requests.tokens, {}};
  table.rows.reserve(chosen.size());
  for (const size_t i : chosen) {
    const int64_t begin = requests.token_begin[i];
    table.rows.push_back(
        {requests.keys[i], begin, static_cast<int32_t>(requests.token_begin[i + 1] - begin), requests.targets[i]});
  }
  return table;
}

std::vector<engine::GenerateRequest> generations_of(const TaskRequests& requests, std::span<const size_t> chosen,
                                                    const GenerationPlan& generation) {
  std::vector<engine::GenerateRequest> prompts;
  for (const size_t answer : chosen) {
    const auto begin = requests.tokens->begin();
    const size_t i = answer / static_cast<size_t>(requests.repeats);
    prompts.push_back({requests.answer_key(answer),
                       {begin + requests.token_begin[i], begin + requests.token_begin[i + 1]},
                       generation.max_new_tokens});
  }
  return prompts;
}

int64_t longest_prompt(const TaskRequests& requests) {
  int64_t longest = 0;
  for (size_t i = 0; i < requests.size(); ++i)
    longest = std::max(longest, requests.token_begin[i + 1] - requests.token_begin[i]);
  return longest;
}

}  // namespace

Hash128 TaskRequests::answer_key(size_t answer) const {
  const Hash128& key = keys[answer / static_cast<size_t>(repeats)];
  const uint64_t repeat = answer % static_cast<size_t>(repeats);
  return repeat == 0 ? key : Hasher().add(key).add(repeat).finish();
}

TaskRequests encode_task(comm::Communicator& world, const task::Task& task, const PromptEncoder& encoder,
                         const std::optional<GenerationPlan>& generation, const Hash128& model_id, int threads) {
  const auto documents = static_cast<int64_t>(task.evaluated_rows().size());
  Encoded mine = comm::run_together(world, fmt::format("prompts of {}", task.name()), [&] {
    const int64_t first = documents * world.rank() / world.size();
    const int64_t last = documents * (world.rank() + 1) / world.size();
    return encode_slice(task, encoder, generation, first, last, threads);
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
  requests.token_begin = std::move(all.token_begin);
  const Hash128 settings = generation ? generation->digest() : Hash128{};
  requests.repeats = generation ? generation->draws : 1;
  for (size_t i = 0; i < requests.targets.size(); ++i) {
    const auto begin = requests.token_begin[i];
    const auto tokens = std::span(all.tokens).subspan(begin, requests.token_begin[i + 1] - begin);
    requests.keys.push_back(request_key(model_id, settings, tokens, requests.targets[i]));
  }
  requests.tokens = std::make_shared<const std::vector<int32_t>>(std::move(all.tokens));
  return requests;
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
  const bool all_missing = missing.size() == distinct.size();
  if (generation) {
    const int32_t slots = std::min(kGenerationSlots, generation->slots_for(longest_prompt(requests)));
    const auto plan = [&](std::span<const size_t> chosen) {
      return engine::plan_generations(generations_of(requests, chosen, *generation), generation->settings, slots,
                                      token_budget);
    };
    planned.plan = plan(missing);
    planned.distinct_tokens = all_missing ? planned.plan.distinct_tokens : plan(distinct).distinct_tokens;
  } else {
    planned.plan = engine::plan_scores(scores_of(requests, missing), token_budget);
    planned.distinct_tokens =
        all_missing ? planned.plan.distinct_tokens : engine::count_distinct_tokens(scores_of(requests, distinct));
  }
  return planned;
}

std::string first_prompt_text(const task::Task& task) {
  const std::vector<task::Instance> instances = task.build(0, 1);
  std::string text = fmt::format("task {}, document {}; the prompt:\n", task.name(), task.evaluated_rows().front());
  const std::string* shown = nullptr;
  for (const task::Instance& instance : instances) {
    if (shown == nullptr || *shown != *instance.context) text += *instance.context + "\n(end of the prompt)\n";
    shown = instance.context.get();
    if (!instance.continuation.empty()) text += fmt::format("continuation {}: {}\n", instance.index, text::python::repr_text(instance.continuation));
  }
  return text + fmt::format("target: {}\n\n", text::python::str(task.target(task.evaluated_rows().front())));
}

}  // namespace evalmpi::eval
