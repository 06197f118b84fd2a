#include "evalmpi/eval/combinations.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "evalmpi/base/error.h"

namespace evalmpi::eval {
namespace fs = std::filesystem;
namespace {

constexpr const char* kNoAdapter = "none";
constexpr size_t kMaxCombinations = 10'000;

void append(std::vector<std::string>& list, const std::string& value) {
  if (!value.empty() && std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
}

// `field` as a list whose members are separated by commas, and may be paths.
Field as_list(Field field, std::string metavar, std::vector<std::string>& list) {
  field.metavar = std::move(metavar);
  field.may_repeat = true;
  field.get = [&list] { return Json(list); };
  field.set = [&list](const std::string& text) {
    std::error_code ignored;
    if (fs::is_directory(text, ignored)) return append(list, text);
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      append(list, text.substr(begin, end - begin));
      begin = end + 1;
    }
  };
  return field;
}

// The same option under another name.
Field other_name(Field field, std::string name, std::string help) {
  field.name = std::move(name);
  field.help = std::move(help);
  field.letter = 0;
  return field;
}

// "5" and "few_shot_5" -> 5.
int shot_count(const std::string& text) {
  constexpr std::string_view kFewShot = "few_shot_";
  std::string name = text;
  std::replace(name.begin(), name.end(), '-', '_');
  if (name == "zero_shot") return 0;
  if (name == "one_shot") return 1;
  std::string_view digits = name;
  if (digits.starts_with(kFewShot)) digits.remove_prefix(kFewShot.size());
  int shots = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), shots);
  if (error != std::errc() || end != digits.data() + digits.size() || shots < 0) {
    fail(ExitCode::kUsage, "--num-fewshot {}: expected a whole number from 0 up, zero_shot, one_shot or few_shot_K",
         text);
  }
  return shots;
}

// The parts of a path or hub id that may name it, without characters that a folder's name should not have.
std::vector<std::string> parts_of(const std::string& path) {
  std::vector<std::string> parts;
  for (const fs::path& part : fs::path(path).lexically_normal()) {
    std::string text = part.string();
    if (text.empty() || text == "/" || text == ".") continue;
    if (text == "..") text = "up";
    for (char& c : text) {
      const bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            std::string_view("._-=").find(c) != std::string_view::npos;
      if (!is_plain) c = '-';
    }
    parts.push_back(std::move(text));
  }
  return parts;
}

std::string last_parts(const std::vector<std::string>& parts, size_t count) {
  std::string name;
  for (size_t i = parts.size() - std::min(count, parts.size()); i < parts.size(); ++i) {
    name += (name.empty() ? "" : "_") + parts[i];
  }
  return name;
}

// As many parts of each path as tell it from the others.
std::vector<std::string> short_names(const std::vector<std::string>& paths) {
  std::vector<std::vector<std::string>> parts;
  size_t longest = 0;
  for (const std::string& path : paths) {
    parts.push_back(parts_of(path));
    longest = std::max(longest, parts.back().size());
  }
  std::vector<std::string> names;
  for (size_t i = 0; i < paths.size(); ++i) {
    const auto is_alone = [&](size_t count) {
      for (size_t j = 0; j < paths.size(); ++j) {
        if (j != i && last_parts(parts[j], count) == last_parts(parts[i], count)) return false;
      }
      return true;
    };
    size_t count = 1;
    while (count < longest && !is_alone(count)) ++count;
    names.push_back(last_parts(parts[i], count));
    // Paths that only differ in characters that names do not have.
    if (!is_alone(count)) names.back() += fmt::format("_{}", i + 1);
    if (names.back().empty()) names.back() = fmt::format("model_{}", i + 1);
  }
  return names;
}

void check_names(const std::vector<Combination>& all) {
  std::set<std::string> taken;
  for (const Combination& combination : all) {
    if (taken.insert(combination.name).second) continue;
    fail(ExitCode::kUsage, "two combinations would be called {}: give models and adapters paths that differ in letters",
         combination.name);
  }
}

}  // namespace

std::vector<Field> fields(JobOptions& options) {
  std::vector<Field> all;
  for (Field& field : fields(options.each)) {
    if (field.name == "model") {
      all.push_back(as_list(std::move(field), "DIR", options.models));
      all.push_back(
          other_name(all.back(), "models",
                     "The same as --model. Of several models, adapters and shot counts, separated by commas, every "
                     "combination is evaluated, in a folder of its own, and all are compared."));
      all.back().metavar = "A,B";
    } else if (field.name == "adapter") {
      field.help += " Of several each is evaluated; \"none\" among them is the model alone.";
      all.push_back(as_list(std::move(field), "A,B", options.adapters));
    } else if (field.name == "num-fewshot") {
      all.push_back(as_list(std::move(field), "K,L", options.shots));
      all.push_back(
          other_name(all.back(), "prompts", "The same as --num-fewshot in words: zero_shot, one_shot, few_shot_K."));
    } else {
      all.push_back(std::move(field));
    }
  }
  return all;
}

std::vector<std::pair<std::string, std::string>> other_spellings() {
  return {{"models", "model"}, {"prompts", "num-fewshot"}};
}

std::vector<Combination> combinations(const JobOptions& job) {
  if (job.models.empty()) fail(ExitCode::kUsage, "--model is missing: a model folder, or the id of a cached model");
  std::vector<std::string> adapters = job.adapters;
  if (adapters.empty()) adapters.emplace_back(kNoAdapter);
  std::vector<std::optional<int>> shots;
  for (const std::string& text : job.shots) {
    const int count = shot_count(text);
    if (std::find(shots.begin(), shots.end(), count) == shots.end()) shots.emplace_back(count);
  }
  if (shots.empty()) shots.emplace_back(std::nullopt);
  if (job.models.size() * adapters.size() * shots.size() > kMaxCombinations) {
    fail(ExitCode::kUsage, "{} models x {} adapters x {} shot counts are more than {} combinations", job.models.size(),
         adapters.size(), shots.size(), kMaxCombinations);
  }
  const std::vector<std::string> model_names = short_names(job.models), adapter_names = short_names(adapters);
  std::vector<Combination> all;
  for (size_t m = 0; m < job.models.size(); ++m) {
    for (size_t a = 0; a < adapters.size(); ++a) {
      for (const std::optional<int>& count : shots) {
        Combination combination{model_names[m], job.each};
        combination.options.model = job.models[m];
        combination.options.adapter.clear();
        if (adapters[a] != kNoAdapter) {
          combination.options.adapter = adapters[a];
          combination.name += "+" + adapter_names[a];
        }
        combination.options.num_fewshot = count;
        if (count) combination.name += fmt::format("_{}shot", *count);
        resolve(combination.options);
        all.push_back(std::move(combination));
      }
    }
  }
  check_names(all);
  return all;
}

}  // namespace evalmpi::eval
