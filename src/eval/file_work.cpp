#include "file_work.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <map>
#include <set>
#include <unordered_map>

#include "chat.h"
#include "evalmpi/base/bytes.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/base/log.h"
#include "evalmpi/comm/together.h"
#include "evalmpi/data/file_text.h"
#include "evalmpi/text/python.h"
#include "file_lines.h"

namespace evalmpi::eval {
namespace fs = std::filesystem;
namespace {

constexpr int kQuestionsTag = 1;
constexpr int64_t kBytesPerLine = 1200;  // beside its texts: settings, keys, the line that comes out
constexpr int64_t kBytesPerNewToken = 6;

// What the command's own options say of generation.
LineSettings command_settings(const FileOptions& o, const Json& gen_kwargs) {
  LineSettings settings;
  for (const auto& [key, value] : gen_kwargs.items()) {
    const SettingKind kind = setting_kind(key);
    if (kind == SettingKind::kUnknown) fail(ExitCode::kUsage, "--gen-kwargs: unknown setting {}", key);
    try {
      set_setting(settings, key, value);
    } catch (const Error& error) {
      fail(ExitCode::kUsage, "--gen-kwargs: {}", error.what());
    }
  }
  const auto take = [&](const char* name, const Json& value) {
    try {
      set_setting(settings, name, value);
    } catch (const Error& error) {
      fail(ExitCode::kUsage, "--{}", error.what());
    }
  };
  if (o.max_tokens) take("max_tokens", *o.max_tokens);
  if (o.temperature) take("temperature", *o.temperature);
  if (o.top_p) take("top_p", *o.top_p);
  if (o.min_p) take("min_p", *o.min_p);
  if (o.top_k) take("top_k", *o.top_k);
  if (o.n) take("n", *o.n);
  if (!o.stop.empty()) take("stop", o.stop);
  return settings;
}

// What a line says, then the command, then the form of the line.
LineSettings settings_of(const FileLine& line, const LineSettings& command, const Json& generation_config,
                         int64_t positions) {
  LineSettings settings = merged(line.settings, command);
  const bool draws_by_default = line.form != LineForm::kPlain || settings.do_sample.value_or(false);
  if (!settings.temperature && draws_by_default && settings.do_sample.value_or(true)) {
    const Json standard = generation_config.is_object() ? generation_config.value("temperature", Json()) : Json();
    settings.temperature = standard.is_number() ? standard.get<double>() : 1.0;
  }
  if (!settings.max_tokens) {
    settings.max_tokens = line.form == LineForm::kPlain ? kPlainNewTokens
                          : line.form == LineForm::kCompletion
                              ? kCompletionNewTokens
                              : static_cast<int32_t>(std::min<int64_t>(kMostChatNewTokens, positions));
  }
  return settings;
}

int64_t text_bytes(const Prompt& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return static_cast<int64_t>(text->size());
  if (const auto* tokens = std::get_if<std::vector<int32_t>>(&prompt))
    return static_cast<int64_t>(tokens->size() * sizeof(int32_t));
  return static_cast<int64_t>(std::get<Conversation>(prompt).messages.dump().size()) * 2;
}

// FAILS: before anything is computed for a copy that could not be written.
void check_copy(const std::string& file, const std::string& input) {
  if (file.empty()) return;
  const fs::path folder = fs::absolute(file).parent_path();
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored))
    fail(ExitCode::kCannotWrite, "--output-file {}: {} is no folder", file, folder.string());
  if (fs::is_directory(file, ignored)) fail(ExitCode::kCannotWrite, "--output-file {}: a folder", file);
  if (fs::equivalent(file, input, ignored)) fail(ExitCode::kUsage, "--output-file {}: that is the input", file);
}

