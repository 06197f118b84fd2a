// The facts of `evalmpi inspect` as text.

#include <fmt/format.h>

#include <algorithm>

#include "budget.h"
#include "evalmpi/eval/inspect.h"

namespace evalmpi::eval {
namespace {

constexpr size_t kLabelWidth = 13;
constexpr size_t kLineWidth = 110;

std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (auto at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), ",");
  return text;
}

int64_t number_at(const Json& object, const char* key) { return object.at(key).get<int64_t>(); }
std::string text_at(const Json& object, const char* key) { return object.at(key).get<std::string>(); }

// What comes from files is shown on one line.
std::string quoted(const std::string& text) { return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string joined(const std::vector<std::string>& words, const char* separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

// "label        words", lines broken between words.
std::string line(const std::string& label, const std::string& words) {
  std::string text = label;
  text.resize(std::max(kLabelWidth, label.size() + 1), ' ');
  size_t column = text.size();
  for (size_t begin = 0; begin < words.size();) {
    const size_t end = std::min(words.find(' ', begin), words.size());
    if (column > kLabelWidth && column + 1 + end - begin > kLineWidth) {
      text += "\n" + std::string(kLabelWidth, ' ');
      column = kLabelWidth;
    } else if (begin > 0) {
      text += ' ';
      ++column;
    }
    text += words.substr(begin, end - begin);
    column += end - begin;
    begin = end + 1;
  }
  return text + "\n";
}

std::string sizes_line(const Json& facts) {
  const Json& sizes = facts.at("sizes");
  std::string text =
      fmt::format("{} layers, hidden {}, {} query heads and {} KV heads of {}, MLP {}, vocabulary {}, {} positions",
                  number_at(sizes, "layers"), number_at(sizes, "hidden"), number_at(sizes, "query_heads"),
                  number_at(sizes, "kv_heads"), number_at(sizes, "head_dim"), number_at(sizes, "mlp"),
                  number_at(sizes, "vocabulary"), number_at(sizes, "positions"));
  if (sizes.contains("experts")) {
    text += fmt::format(", {} experts of {}, {} for each token", number_at(sizes, "experts"),
                        number_at(sizes, "expert_mlp"), number_at(sizes, "experts_per_token"));
    if (number_at(sizes, "shared_expert_mlp") > 0) {
      text += fmt::format(", a shared expert of {}", number_at(sizes, "shared_expert_mlp"));
    }
  }
  return line("sizes", text);
}

std::string layer_lines(const Json& facts) {
  std::string text;
  for (const Json& kind : facts.at("layers")) {
    std::string words =
        kind.at("window").is_null() ? "full attention" : fmt::format("window of {} tokens", number_at(kind, "window"));
    const Json& rotary = kind.at("rotary");
    if (rotary.is_null()) {
      words += ", no rotary positions";
    } else {
      words +=
          fmt::format(", rotary {} (theta {}, {} dims{}{})", text_at(rotary, "kind"), rotary.at("theta").get<double>(),
                      number_at(rotary, "dims"), rotary.at("interleaved").get<bool>() ? ", interleaved" : "",
                      rotary.at("factor") == 1.0 ? "" : fmt::format(", factor {}", rotary.at("factor").get<double>()));
    }
    if (kind.at("experts").get<bool>()) words += ", experts";
    text += line(text.empty() ? "layers" : "", text_at(kind, "layers") + ": " + words);
  }
  return text;
}

std::string parameters_line(const Json& facts) {
  const Json& parameters = facts.at("parameters");
  std::vector<std::string> parts;
  for (const auto& [part, count] : parameters.at("parts").items()) {
    std::string name = part;
    std::replace(name.begin(), name.end(), '_', ' ');
    if (count != 0) parts.push_back(fmt::format("{} {}", name, grouped(count.get<int64_t>())));
  }
  std::string text = grouped(number_at(parameters, "total"));
  if (parameters.at("active_per_token") != parameters.at("total")) {
    text += fmt::format(", {} of them active for a token", grouped(number_at(parameters, "active_per_token")));
  }
  return line("parameters", text + ": " + joined(parts, ", "));
}

std::string files_line(const Json& facts) {
  const Json& files = facts.at("files");
  std::vector<std::string> kinds;
  for (const auto& [dtype, counts] : files.at("dtypes").items()) {
    kinds.push_back(fmt::format("{} tensors {} ({})", grouped(number_at(counts, "tensors")), dtype,
                                bytes_text(number_at(counts, "bytes"))));
  }
  const int64_t count = number_at(files, "count");
  std::string text =
      fmt::format("{} safetensors file{}, {}: {}; config.json says {}", count, count == 1 ? "" : "s",
                  bytes_text(number_at(files, "bytes")), joined(kinds, ", "), text_at(facts, "config_dtype"));
  const Json& left_out = files.at("left_out");
  if (!left_out.empty()) {
    text += fmt::format("; {} tensors are not part of the model and are left out, the first is {}", left_out.size(),
                        quoted(left_out[0].get<std::string>()));
  }
  return line("files", text);
}

std::string token_text(const Json& tokenizer, const char* key, const char* shown) {
  const Json& token = tokenizer.at(key);
  if (token.is_null()) return fmt::format("no {}", shown);
  return fmt::format("{} {}{}", shown, quoted(text_at(token, "text")),
                     token.at("id").is_null() ? "" : " " + token.at("id").dump());
}

std::string tokenizer_lines(const Json& facts) {
  const Json& tokenizer = facts.at("tokenizer");
  if (tokenizer.is_null()) return line("tokenizer", "none that can be read");
  const int64_t tokens = number_at(tokenizer, "tokens"), rows = number_at(tokenizer, "model_rows");
  std::string text = text_at(tokenizer, "kind");
  if (tokenizer.contains("byte_fallback") && tokenizer["byte_fallback"] == true) text += " with byte fallback";
  text += fmt::format(" ({}{}), {} tokens ", text_at(tokenizer, "file"),
                      text_at(tokenizer, "class").empty() ? "" : ", " + text_at(tokenizer, "class"), grouped(tokens));
  text += tokens == rows ? "as the model has rows"
          : tokens < rows
              ? fmt::format("of the model's {} rows ({} unused)", grouped(rows), grouped(rows - tokens))
              : fmt::format("but only {} rows in the model: prompts with the last {} tokens cannot be computed",
                            grouped(rows), grouped(tokens - rows));
  std::string lines = line("tokenizer", text);
  std::vector<std::string> parts;
  for (const char* name : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    if (tokenizer.contains(name) && tokenizer[name] != "")
      parts.push_back(fmt::format("{} {}", name, text_at(tokenizer, name)));
  }
  if (!parts.empty()) lines += line("", joined(parts, ", "));
  lines += line("", joined({token_text(tokenizer, "bos", "BOS"), token_text(tokenizer, "eos", "EOS"),
                            token_text(tokenizer, "pad", "PAD"), token_text(tokenizer, "unk", "UNK")},
                           ", ") +
                        (tokenizer.at("adds_special_tokens").get<bool>() ? "; adds special tokens to prompts"
                                                                         : "; adds none to prompts"));
  std::vector<std::string> templates;
  for (const Json& name : tokenizer.at("chat_templates")) templates.push_back(quoted(name.get<std::string>()));
  lines += line("", templates.empty() ? "no chat template" : "chat template: " + joined(templates, ", "));
  return lines;
}

std::string generation_line(const Json& facts) {
  const Json& generation = facts.at("generation");
  std::vector<std::string> words;
  for (const auto& [key, value] : generation.at("settings").items()) {
    const std::string shown = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    words.push_back(key + " " + (shown.size() > 60 ? shown.substr(0, 60) + "..." : shown));
  }
  if (!generation.at("has_file").get<bool>()) {
    return line("generation", fmt::format("no generation_config.json; ends at {}", generation.at("eos_ids").dump()));
  }
  return line("generation", joined(words, ", "));
}

std::string adapters_line(const Json& facts) {
  std::vector<std::string> words;
  for (const Json& module : facts.at("adapters")) {
    words.push_back(fmt::format("{} [{}, {}] x {}", text_at(module, "module"), number_at(module, "out"),
                                number_at(module, "in"), number_at(module, "count")));
  }
  return line("adapters", "can name " + joined(words, ", "));
}

std::string memory_table(const Json& facts) {
  std::string text = fmt::format(
      "\nmemory of one place, the fullest; weights in {}, keys and values in float32 for 1,000 tokens of one "
      "sequence\n",
      text_at(facts, "dtype_in_memory"));
  text += fmt::format("{:>4}  {:>10}  {:>12}  {:>31}  {:>8}  {:>12}\n", "tp", "weights", "keys, values",
                      "parameters, least .. most", "balance", "read by each");
  for (const Json& tp : facts.at("tp")) {
    int64_t weights = 0, key_values = 0, read = 0;
    for (const Json& rank : tp.at("ranks")) {
      weights = std::max(weights, number_at(rank, "weight_bytes"));
      key_values = std::max(key_values, number_at(rank, "key_value_bytes_per_1000_tokens"));
      read = std::max(read, number_at(rank, "bytes_read"));
    }
    const std::string range = number_at(tp, "tp") == 1 ? grouped(number_at(tp, "parameters_most"))
                                                       : grouped(number_at(tp, "parameters_least")) + " .. " +
                                                             grouped(number_at(tp, "parameters_most"));
    text += fmt::format("{:>4}  {:>10}  {:>12}  {:>31}  {:>6.1f} %  {:>12}\n", number_at(tp, "tp"), bytes_text(weights),
                        bytes_text(key_values), range, 100 * tp.at("balance").get<double>(), bytes_text(read));
  }
  return text;
}

std::string shard_table(const Json& facts) {
  const Json& sizes = facts.at("sizes");
  const bool has_experts = sizes.contains("experts");
  const bool has_shared = has_experts && number_at(sizes, "shared_expert_mlp") > 0;
  std::string text = fmt::format("\nshards\n{:>4}  {:>4}  {:>11}  {:>8}  {:>7}{}{}  {:>10}  {:>17}  {:>10}  {:>10}\n",
                                 "tp", "rank", "query heads", "KV heads", "MLP", has_experts ? "  expert MLP" : "",
                                 has_shared ? "  shared MLP" : "", "vocabulary", "parameters", "weights", "read");
  for (const Json& tp : facts.at("tp")) {
    for (const Json& rank : tp.at("ranks")) {
      text +=
          fmt::format("{:>4}  {:>4}  {:>11}  {:>8}  {:>7}{}{}  {:>10}  {:>17}  {:>10}  {:>10}\n", number_at(tp, "tp"),
                      number_at(rank, "rank"), number_at(rank, "query_heads"), number_at(rank, "kv_heads"),
                      number_at(rank, "mlp"), has_experts ? fmt::format("  {:>10}", number_at(rank, "expert_mlp")) : "",
                      has_shared ? fmt::format("  {:>10}", number_at(rank, "shared_expert_mlp")) : "",
                      number_at(rank, "vocabulary"), grouped(number_at(rank, "parameters")),
                      bytes_text(number_at(rank, "weight_bytes")), bytes_text(number_at(rank, "bytes_read")));
    }
  }
  return text;
}

std::string tensor_table(const Json& tensors) {
  const auto width_of = [&](const char* key) {
    size_t width = 0;
    for (const Json& row : tensors)
      width = std::max(width, row.at(key).is_string() ? text_at(row, key).size() : row.at(key).dump().size());
    return width;
  };
  const auto shown = [](const Json& value) {
    return value.is_string() ? value.get<std::string>() : value.is_null() ? "missing" : value.dump();
  };
  constexpr const char* kColumns[] = {"name", "shape", "source", "source_shape", "dtype", "file", "shard_rule"};
  std::string text =
      "\ntensors: name here, shape, name in the files, shape there, dtype, file, how it is cut for tensor "
      "parallelism\n";
  std::vector<size_t> widths;
  for (const char* column : kColumns) widths.push_back(std::max<size_t>(width_of(column), 7));
  for (const Json& row : tensors) {
    std::string words;
    for (size_t i = 0; i < std::size(kColumns); ++i) {
      words += fmt::format("{:<{}}", shown(row.at(kColumns[i])), i + 1 < std::size(kColumns) ? widths[i] + 2 : 0);
    }
    text += words + "\n";
  }
  return text;
}

}  // namespace

std::string inspection_text(const Json& facts) {
  std::string text =
      line("model", text_at(facts, "model") +
                        (facts.at("model") == facts.at("folder") ? "" : " (" + text_at(facts, "folder") + ")"));
  text += line("architecture", text_at(facts, "architecture") + " (family " + text_at(facts, "family") + ")");
  text += sizes_line(facts);
  std::vector<std::string> details;
  for (const Json& detail : facts.at("details")) details.push_back(detail.get<std::string>());
  text += line("details", joined(details, "; "));
  text += layer_lines(facts) + parameters_line(facts) + files_line(facts) + tokenizer_lines(facts) +
          generation_line(facts) + adapters_line(facts) + memory_table(facts) + shard_table(facts);
  if (facts.contains("tensors")) text += tensor_table(facts.at("tensors"));
  return text;
}

}  // namespace evalmpi::eval
