#include "option_parser.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <boost/program_options.hpp>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/comm/launch.h"
#include "evalmpi/task/task_index.h"

namespace evalmpi::cli {
namespace {

namespace po = boost::program_options;

std::string with_dashes(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

const Field* find(const std::vector<Field>& fields, const std::string& name) {
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const Field& field) { return field.name == name; });
  return found == fields.end() ? nullptr : &*found;
}

// "--num_fewshot=5" -> "--num-fewshot=5", "-t" -> "--tasks"; values are left alone.
std::string with_full_name(const std::string& argument, const std::vector<Field>& fields) {
  if (argument.starts_with("--")) {
    const size_t end = std::min(argument.find('='), argument.size());
    return with_dashes(argument.substr(0, end)) + argument.substr(end);
  }
  if (argument.size() != 2 || argument.front() != '-') return argument;
  const auto found =
      std::find_if(fields.begin(), fields.end(), [&](const Field& field) { return field.letter == argument[1]; });
  return found == fields.end() ? argument : "--" + found->name;
}

// A value, not an option: "-1" and "-" are values too.
bool is_word(const std::vector<std::string>& arguments, size_t i) {
  if (i >= arguments.size()) return false;
  const std::string& argument = arguments[i];
  return argument.size() < 2 || argument.front() != '-' || std::isdigit(static_cast<unsigned char>(argument[1])) ||
         argument[1] == '.';
}

// Every option with its value as one argument, --name=value. FAILS: kUsage for an option without the value that it
// needs.
std::vector<std::string> joined(const std::vector<std::string>& arguments, const std::vector<Field>& fields) {
  std::vector<std::string> result;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string argument = with_full_name(arguments[i], fields);
    const size_t equals = argument.find('=');
    const Field* field = argument.starts_with("--") ? find(fields, argument.substr(2, equals - 2)) : nullptr;
    if (field == nullptr || field->metavar.empty() || equals != argument.npos) {
      result.push_back(argument);
    } else if (is_word(arguments, i + 1)) {
      result.push_back(argument + "=" + arguments[++i]);
    } else if (!field->value_if_bare.empty()) {
      result.push_back(argument + "=" + field->value_if_bare);
    } else {
      fail(ExitCode::kUsage, "{} needs a value, {}", argument, field->metavar);
    }
    if (field == nullptr) continue;
    while (field->takes_more && is_word(arguments, i + 1)) result.push_back("--" + field->name + "=" + arguments[++i]);
  }
  return result;
}

std::vector<std::string> names_of(const std::vector<Field>& fields) {
  std::vector<std::string> names;
  for (const Field& field : fields) names.push_back(field.name);
  return names;
}

std::string hint(const std::string& name, const std::vector<Field>& fields, const char* prefix) {
  const std::optional<std::string> nearest = nearest_name(name, names_of(fields));
  return nearest ? fmt::format("; did you mean {}{}?", prefix, *nearest) : "; see --help";
}

po::options_description describe_to_boost(const std::vector<Field>& fields) {
  po::options_description description;
  description.add_options()("help,h", "");
  for (const Field& field : fields) {
    if (field.metavar.empty()) {
      description.add_options()(field.name.c_str(), "")(("no-" + field.name).c_str(), "");
    } else {
      description.add_options()(field.name.c_str(), po::value<std::string>(), "");
    }
  }
  return description;
}

std::vector<std::string> yaml_values(const YAML::Node& node, const Field& field, const std::string& where) {
  std::vector<std::string> values;
  if (node.IsMap() && field.takes_mapping) return {task::read_yaml_text(YAML::Dump(node), where).dump()};
  if (node.IsNull()) return values;
  if (node.IsScalar()) return {node.Scalar()};
  if (!node.IsSequence()) fail(ExitCode::kUsage, "{}: expected a value or a list of values", where);
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) fail(ExitCode::kUsage, "{}: expected a list of plain values", where);
    values.push_back(item.Scalar());
  }
  return values;
}

void append_wrapped(std::string& text, const std::string& words, size_t indent, size_t width) {
  size_t column = indent;
  size_t begin = 0;
  while (begin < words.size()) {
    const size_t end = std::min(words.find(' ', begin), words.size());
    if (column > indent && column + 1 + end - begin > width) {
      text += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      text += ' ';
      ++column;
    }
    text += words.substr(begin, end - begin);
    column += end - begin;
    begin = end + 1;
  }
  text += "\n";
}

}  // namespace

CommandLine parse_command_line(const std::vector<std::string>& arguments, const std::vector<Field>& fields) {
  po::options_description description = describe_to_boost(fields);
  description.add_options()("positional", po::value<std::vector<std::string>>(), "");
  po::positional_options_description positional;
  positional.add("positional", -1);
  using namespace po::command_line_style;
  CommandLine parsed;
  try {
    const auto options = po::command_line_parser(joined(arguments, fields))
                             .options(description)
                             .positional(positional)
                             .style(unix_style & ~allow_guessing)
                             .run();
    for (const po::option& option : options.options) {
      if (option.string_key == "help") {
        parsed.wants_help = true;
      } else if (option.string_key == "positional" || option.position_key >= 0) {
        parsed.positionals.insert(parsed.positionals.end(), option.value.begin(), option.value.end());
      } else if (const Field* field = find(fields, option.string_key)) {
        parsed.values[field->name].push_back(field->metavar.empty() ? "true" : option.value.at(0));
      } else {
        parsed.values[option.string_key.substr(3)].push_back("false");  // --no-<switch>
      }
    }
  } catch (const po::unknown_option& error) {
    std::string name = error.get_option_name();
    name.erase(0, name.find_first_not_of('-'));
    fail(ExitCode::kUsage, "unknown option --{}{}", name, hint(name, fields, "--"));
  } catch (const po::error& error) {
    fail(ExitCode::kUsage, "{}", error.what());
  }
  return parsed;
}

