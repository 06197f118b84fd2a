#include "full_answers.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "answer_reader.h"
#include "evalmpi/base/error.h"

namespace evalmpi::eval {

FullAnswers read_answers(const TaskRequests& requests, AnswerTable& answers, const std::filesystem::path& log_directory,
                         const Hash128& numerics_class, std::set<int32_t>& records_of_other_classes) {
  const size_t count = requests.answers();
  FullAnswers full{std::vector<std::vector<float>>(count), std::vector<std::vector<uint8_t>>(count),
                   std::vector<engine::GenerateResult>(count), std::vector<int32_t>(count, -1)};
  const int current_class = answers.class_index(numerics_class);
  std::vector<AnswerPlace> places;
  places.reserve(count);
  for (size_t answer = 0; answer < count; ++answer) {
    const std::optional<AnswerPlace> place = answers.find(requests.answer_key(answer));
    EVALMPI_CHECK(place.has_value());
    places.push_back(*place);
  }
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::tuple(places[a].log, places[a].position.offset, a) <
           std::tuple(places[b].log, places[b].position.offset, b);
  });
  AnswerReader reader(log_directory, answers.log_names());
  for (const size_t i : order) {
    const AnswerPlace& place = places[i];
    const int32_t targets = requests.targets[i / static_cast<size_t>(requests.repeats)];
    if (targets > 0) {
      const engine::ScoreResult& score = reader.score(place, requests.answer_key(i));
      EVALMPI_CHECK(score.logprobs.size() == static_cast<size_t>(targets));
      full.logprobs[i] = score.logprobs;
      full.is_argmax[i] = score.is_argmax;
    } else {
      full.generations[i] = reader.generation(place, requests.answer_key(i));
    }
    full.numerics_class[i] = place.numerics_class;
    if (place.numerics_class != current_class) records_of_other_classes.insert(place.record);
  }
  return full;
}

double sum_of(const std::vector<float>& logprobs) {
  return std::accumulate(logprobs.begin(), logprobs.end(), 0.0, [](double sum, float value) { return sum + value; });
}

bool all_of(const std::vector<uint8_t>& flags) {
  return std::all_of(flags.begin(), flags.end(), [](uint8_t flag) { return flag != 0; });
}

}  // namespace evalmpi::eval
