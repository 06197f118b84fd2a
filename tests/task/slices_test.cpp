// What does not depend on how the work is cut: slices, limits, chosen rows; and what chat templates see.

#include <gtest/gtest.h>

#include "evalmpi/base/error.h"
#include "evalmpi/task/task.h"

namespace evalmpi::task {
namespace {

constexpr int kRows = 12;

TaskConfig config_of(Json changes, int shots = 3) {
  Json mapping = {{"task", "t"},
                  {"dataset_path", "made/up"},
                  {"output_type", "multiple_choice"},
                  {"training_split", "train"},
                  {"test_split", "test"},
                  {"doc_to_text", "Q: {{q}}\nA:"},
                  {"doc_to_choice", {"yes", "no"}},
                  {"doc_to_target", "{{a}}"},
                  {"num_fewshot", shots}};
  if (!changes.is_null()) mapping.update(changes);
  return make_task_config(mapping, "/tasks/t.yaml", {});
}

Json row_of(int i, const char* what) { return {{"q", std::string(what) + " " + std::to_string(i)}, {"a", i % 2}}; }

Task make_task(const Json& changes, TaskOptions options, int shots = 3) {
  data::Split documents;
  documents.columns = {"q", "a"};
  std::vector<Json> pool;
  for (int i = 0; i < kRows; ++i) documents.rows.push_back(row_of(i, "row"));
  for (int i = 0; i < 40; ++i) pool.push_back(row_of(i, "example"));
  return Task::from_documents(config_of(changes, shots), std::move(documents), std::move(pool), std::move(options));
}

bool same(const Instance& a, const Instance& b) {
  return a.document == b.document && a.index == b.index && *a.context == *b.context && a.continuation == b.continuation;
}

TEST(Slices, AnySliceIsAPartOfTheWhole) {
  const Task task = make_task({}, {});
  const std::vector<Instance> whole = task.build_all();
  ASSERT_EQ(whole.size(), 2u * kRows);
  for (int64_t first = 0; first < kRows; ++first) {
    for (int64_t last = first; last <= kRows; ++last) {
      const std::vector<Instance> part = task.build(first, last);
      ASSERT_EQ(part.size(), static_cast<size_t>(2 * (last - first)));
      for (size_t i = 0; i < part.size(); ++i) EXPECT_TRUE(same(part[i], whole[static_cast<size_t>(2 * first) + i]));
    }
  }
}

TEST(Slices, ALimitKeepsThePromptsOfTheFirstDocuments) {
  const std::vector<Instance> whole = make_task({}, {}).build_all();
  const std::vector<std::pair<double, size_t>> limits = {{1, 1}, {5.9, 5}, {0.25, 3}, {0.26, 4}, {100, 12}};
  for (const auto& [limit, documents] : limits) {
    TaskOptions options;
    options.limit = limit;
    const std::vector<Instance> part = make_task({}, options).build_all();
    ASSERT_EQ(part.size(), 2 * documents) << limit;
    for (size_t i = 0; i < part.size(); ++i) EXPECT_TRUE(same(part[i], whole[i]));
  }
}

TEST(Slices, ChosenRowsKeepTheirNumbers) {
  TaskOptions options;
  options.rows = {7, 2, 7};
  const Task task = make_task({}, options);
  EXPECT_EQ(task.evaluated_rows(), (std::vector<int64_t>{2, 7}));
  EXPECT_EQ(task.build_all()[2].document, 7);
  options.rows = {kRows};
  EXPECT_THROW(make_task({}, options), Error);
  options.rows.clear();
  options.limit = 0;
  EXPECT_THROW(make_task({}, options), Error);
}

TEST(Slices, WhatIsScoredAsItStandsIsText) {
  for (const char* type : {"loglikelihood_rolling", "loglikelihood"}) {
    const Json changes = {{"output_type", type}, {"doc_to_target", "a"}, {"doc_to_choice", nullptr}};
    try {
      make_task(changes, {}, 0).build_all();
      ADD_FAILURE() << type;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadInput);
      EXPECT_NE(std::string(error.what()).find("doc_to_target: must give text, not 0"), std::string::npos)
          << error.what();
    }
  }
}

TEST(Slices, RequestsOfADocumentShareTheirContext) {
  const std::vector<Instance> requests = make_task({}, {}).build_all();
  EXPECT_EQ(requests[0].context.get(), requests[1].context.get());
  EXPECT_EQ(requests[0].continuation, " yes");
}

TEST(Slices, AnotherSeedDrawsOtherExamples) {
  TaskOptions other;
  other.fewshot_seed = 1;
  EXPECT_NE(*make_task({}, {}).build_all()[0].context, *make_task({}, other).build_all()[0].context);
}

TEST(Slices, TooFewExamplesAreAnError) { EXPECT_THROW(make_task({}, {}, 41), Error); }

TEST(Slices, AFailureNamesTheRow) {
  const Task task = make_task({{"doc_to_text", "{{ q if a == 0 else nothing }}"}}, {}, 0);
  try {
    task.build_all();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    EXPECT_NE(std::string(error.what()).find("row 1"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("doc_to_text"), std::string::npos) << error.what();
  }
}

// A template that shows its messages.
std::string show(const Json& messages, bool add_generation_prompt) {
  std::string text;
  for (const Json& message : messages) {
    text += "<" + message["role"].get<std::string>() + ">" + message["content"].get<std::string>();
  }
  return text + (add_generation_prompt ? "<assistant>" : "");
}

TEST(ChatTemplates, ExamplesAsTurnsOrInOneMessage) {
  TaskOptions options;
  options.chat_template = show;
  options.system_instruction = "Be brief.";
  options.limit = 1;
  const Json first_n = {{"fewshot_config", {{"sampler", "first_n"}}}, {"description", "About rows."}};
  const std::vector<Instance> turns = make_task(first_n, options, 2).build_all();
  EXPECT_EQ(*turns[0].context,
            "<system>Be brief.\n\nAbout rows.<user>Q: example 0\nA:<assistant>yes<user>Q: example 1\nA:<assistant>no"
            "<user>Q: row 0\nA:<assistant>");
  EXPECT_EQ(turns[0].continuation, "yes");
  options.fewshot_as_multiturn = false;
  EXPECT_EQ(
      *make_task(first_n, options, 2).build_all()[0].context,
      "<system>Be brief.\n\nAbout rows.<user>Q: example 0\nA: yes\n\nQ: example 1\nA: no\n\nQ: row 0\nA:<assistant>");
}

TEST(ChatTemplates, AStartedAnswerIsContinued) {
  TaskOptions options;
  options.chat_template = show;
  options.limit = 1;
  const std::vector<Instance> requests = make_task({{"gen_prefix", "It is"}}, options, 0).build_all();
  EXPECT_EQ(*requests[0].context, "<user>Q: row 0\nA:<assistant>It is");
  EXPECT_EQ(requests[0].continuation, " yes");
}

}  // namespace
}  // namespace evalmpi::task
