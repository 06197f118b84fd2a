#include "workload.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "evalmpi/base/bytes.h"
#include "evalmpi/base/error.h"
#include "evalmpi/comm/together.h"

namespace evalmpi::eval {
namespace {

constexpr int64_t kDocumentsAtATime = 16;
constexpr int32_t kSlots = 16;  // generations that run side by side on a lane

struct Encoded {
  std::vector<int32_t> position, index, targets, tokens;
  std::vector<int64_t> token_begin{0};
};

void append(Encoded& to, const Encoded& from) {
  to.position.insert(to.position.end(), from.position.begin(), from.position.end());
  to.index.insert(to.index.end(), from.index.begin(), from.index.end());
  to.targets.insert(to.targets.end(), from.targets.begin(), from.targets.end());
  const auto offset = static_cast<int64_t>(to.tokens.size());
  to.tokens.insert(to.tokens.end(), from.tokens.begin(), from.tokens.end());
  for (size_t i = 1; i < from.token_begin.size(); ++i) to.token_begin.push_back(offset + from.token_begin[i]);
}

Encoded encode_documents(const task::Task& task, const PromptEncoder& encoder,
                         const std::optional<GenerationPlan>& generation, int64_t first, int64_t last) {
  Encoded encoded;
  for (int64_t position = first; position < last; ++position) {
    try {
      for (const task::Instance& instance : task.build(position, position + 1)) {
        EncodedPair pair;
        switch (instance.kind) {
          case task::RequestKind::kLoglikelihood:
            pair = encoder.encode_pair(*instance.context, instance.continuation);
            break;
          case task::RequestKind::kGenerateUntil:
            pair.tokens = encoder.encode_prompt(*instance.context, generation.value().max_new_tokens);
            break;
          case task::RequestKind::kLoglikelihoodRolling:
            fail(ExitCode::kBadInput, "output_type loglikelihood_rolling is not built yet");
        }
        encoded.position.push_back(static_cast<int32_t>(position));
        encoded.index.push_back(instance.index);
        encoded.targets.push_back(pair.targets);
        encoded.tokens.insert(encoded.tokens.end(), pair.tokens.begin(), pair.tokens.end());
        encoded.token_begin.push_back(static_cast<int64_t>(encoded.tokens.size()));
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
  Encoded all;
  for (const Encoded& part : encoded) append(all, part);
  return all;
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

Hash128 request_key(const Hash128& model_id, const Hash128& settings, std::span<const int32_t> tokens, int32_t targets) {
  Hasher hasher;
  hasher.add(model_id).add(settings).add(static_cast<uint64_t>(targets)).add(static_cast<uint64_t>(tokens.size()));
  return hasher.add_raw(std::as_bytes(tokens)).finish();
}

}  // namespace

TaskRequests encode_task(comm::Communicator& world, const task::Task& task, const PromptEncoder& encoder,
                         const std::optional<GenerationPlan>& generation, const Hash128& model_id, int threads) {
  const auto documents = static_cast<int64_t>(task.evaluated_rows().size());
  const Encoded mine = comm::run_together(world, fmt::format("prompts of {}", task.name()), [&] {
    const int64_t first = documents * world.rank() / world.size();
    const int64_t last = documents * (world.rank() + 1) / world.size();
    return encode_slice(task, encoder, generation, first, last, threads);
  });
  Encoded all;
  for (const std::string& slice : world.gather(to_bytes(mine), 0)) append(all, from_bytes(slice));
  TaskRequests requests;
  requests.position = std::move(all.position);
  requests.index = std::move(all.index);
  requests.targets = std::move(all.targets);
  requests.tokens = std::move(all.tokens);
  requests.token_begin = std::move(all.token_begin);
  const Hash128 settings = generation ? generation->digest() : Hash128{};
  for (size_t i = 0; i < requests.targets.size(); ++i) {
    const auto begin = requests.token_begin[i];
    const auto tokens = std::span(requests.tokens).subspan(begin, requests.token_begin[i + 1] - begin);
    requests.keys.push_back(request_key(model_id, settings, tokens, requests.targets[i]));
  }
  return requests;
}

PlannedTask plan_task(const TaskRequests& requests, const std::optional<GenerationPlan>& generation,
                      int64_t token_budget, const std::function<bool(const Hash128&)>& is_known) {
  PlannedTask planned;
  std::vector<engine::ScoreRequest> scores, missing_scores;
  std::vector<engine::GenerateRequest> generations, missing_generations;
  std::unordered_set<Hash128> seen;
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto begin = requests.tokens.begin() + requests.token_begin[i];
    const auto end = requests.tokens.begin() + requests.token_begin[i + 1];
    planned.naive_tokens += end - begin - (requests.targets[i] > 0 ? 1 : 0);
    if (!seen.insert(requests.keys[i]).second) continue;
    const bool is_missing = !is_known(requests.keys[i]);
    if (is_missing) planned.missing.push_back(requests.keys[i]);
    if (requests.targets[i] > 0) {
      scores.push_back({requests.keys[i], {begin, end}, requests.targets[i]});
      if (is_missing) missing_scores.push_back(scores.back());
    } else {
      generations.push_back({requests.keys[i], {begin, end}, generation.value().max_new_tokens});
      if (is_missing) missing_generations.push_back(generations.back());
    }
  }
  const bool all_missing = planned.missing.size() == seen.size();
  if (generation) {
    planned.plan = engine::plan_generations(missing_generations, generation->settings, kSlots, token_budget);
    planned.distinct_tokens = all_missing ? planned.plan.distinct_tokens
        : engine::plan_generations(generations, generation->settings, kSlots, token_budget).distinct_tokens;
  } else {
    planned.plan = engine::plan_scores(missing_scores, token_budget);
    planned.distinct_tokens =
        all_missing ? planned.plan.distinct_tokens : engine::plan_scores(scores, token_budget).distinct_tokens;
  }
  return planned;
}

}  // namespace evalmpi::eval
