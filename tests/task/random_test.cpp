// CPython's own draws, written by tools/fixtures/make_task_fixtures.py.

#include <gtest/gtest.h>

#include <algorithm>

#include "evalmpi/base/json.h"
#include "evalmpi/task/python_random.h"

namespace evalmpi::task {
namespace {

TEST(PythonRandom, DrawsWhatCPythonDraws) {
  const Json vectors = read_json_file(EVALMPI_SOURCE_DIR "/tests/fixtures/task/random.json");
  ASSERT_EQ(vectors.size(), 6u);
  for (const Json& vector : vectors) {
    SCOPED_TRACE(vector["seed"].dump());
    PythonRandom random(vector["seed"].get<int64_t>());
    for (const Json& word : vector["words"]) EXPECT_EQ(random.get_random_bits(32), word.get<uint64_t>());
    for (const Json& bits : vector["bits"]) EXPECT_EQ(random.get_random_bits(bits[0]), bits[1].get<uint64_t>());
    for (const Json& number : vector["random"]) EXPECT_EQ(random.random(), number.get<double>());
    for (const Json& sample : vector["samples"]) {
      EXPECT_EQ(random.sample(sample[0], sample[1]), sample[2].get<std::vector<int64_t>>()) << sample.dump();
    }
    for (const Json& choice : vector["choices"]) {
      std::vector<int32_t> positions(choice[1].size());
      random.choices(choice[0], positions);
      EXPECT_EQ(positions, choice[1].get<std::vector<int32_t>>()) << choice.dump();
    }
  }
}

// Successive few-shot draws that users of the harness have on record for the seed 1234.
TEST(PythonRandom, SuccessiveDrawsFromOneGenerator) {
  PythonRandom random(1234);
  EXPECT_EQ(random.sample(7473, 5), (std::vector<int64_t>{6374, 3610, 957, 61, 742}));
  EXPECT_EQ(random.sample(7473, 5), (std::vector<int64_t>{7462, 6610, 4769, 286, 5501}));
}

TEST(PythonRandom, SampleOfTheWholePopulationIsAPermutation) {
  PythonRandom random(3);
  std::vector<int64_t> drawn = random.sample(500, 500);
  std::sort(drawn.begin(), drawn.end());
  for (int64_t i = 0; i < 500; ++i) EXPECT_EQ(drawn[static_cast<size_t>(i)], i);
}

}  // namespace
}  // namespace evalmpi::task