std::string list_text(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

Json FileWork::options() const {
  FileOptions shown = options_;
  return to_json(fields(shown));
}

std::string FileWork::name(size_t part) const {
  const std::string what = options_.job == FileJob::kGenerate ? "prompts" : "texts";
  return part_sizes_.size() == 1 ? what : fmt::format("{} with settings {}", what, part + 1);
}

void FileWork::read(comm::Communicator& world) {
  const bool is_root = world.rank() == 0;
  comm::run_together(world, "read " + options_.input, [&] {
    too_long_ = resolve(options_);
    if (!is_root) return;
    check_copy(options_.output_file, options_.input);
    read_file();
  });
  setup_ = comm::run_together(world, "read the model's description", [&] { return make_model_setup(options_.each); });
  Json shared;
  comm::run_together(world, "read " + options_.input, [&] {
    if (!is_root) return;
    group_lines();
    for (const Group& group : groups_) part_sizes_.push_back(static_cast<int64_t>(group.lines.size()));
    shared = {part_sizes_, file_.has_conversations};
  });
  shared = parse_json(world.broadcast_bytes(is_root ? shared.dump() : "", 0), "parts of the file");
  part_sizes_ = shared.at(0).get<std::vector<int64_t>>();
  ChatOptions chat;
  chat.applies = shared.at(1).get<bool>();
  comm::run_together(world, "read the chat template", [&] {
    const std::string& name = options_.each.apply_chat_template;
    const bool wraps = !name.empty() && name != "false" && name != "False";
    chat.applies = chat.applies || wraps;
    if (wraps && name != "true" && name != "True") chat.template_name = name;
    chat.arguments = parse_key_values(options_.each.chat_template_args, "chat-template-args");
    chat_template_ = load_chat_template(chat, setup_.tokenizer_folder, *setup_.tokenizer);
  });
}

// Rank 0: the lines, as they are.
void FileWork::read_file() {
  const fs::path path = options_.input;
  const bool is_standard_input = options_.input == "-";
  const std::string where = is_standard_input ? "standard input" : path.string();
  const auto parse = [&](std::string_view text, bool is_plain) {
    file_ = parse_prompt_file(text, is_plain, where, options_.job, options_.each.limit);
  };
  if (is_standard_input) {
    parse(std::string(std::istreambuf_iterator<char>(std::cin), {}), false);
  } else {
    const data::FileText text(path);
    if (!data::is_utf8(text.bytes())) fail(ExitCode::kBadInput, "{}: not UTF-8", where);
    parse(text.bytes(), data::without_compression(path).extension() == ".txt");
  }
  if (!file_.unused_keys.empty() && !options_.each.quiet) {
    log::info("{}: keys that are not used: {}", where, list_text(file_.unused_keys));
  }
  std::set<Json> ids;
  for (const FileLine& line : file_.lines) {
    if (!line.question.is_batch_line || ids.insert(line.id).second) continue;
    log::warning("{}:{}: custom_id {} stands in an earlier line too", where, line.question.line, line.id.dump());
    break;
  }
  outputs_.resize(file_.lines.size());
}

void FileWork::refuse(size_t line, const std::string& why) {
  outputs_[line] = refused_line(file_.lines[line], why);
  ++totals_.refused;
}

// Rank 0: lines with equal settings become a group.
void FileWork::group_lines() {
  if (options_.job == FileJob::kLogprobs) {
    groups_.emplace_back();
    for (size_t i = 0; i < file_.lines.size(); ++i) groups_[0].lines.push_back(i);
    return;
  }
  const LineSettings command = command_settings(options_, setup_.options.generation_kwargs);
  const int64_t positions = setup_.encoder->max_length() / (too_long_ == TooLong::kTruncate ? 2 : 1);
  struct Known {
    size_t group = 0;
    std::string fault;
  };
  std::unordered_map<std::string, Known> known;
  for (size_t i = 0; i < file_.lines.size(); ++i) {
    FileLine& line = file_.lines[i];
    if (!line.refusal.empty()) {
      refuse(i, line.refusal);
      continue;
    }
    line.settings = settings_of(line, command, setup_.spec.generation_config, positions);
    line.question.max_tokens = line.settings.max_tokens;
    const auto [found, is_new] = known.try_emplace(group_key(line.settings));
    if (is_new) {
      try {
        // A line's own seed is part of its key, so that it alone decides.
        const uint64_t seed = line.settings.seed ? 0 : static_cast<uint64_t>(options_.seed);
        Group group{{}, line.settings, plan_line(line.settings, setup_.spec, *setup_.tokenizer, seed), nullptr};
        found->second.group = groups_.size();
        groups_.push_back(std::move(group));
      } catch (const Error& error) {
        found->second.fault = error.what();
      }
    }
    if (found->second.fault.empty()) {
      Group& group = groups_[found->second.group];
      group.lines.push_back(i);
      group.plan->max_new_tokens = std::max(group.plan->max_new_tokens, *line.settings.max_tokens);
    } else if (line.question.is_batch_line) {
      refuse(i, found->second.fault);
    } else {
      fail(ExitCode::kBadInput, "{}:{}: {}", options_.input, line.question.line, found->second.fault);
    }
  }
}

// Rank 0: those of some lines of a part, for the rank that encodes them.
std::string FileWork::questions_of(size_t part, Slice slice) const {
  ByteWriter out;
  for (int64_t position = slice.first; position < slice.last; ++position) {
    out.put_text(to_bytes(file_.lines[groups_[part].lines[static_cast<size_t>(position)]].question));
  }
  return out.take();
}

// COLLECTIVE: each rank gets the questions of its slice.
std::vector<Question> FileWork::share_questions(comm::Communicator& world, size_t part) const {
  const auto slice = [&](int rank) { return slice_of(part_sizes_[part], rank, world.size()); };
  std::string mine;
  if (world.rank() == 0) {
    for (int rank = 1; rank < world.size(); ++rank) world.send(questions_of(part, slice(rank)), rank, kQuestionsTag);
    mine = questions_of(part, slice(0));
  } else {
    mine = world.receive(0, kQuestionsTag);
  }
  std::vector<Question> questions;
  for (ByteReader in(mine, "questions"); !in.at_end();) questions.push_back(question_from_bytes(in.get_text()));
  return questions;
}

QuestionRules FileWork::rules() const {
  QuestionRules rules;
  rules.encoder = setup_.encoder.get();
  rules.chat_template = chat_template_ ? &*chat_template_ : nullptr;
  const std::string& wraps = options_.each.apply_chat_template;
  rules.wraps_prompts = !wraps.empty() && wraps != "false" && wraps != "False";
  rules.system_instruction = options_.each.system_instruction;
  rules.too_long = too_long_;
  rules.job = options_.job;
  rules.vocab = setup_.spec.vocab;
  rules.file = options_.input;
  return rules;
}

TaskRequests FileWork::encode(comm::Communicator& world, size_t part, const Hash128& model_id, int threads) {
  const bool is_root = world.rank() == 0;
  const std::vector<Question> mine = share_questions(world, part);
  const int64_t first_mine = slice_of(part_sizes_[part], world.rank(), world.size()).first;
  const QuestionRules with = rules();
  const auto encode = [&](int64_t first, int64_t last) {
    Encoded encoded;
    for (int64_t position = first; position < last; ++position) {
      encode_question(encoded, position, mine[static_cast<size_t>(position - first_mine)], with);
    }
    return encoded;
  };
  TaskRequests requests = encode_slices(world, name(part), part_sizes_[part], encode,
                                        is_root ? groups_[part].plan : std::nullopt, model_id, threads);
  if (!is_root) return requests;
  Group& group = groups_[part];
  for (size_t i = 0; i < requests.refused.size(); ++i)
    refuse(group.lines[static_cast<size_t>(requests.refused[i])], requests.reasons[i]);
  tell_draws_apart(part, requests);
  if (options_.tokens && options_.job == FileJob::kLogprobs) group.tokens = requests.tokens;
  return requests;
}

// A draw is a function of the key. Lines with a seed of their own have it in their keys; of others that ask the same,
// the second and further ones are draws of their own.
void FileWork::tell_draws_apart(size_t part, TaskRequests& requests) const {
  const Group& group = groups_[part];
  if (!group.plan || !group.plan->settings.is_sampling) return;
  std::unordered_map<Hash128, uint64_t> asked;
  for (size_t i = 0; i < requests.size(); ++i) {
    const LineSettings& settings = file_.lines[group.lines[static_cast<size_t>(requests.position[i])]].settings;
    const uint64_t occurrence = settings.seed ? 0 : asked[requests.keys[i]]++;
    Hasher hasher;
    hasher.add(requests.keys[i]);
    if (settings.seed) hasher.add(static_cast<uint64_t>(*settings.seed)).add("seed");
    if (occurrence > 0) hasher.add(occurrence).add("occurrence");
    if (settings.seed || occurrence > 0) requests.keys[i] = hasher.finish();
  }
}

int64_t FileWork::document_bytes(size_t part) const {
  int64_t bytes = 0;
  for (const size_t i : groups_[part].lines) {
    const Question& question = file_.lines[i].question;
    bytes += kBytesPerLine + question.max_tokens.value_or(0) * kBytesPerNewToken;
    for (const auto* prompts : {&question.prompts, &question.continuations}) {
      for (const Prompt& prompt : *prompts) bytes += text_bytes(prompt);
    }
  }
  return bytes;
}

void FileWork::report(size_t part, const TaskRequests& requests, AnswerTable& answers, const ReportOptions& options,
                      Published& published) {
  const FullAnswers full = read_answers(requests, answers, options.log_directory, options.numerics_class,
                                        published.records_of_other_classes);
  if (options_.job == FileJob::kGenerate) {
    report_answers(part, requests, full);
  } else {
    report_scores(part, requests, full);
  }
}

void FileWork::report_answers(size_t part, const TaskRequests& requests, const FullAnswers& full) {
  const Group& group = groups_[part];
  const auto repeats = static_cast<size_t>(requests.repeats);
  for (size_t i = 0; i < requests.size();) {
    const int32_t position = requests.position[i];
    std::vector<Answer> answers;
    int64_t prompt_tokens = 0;
    for (; i < requests.size() && requests.position[i] == position; ++i) {
      prompt_tokens += requests.token_begin[i + 1] - requests.token_begin[i];
      for (size_t repeat = 0; repeat < repeats; ++repeat) {
        const engine::GenerateResult& result = full.generations[i * repeats + repeat];
        answers.push_back(
            {generated_text(*setup_.tokenizer, result.tokens, *group.plan), result.finish, result.tokens});
        totals_.new_tokens += static_cast<int64_t>(result.tokens.size());
        ++(result.finish == engine::FinishReason::kLength ? totals_.cut_short : totals_.ended);
      }
    }
    totals_.prompt_tokens += prompt_tokens;
    ++totals_.answered;
    const size_t line = group.lines[static_cast<size_t>(position)];
    outputs_[line] = answer_line(file_.lines[line], answers, prompt_tokens, options_.each.model, options_.tokens);
  }
}

void FileWork::report_scores(size_t part, const TaskRequests& requests, const FullAnswers& full) {
  const Group& group = groups_[part];
  const std::set<int32_t> refused(requests.refused.begin(), requests.refused.end());
  size_t request = 0;
  for (int32_t position = 0; position < static_cast<int32_t>(group.lines.size()); ++position) {
    if (refused.contains(position)) continue;
    const FileLine& line = file_.lines[group.lines[static_cast<size_t>(position)]];
    std::vector<Score> scores(line.question.is_whole_text ? 1 : line.question.continuations.size());
    for (; request < requests.size() && requests.position[request] == position; ++request) {
      // The windows of a text follow each other.
      Score& score = scores[line.question.is_whole_text ? 0 : static_cast<size_t>(requests.index[request])];
      const std::vector<float>& logprobs = full.logprobs[request];
      score.logprobs.insert(score.logprobs.end(), logprobs.begin(), logprobs.end());
      score.is_greedy = score.is_greedy && all_of(full.is_argmax[request]);
      if (!group.tokens) continue;
      const auto end = group.tokens->begin() + requests.token_begin[request + 1];
      score.tokens.insert(score.tokens.end(), end - requests.targets[request], end);
    }
    if (line.question.is_whole_text) {
      const auto* text = std::get_if<std::string>(&line.question.prompts.front());
      if (text != nullptr) scores[0].bytes = static_cast<int64_t>(text->size());
      ++totals_.texts;
      totals_.text_tokens += static_cast<int64_t>(scores[0].logprobs.size());
      totals_.text_bytes += scores[0].bytes.value_or(0);
      totals_.text_logprob += sum_of(scores[0].logprobs);
      if (scores[0].bytes) totals_.byte_logprob += sum_of(scores[0].logprobs);
    } else {
      totals_.continuations += static_cast<int64_t>(scores.size());
      for (const Score& score : scores) totals_.continuation_tokens += static_cast<int64_t>(score.logprobs.size());
    }
    ++totals_.answered;
    outputs_[group.lines[static_cast<size_t>(position)]] = score_line(line, scores, *setup_.tokenizer, options_.tokens);
  }
}

}  // namespace evalmpi::eval
