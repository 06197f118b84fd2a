// The text of Python functions, and whether it is that of lm-evaluation-harness.

#include "harness_sources.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "evalmpi/base/error.h"
#include "evalmpi/task/survey.h"
#include "native/filter_classes.h"
#include "native_functions.h"
#include "python_source.h"
#include "temporary_directory.h"

namespace evalmpi::task {
namespace {

constexpr const char* kModule = R"py(import re
from functools import partial, reduce as fold  # a comment

# another
WORDS = [
    "one",  # first
"two",
]
OTHER = 1

def clean(text):
    """Text # with

    lines.
    """
    return re.sub(r"\s'#", " ", text)


@decorated(
    by=1
)
def process_docs(dataset):
    '''See OTHERS'''

    for word in WORDS:
        pass
    return dataset.map(clean)

def unrelated(x): return fold(x)
process_law = partial(process_docs, subject="law")
)py";

std::string meaning(const std::string& text, const std::string& name) {
  return PythonModule::read(text).meaning_of(name).value_or("(none)");
}

std::string changed(std::string text, const std::string& from, const std::string& to) {
  const size_t place = text.find(from);
  EXPECT_NE(place, text.npos) << from;
  return text.replace(place, from.size(), to);
}

TEST(PythonSource, IsAFunctionAndWhatItUses) {
  EXPECT_EQ(
      meaning(kModule, "clean"),
      "import re\ndef clean(text):\n    \"\"\"Text # with\n\n    lines.\n    \"\"\"\n    return re.sub(r\"\\s'#\", "
      "\" \", text)\n");
  const std::string all = meaning(kModule, "process_law");
  for (const char* part : {"import re\n", "from functools", "WORDS = [\n    \"one\",\n\"two\",\n]\n", "def clean",
                           "@decorated(\n    by=1\n)\ndef process_docs", "subject=\"law\""}) {
    EXPECT_NE(all.find(part), all.npos) << part << "\n" << all;
  }
  EXPECT_EQ(all.find("OTHER = 1"), all.npos);
  EXPECT_EQ(all.find("unrelated"), all.npos);
  EXPECT_EQ(all.find("comment"), all.npos);
  EXPECT_EQ(meaning(kModule, "missing"), "(none)");
}

TEST(PythonSource, SeesWhatChangesAMeaning) {
  const std::string before = meaning(kModule, "process_law");
  const std::pair<const char*, const char*> meaningless[] = {{"# another", "# else"},
                                                             {"  # a comment", ""},
                                                             {"\n\n\n@", "\n@"},
                                                             {"OTHER = 1", "OTHER = 2"},
                                                             {"\"one\",  # first", "\"one\","},
                                                             {"return fold(x)", "return x"},
                                                             {"import re\n", "import re   \n\n"}};
  for (const auto& [from, to] : meaningless)
    EXPECT_EQ(meaning(changed(kModule, from, to), "process_law"), before) << to;
  const std::pair<const char*, const char*> others[] = {
      {"\"law\"", "\"laws\""}, {"\"two\"", "\"too\""},
      {"\\s'#", "\\s'"},       {"    return dataset", "     return dataset"},
      {"by=1", "by=2"},        {"Text # with", "Text #with"}};
  for (const auto& [from, to] : others) EXPECT_NE(meaning(changed(kModule, from, to), "process_law"), before) << to;
}

TEST(PythonSource, ReadsAnyText) {
  for (const char* text : {"", "\"\"\"never ends", "'", "f(", ")))", "\\", "@", "def", "def f", "x\\\n", "=",
                           "é = 1\nf = é", "if x:\n  f = 1\nelse:\n  f = 2\n", "\xff\xfe", "else:"}) {
    PythonModule::read(text).meaning_of("f");
  }
  EXPECT_EQ(meaning("if x:\n  f = 1\nelse:\n  f = 2\ng = 3\n", "f"), "if x:\n  f = 1\nelse:\n  f = 2\n");
}

// A folder as a user may have it: lm-evaluation-harness's winogrande with a module of its own.
class ChangedFunctions : public ::testing::Test {
 protected:
  void write_module(const std::string& text) {
    std::filesystem::create_directories(folder_.path() / "winogrande");
    std::ofstream(folder_.path() / "winogrande" / "preprocess_winogrande.py") << text;
    std::ofstream(folder_.path() / "winogrande" / "task.yaml")
        << "task: wino\ndataset_path: made/up\noutput_type: multiple_choice\ntest_split: test\n"
           "doc_to_text: !function preprocess_winogrande.doc_to_text\n"
           "doc_to_target: !function preprocess_winogrande.doc_to_target\n"
           "doc_to_choice: !function preprocess_winogrande.doc_to_choice\n"
           "metric_list: [{metric: acc}]\n";
  }

