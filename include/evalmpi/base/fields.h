#pragma once

// Options that list their fields once. A struct of options offers `std::vector<Field> fields(Options&)`; the command
// line, job files, the printed and recorded configuration and the resume check are all made from that list.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evalmpi/base/json.h"

namespace evalmpi {

// What a change of the option does to a run that is resumed.
enum class Affects {
  kNumbers,  // what is computed: other requests, so new chunks
  kLayout,   // where it is computed: nothing is lost
  kOutput,   // what is shown or written
  kHarness,  // another program's spelling of the others
};

struct Field {
  std::string name;     // as on the command line and in job files: "num-fewshot"
  std::string metavar;  // "N", "DIR"; empty for a switch
  std::string help;     // one or two sentences, the default included
  Affects affects = Affects::kNumbers;
  bool is_path = false;     // relative values in a job file are relative to its folder
  bool may_repeat = false;  // given several times, the values add up
  // Takes one value as text; a switch gets "true" or "false". FAILS: kUsage naming option, value and what is expected.
  std::function<void(const std::string&)> set;
  std::function<Json()> get;
  char letter = 0;                 // -o; 0: none
  bool takes_more = false;         // the bare words after its value are further values: --tasks a b
  bool takes_mapping = false;      // in a job file its value may be a mapping, which is handed on as JSON
  std::string value_if_bare = {};  // what the option means when no value follows; empty: one must
};

// Fields over the ordinary kinds of values. The variable outlives the field.
Field text_field(std::string name, std::string metavar, std::string& value, std::string help, Affects affects);
Field path_field(std::string name, std::string metavar, std::string& value, std::string help, Affects affects);
// Comma lists and repetition both add to the list.
Field list_field(std::string name, std::string metavar, std::vector<std::string>& value, std::string help,
                 Affects affects);
Field path_list_field(std::string name, std::string metavar, std::vector<std::string>& value, std::string help,
                      Affects affects);
Field switch_field(std::string name, bool& value, std::string help, Affects affects);
// BOOL: true or false; bare, it is true.
Field boolean_field(std::string name, std::optional<bool>& value, std::string help, Affects affects);
Field integer_field(std::string name, std::string metavar, int& value, int least, std::string help, Affects affects);
Field integer_field(std::string name, std::string metavar, std::optional<int>& value, int least, std::string help,
                    Affects affects);
Field number_field(std::string name, std::string metavar, std::optional<double>& value, std::string help,
                   Affects affects);

// All fields as one object, in order.
Json to_json(const std::vector<Field>& fields);

// Sets the fields that `values` has, as to_json() gave it; null and empty texts leave a field as it is. Of two fields
// over one variable the first counts. FAILS: kUsage as Field::set.
void set_from_json(const Json& values, std::vector<Field>& fields);

// The one of `names` nearest to `name` in edit distance, if any is near enough to be a slip.
std::optional<std::string> nearest_name(std::string_view name, const std::vector<std::string>& names);

}  // namespace evalmpi
