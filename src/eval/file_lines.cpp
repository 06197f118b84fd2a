#include "file_lines.h"

#include <fmt/format.h>

#include <cmath>

#include "evalmpi/text/python.h"
#include "full_answers.h"

namespace evalmpi::eval {
namespace {

std::string to_line(const Json& json) { return text::python::json_dumps(json, {-1, false, false}) + "\n"; }

Json begin_line(const FileLine& line) {
  Json json = {{"line", line.question.line}};
  if (!line.id_key.empty()) json[line.id_key] = line.id;
  return json;
}

const char* finish_name(engine::FinishReason finish) {
  return finish == engine::FinishReason::kLength ? "length" : "stop";
}

Json plain_answer(const Answer& answer, bool with_tokens) {
  Json json = {{"text", answer.text}, {"finish_reason", finish_name(answer.finish)}};
  json["completion_tokens"] = answer.tokens.size();
  if (with_tokens) json["token_ids"] = answer.tokens;
  return json;
}

std::string plain_line(const FileLine& line, const std::vector<Answer>& answers, int64_t prompt_tokens,
                       bool with_tokens) {
  Json json = begin_line(line);
  json["prompt_tokens"] = prompt_tokens;
  if (answers.size() == 1) {
    json.update(plain_answer(answers.front(), with_tokens));
    return to_line(json);
  }
  json["choices"] = Json::array();
  for (const Answer& answer : answers) json["choices"].push_back(plain_answer(answer, with_tokens));
  return to_line(json);
}

Json batch_line(const FileLine& line, int status, Json body, Json error) {
  const int64_t number = line.question.line;
  return {
      {"id", fmt::format("evalmpi-{}", number)},
      {"custom_id", line.id},
      {"response",
       {{"status_code", status}, {"request_id", fmt::format("evalmpi-batch-{}", number)}, {"body", std::move(body)}}},
      {"error", std::move(error)}};
}

Json batch_body(const FileLine& line, const std::vector<Answer>& answers, int64_t prompt_tokens,
                const std::string& model) {
  const bool is_chat = line.form == LineForm::kChat;
  Json choices = Json::array();
  int64_t completion_tokens = 0;
  for (const Answer& answer : answers) {
    Json choice = {{"index", choices.size()}};
    if (is_chat) {
      choice["message"] = {{"role", "assistant"}, {"content", answer.text}};
    } else {
      choice["text"] = answer.text;
    }
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = finish_name(answer.finish);
    choices.push_back(std::move(choice));
    completion_tokens += static_cast<int64_t>(answer.tokens.size());
  }
  return {{"id", fmt::format("{}-{}", is_chat ? "chatcmpl" : "cmpl", line.question.line)},
          {"object", is_chat ? "chat.completion" : "text_completion"},
          {"created", 0},
          {"model", line.model.empty() ? model : line.model},
          {"choices", std::move(choices)},
          {"usage",
           {{"prompt_tokens", prompt_tokens},
            {"total_tokens", prompt_tokens + completion_tokens},
            {"completion_tokens", completion_tokens}}}};
}

void add_tokens(Json& json, const Score& score, const text::Tokenizer& tokenizer) {
  Json texts = Json::array();
  for (const int32_t id : score.tokens) texts.push_back(tokenizer.token_text(id));
  json["tokens"] = std::move(texts);
  json["token_ids"] = score.tokens;
  json["token_logprobs"] = score.logprobs;
}

Json score_json(const Score& score, bool is_whole_text, const text::Tokenizer& tokenizer, bool with_tokens) {
  const double logprob = sum_of(score.logprobs);
  const size_t count = score.logprobs.size();
  Json json = {{"logprob", logprob}, {"token_count", count}};
  if (is_whole_text) {
    json["byte_count"] = score.bytes ? Json(*score.bytes) : Json();
    json["perplexity"] = count > 0 ? Json(std::exp(-logprob / static_cast<double>(count))) : Json();
    json["bits_per_byte"] =
        score.bytes.value_or(0) > 0 ? Json(-logprob / static_cast<double>(*score.bytes) / std::log(2.0)) : Json();
  } else {
    json["is_greedy"] = score.is_greedy;
  }
  if (with_tokens) add_tokens(json, score, tokenizer);
  return json;
}

}  // namespace

std::string answer_line(const FileLine& line, const std::vector<Answer>& answers, int64_t prompt_tokens,
                        const std::string& model, bool with_tokens) {
  if (line.form == LineForm::kPlain) return plain_line(line, answers, prompt_tokens, with_tokens);
  return to_line(batch_line(line, 200, batch_body(line, answers, prompt_tokens, model), nullptr));
}

std::string score_line(const FileLine& line, const std::vector<Score>& scores, const text::Tokenizer& tokenizer,
                       bool with_tokens) {
  Json json = begin_line(line);
  const bool is_whole_text = line.question.is_whole_text;
  if (!line.has_many) {
    json.update(score_json(scores.front(), is_whole_text, tokenizer, with_tokens));
    return to_line(json);
  }
  json["continuations"] = Json::array();
  for (const Score& score : scores)
    json["continuations"].push_back(score_json(score, is_whole_text, tokenizer, with_tokens));
  return to_line(json);
}

std::string refused_line(const FileLine& line, const std::string& why) {
  if (!line.question.is_batch_line) {
    Json json = begin_line(line);
    json["error"] = why;
    return to_line(json);
  }
  const Json param = line.refused_key.empty() ? Json() : Json(line.refused_key);
  return to_line(
      batch_line(line, 400, nullptr,
                 {{"error", {{"message", why}, {"type", "BadRequestError"}, {"param", param}, {"code", 400}}}}));
}

}  // namespace evalmpi::eval