  std::vector<std::string> changed_functions() const {
    return TaskIndex::scan({folder_.path()}).select({"wino"}).changed_functions;
  }

  TemporaryDirectory folder_;
};

TEST_F(ChangedFunctions, AreNamedWithTheirFile) {
  write_module("def doc_to_text(doc):\n    return 0\n");
  const std::vector<std::string> changed = changed_functions();
  ASSERT_EQ(changed.size(), 3U);
  EXPECT_NE(changed[0].find("winogrande/preprocess_winogrande.py: doc_to_text"), std::string::npos) << changed[0];
  const std::vector<TaskSupport> found = survey(TaskIndex::scan({folder_.path()}));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].support, Support::kReady);
  EXPECT_EQ(found[0].changed.size(), 3U);
}

TEST_F(ChangedFunctions, AreThoseWhoseTextIsNotKnown) {
  const std::string text =
      "import re\ndef gap(s):\n    return s.index('_')\ndef doc_to_text(doc):\n    return 0\n"
      "def doc_to_target(doc):\n    return doc['sentence'][gap(doc):]\ndef doc_to_choice(doc):\n    return "
      "re.split('_', doc)\n";
  write_module(text);
  const Json mapping = read_task_yaml(folder_.path() / "winogrande" / "task.yaml");
  const std::set<uint64_t> set = HarnessSources().marks_of(mapping);
  const std::vector<uint64_t> known(set.begin(), set.end());
  EXPECT_EQ(known.size(), 3U);
  EXPECT_TRUE(HarnessSources(known).changed_in(mapping).empty());
  write_module("# mine\n" + changed(text, "return 0\n", "return 0  # \n\n\n"));
  EXPECT_TRUE(HarnessSources(known).changed_in(mapping).empty());
  write_module(changed(text, "index('_')", "index('-')"));
  const std::vector<ChangedFunction> found = HarnessSources(known).changed_in(mapping);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].name, "doc_to_target");
}

TEST_F(ChangedFunctions, AreNoneWithoutAModule) {
  write_module("");
  std::filesystem::remove(folder_.path() / "winogrande" / "preprocess_winogrande.py");
  EXPECT_TRUE(changed_functions().empty());
}

TEST(HarnessMarks, AreSortedAndMany) {
  const std::span<const uint64_t> marks = harness_marks();
  EXPECT_TRUE(std::is_sorted(marks.begin(), marks.end()));
  EXPECT_GT(marks.size(), 100U);
}

// A row without one was added without make_harness_marks.py, or no task of the harness has it.
TEST(HarnessMarks, AreOfEveryRow) {
  std::vector<std::string> rows;
  for (const PythonClass& row : python_classes()) rows.push_back(row.name);
  for (const native::FilterClass& row : native::filter_classes()) rows.push_back(row.name);
  for (const NativeFunction& row : native_functions()) {
    // The functions of a class are in its text.
    const std::string name = row.name;
    const bool is_of_class = std::ranges::any_of(
        python_classes(), [&](const PythonClass& one) { return name.starts_with(std::string(one.name) + "."); });
    if (!is_of_class) rows.push_back(name);
  }
  for (const std::string& row : rows) EXPECT_TRUE(has_mark(harness_marks(), row)) << row;
  EXPECT_FALSE(has_mark(harness_marks(), "winogrande/preprocess_winogrande.doc_to_texts"));
}

TEST(HarnessMarks, AreOfRowAndText) {
  const std::vector<uint64_t> marks = {mark_of("a", "x"), mark_of("a", "y"), mark_of("b", "x")};
  EXPECT_EQ(std::set<uint64_t>(marks.begin(), marks.end()).size(), 3U);
  EXPECT_TRUE(has_mark({&marks[1], 1}, "a"));
  EXPECT_FALSE(has_mark({&marks[1], 1}, "b"));
}

}  // namespace
}  // namespace evalmpi::task