Values read_job_file(const std::filesystem::path& file, const std::vector<Field>& fields) {
  YAML::Node root;
  try {
    root = YAML::Load(read_file(file, 1 << 20));
  } catch (const YAML::Exception& error) {
    fail(ExitCode::kUsage, "{}:{}: {}", file.string(), error.mark.line + 1, error.msg);
  }
  if (!root.IsMap()) fail(ExitCode::kUsage, "{}: a job file is a mapping from option names to values", file.string());
  Values values;
  for (const auto& entry : root) {
    const std::string where = fmt::format("{}:{}", file.string(), entry.first.Mark().line + 1);
    if (!entry.first.IsScalar()) fail(ExitCode::kUsage, "{}: expected an option's name", where);
    const std::string name = with_dashes(entry.first.Scalar());
    const Field* field = find(fields, name);
    if (field == nullptr) fail(ExitCode::kUsage, "{}: unknown option {}{}", where, name, hint(name, fields, ""));
    if (values.contains(name)) fail(ExitCode::kUsage, "{}: {} stands twice", where, name);
    for (std::string& value : values[name] = yaml_values(entry.second, *field, fmt::format("{}: {}", where, name))) {
      // A model or task may be a name or a path; ./ and ../ say that it is a path.
      const bool is_path = field->is_path || value.starts_with("./") || value.starts_with("../");
      if (!is_path || std::filesystem::path(value).is_absolute()) continue;
      value = (file.parent_path() / value).lexically_normal().string();
    }
  }
  return values;
}

void apply(const Values& job, const Values& command_line, std::vector<Field>& fields) {
  for (Field& field : fields) {
    const auto given = command_line.find(field.name);
    const auto in_job = job.find(field.name);
    if (given == command_line.end() && in_job == job.end()) continue;
    const std::vector<std::string>& values = given != command_line.end() ? given->second : in_job->second;
    if (values.size() > 1 && !field.may_repeat && !field.metavar.empty()) {
      fail(ExitCode::kUsage, "--{} is given {} times", field.name, values.size());
    }
    for (const std::string& value : values) field.set(value);
  }
}

std::optional<std::vector<std::string>> read_folders(const std::string& command,
                                                     const std::vector<std::string>& arguments, const char* usage,
                                                     const std::vector<std::string>& names,
                                                     std::vector<Field>& fields) {
  const CommandLine command_line = parse_command_line(arguments, fields);
  // Under a launcher all ranks would come to the same words.
  if (!comm::speaks_before_init(comm::process_environment())) return std::nullopt;
  if (command_line.wants_help) {
    fmt::print("{}{}", usage, describe(fields));
    return std::nullopt;
  }
  apply({}, command_line.values, fields);
  if (command_line.positionals.size() != names.size()) {
    fail(ExitCode::kUsage, "{} takes {} argument{}, {} ({} given); see evalmpi {} --help", command, names.size(),
         names.size() > 1 ? "s" : "", fmt::join(names, " and "), command_line.positionals.size(), command);
  }
  return command_line.positionals;
}

std::string describe(const std::vector<Field>& fields) {
  constexpr size_t kIndent = 28;
  constexpr size_t kWidth = 100;
  const std::pair<Affects, const char*> groups[] = {{Affects::kNumbers, "What is computed"},
                                                    {Affects::kLayout, "Where (never changes what is finished)"},
                                                    {Affects::kOutput, "Output"},
                                                    {Affects::kHarness, "As lm_eval spells it"}};
  std::string text;
  for (const auto& group : groups) {
    const auto& [affects, title] = group;
    const auto is_in_group = [&](const Field& field) { return field.affects == group.first; };
    if (std::none_of(fields.begin(), fields.end(), is_in_group)) continue;
    text += fmt::format("\n{}:\n", title);
    for (const Field& field : fields) {
      if (field.affects != affects) continue;
      const std::string letter = field.letter == 0 ? "" : fmt::format("-{}, ", field.letter);
      const std::string metavar = field.value_if_bare.empty() ? field.metavar : "[" + field.metavar + "]";
      std::string head = fmt::format("  {}--{} {}", letter, field.name, metavar);
      head.resize(std::max(head.size(), kIndent - 1), ' ');
      if (head.size() >= kIndent) head += "\n" + std::string(kIndent - 1, ' ');
      text += head + " ";
      append_wrapped(text, field.help, kIndent, kWidth);
    }
  }
  return text;
}

}  // namespace evalmpi::cli
