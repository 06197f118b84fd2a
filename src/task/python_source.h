#pragma once

// The text of functions in Python modules, to see whether a module is the one that is known. Nothing is run.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace evalmpi::task {

// A module's statements that begin at the margin, in its order.
class PythonModule {
 public:
  // Reads any text; of one that is not Python it makes some statements or none.
  static PythonModule read(std::string_view text);

  // The statements that give `name` its meaning, and those that give their names one, and so on, in the module's order:
  // without comments, empty lines and spaces at the ends of lines. Nothing when no statement gives the name one.
  std::optional<std::string> meaning_of(const std::string& name) const;

  // All statements in that form.
  std::string all() const;

 private:
  struct Statement {
    std::string text;
    std::vector<std::string> names;  // every identifier and word in it
  };

  std::vector<Statement> statements_;
  std::map<std::string, std::vector<size_t>> givers_;  // by name, the statements that give it a meaning
};

}  // namespace evalmpi::task
