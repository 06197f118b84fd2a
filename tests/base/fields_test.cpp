#include "evalmpi/base/fields.h"

#include <gtest/gtest.h>

#include "evalmpi/base/error.h"

namespace evalmpi {
namespace {

TEST(Fields, numbers_are_read_whole_and_in_bounds) {
  int value = 0;
  const Field field = integer_field("tp", "N", value, 1, "", Affects::kLayout);
  field.set("12");
  EXPECT_EQ(value, 12);
  for (const char* text : {"0", "-1", "1x", "", " 1", "1.0", "99999999999"}) {
    EXPECT_THROW(field.set(text), Error) << text;
  }
  EXPECT_EQ(value, 12);
  std::optional<double> number;
  number_field("limit", "N", number, "", Affects::kNumbers).set("0.25");
  EXPECT_EQ(number, 0.25);
  EXPECT_THROW(number_field("limit", "N", number, "", Affects::kNumbers).set("nan"), Error);
}

TEST(Fields, lists_grow_by_commas_and_repetition) {
  std::vector<std::string> tasks, folders;
  const Field field = list_field("tasks", "A", tasks, "", Affects::kNumbers);
  field.set("a,b,");
  field.set("c");
  EXPECT_EQ(tasks, (std::vector<std::string>{"a", "b", "c"}));
  const Field path = path_list_field("data-root", "DIR", folders, "", Affects::kNumbers);
  path.set("a,b");
  EXPECT_EQ(folders, (std::vector<std::string>{"a,b"}));
  EXPECT_EQ(to_json({field, path}).dump(), R"({"tasks":["a","b","c"],"data-root":["a,b"]})");
}

TEST(NearestName, finds_slips_only) {
  const std::vector<std::string> names = {"num-fewshot", "limit", "tasks"};
  EXPECT_EQ(nearest_name("num-fewshots", names), "num-fewshot");
  EXPECT_EQ(nearest_name("lmit", names), "limit");
  EXPECT_EQ(nearest_name("temperature", names), std::nullopt);
}

}  // namespace
}  // namespace evalmpi
