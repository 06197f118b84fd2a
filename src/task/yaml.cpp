// YAML 1.1 as PyYAML's safe loader reads it. yaml-cpp parses; the meaning of plain scalars is decided here, because
// YAML 1.2 readers disagree on yes, no, on, off, 010 and 1_000.

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <sstream>

#include "evalmpi/base/error.h"
#include "evalmpi/base/file.h"
#include "evalmpi/task/task_index.h"
#include "selection.h"
#include "yaml_quotes.h"

namespace evalmpi::task {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{16} << 20;
constexpr int kMaxDepth = 100;
constexpr int64_t kMaxValues = 1'000'000;

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string without_underscores(std::string_view text) {
  std::string result(text);
  std::erase(result, '_');
  return result;
}

// 1:30 and 1:30.5, base 60, as YAML 1.1 has them.
std::optional<double> sexagesimal(std::string_view digits) {
  double total = 0;
  size_t begin = 0;
  for (bool first = true; begin <= digits.size(); first = false) {
    const size_t end = std::min(digits.find(':', begin), digits.size());
    const std::string part(digits.substr(begin, end - begin));
    const size_t point = std::min(part.find('.'), part.size());
    if (point == 0 || !std::all_of(part.begin(), part.begin() + static_cast<ptrdiff_t>(point), is_digit)) return {};
    if (!first && (point > 2 || (point == 2 && part[0] > '5'))) return {};
    total = total * 60 + std::strtod(part.c_str(), nullptr);  // infinite where it is too large
    begin = end + 1;
  }
  return total;
}

// Nothing for what is no integer; discarded for one outside 64 bits.
std::optional<Json> integer(std::string_view text) {
  bool negative = false;
  std::string_view digits = text;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) {
    negative = digits[0] == '-';
    digits.remove_prefix(1);
  }
  if (digits.empty() || !is_digit(digits[0])) return {};
  int base = 10;
  std::string_view body = digits;
  if (digits.starts_with("0b")) {
    base = 2;
    body = digits.substr(2);
  } else if (digits.starts_with("0x")) {
    base = 16;
    body = digits.substr(2);
  } else if (digits.size() > 1 && digits[0] == '0') {
    base = 8;
    body = digits.substr(1);
  } else if (digits.find(':') != digits.npos && digits[0] != '0' && digits.find('.') == digits.npos) {
    const std::optional<double> value = sexagesimal(without_underscores(digits));
    if (!value || *value > 9e15) return {};
    return Json(static_cast<int64_t>(negative ? -*value : *value));
  }
  const std::string plain = without_underscores(body);
  uint64_t magnitude = 0;
  const auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), magnitude, base);
  if (end != plain.data() + plain.size() || plain.empty()) return {};
  constexpr uint64_t kMaxPositive = std::numeric_limits<int64_t>::max();
  if (error != std::errc() || (negative && magnitude > kMaxPositive + 1)) return Json(Json::value_t::discarded);
  if (!negative) return magnitude <= kMaxPositive ? Json(static_cast<int64_t>(magnitude)) : Json(magnitude);
  return Json(static_cast<int64_t>(-magnitude));
}

// Floats need a point, and an exponent its sign: 1e5 is text in YAML 1.1.
std::optional<Json> floating(std::string_view text) {
  std::string_view body = text;
  double sign = 1;
  if (!body.empty() && (body[0] == '-' || body[0] == '+')) {
    sign = body[0] == '-' ? -1 : 1;
    body.remove_prefix(1);
  }
  if (is_one_of(body, {".inf", ".Inf", ".INF"})) return Json(sign * std::numeric_limits<double>::infinity());
  if (is_one_of(text, {".nan", ".NaN", ".NAN"})) return Json(std::numeric_limits<double>::quiet_NaN());
  const size_t point = body.find('.');
  if (point == body.npos || body.find_first_not_of("0123456789_.eE+-:") != body.npos) return {};
  if (body.find(':') != body.npos) {
    if (body.find_first_of("eE+-") != body.npos) return {};
    const std::optional<double> value = sexagesimal(without_underscores(body));
    return value ? std::optional<Json>(sign * *value) : std::nullopt;
  }
  if (point == 0 && (text[0] == '-' || text[0] == '+' || body.size() < 2 || !is_digit(body[1]))) return {};
  if (point > 0 && !is_digit(body[0])) return {};
  const size_t exponent = body.find_first_of("eE");
  const std::string_view mantissa = body.substr(0, exponent);
  if (mantissa.find_first_not_of("0123456789_.") != mantissa.npos || mantissa.find('.', point + 1) != mantissa.npos) {
    return {};
  }
  if (mantissa.substr(0, point).find_first_not_of("0123456789_") != mantissa.npos) return {};
  if (exponent != body.npos) {
    const std::string_view power = body.substr(exponent + 1);
    if (power.size() < 2 || (power[0] != '+' && power[0] != '-')) return {};
    if (!std::all_of(power.begin() + 1, power.end(), is_digit)) return {};
  }
  return Json(sign * std::strtod(without_underscores(body).c_str(), nullptr));
}

Json plain_scalar(const std::string& text) {
  if (is_one_of(text, {"", "~", "null", "Null", "NULL"})) return nullptr;
  if (is_one_of(text, {"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})) return true;
  if (is_one_of(text, {"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})) return false;
  if (const auto value = integer(text)) return *value;
  if (const auto value = floating(text)) return *value;
  return text;
}

class Converter {
 public:
  Converter(std::string_view source, const std::filesystem::path& file) : source_(source), file_(file) {}

  Json convert(const YAML::Node& node, int depth = 0) {
    if (depth > kMaxDepth) fail_at(node, "is nested deeper than 100");
    if (++n_values_ > kMaxValues) fail_at(node, "brings the file above a million values");
    if (node.IsSequence() || node.IsMap()) require_plain_kind(node);
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null: return nullptr;
      case YAML::NodeType::Scalar: return scalar(node);
      case YAML::NodeType::Sequence: {
        Json list = Json::array();
        for (const YAML::Node& item : node) list.push_back(convert(item, depth + 1));
        return list;
      }
      case YAML::NodeType::Map: return mapping(node, depth);
    }
    return nullptr;
  }

 private:
  [[noreturn]] void fail_at(const YAML::Node& node, std::string_view what) const {
    fail(ExitCode::kBadInput, "{}:{}: the value here {}", file_.string(), node.Mark().line + 1, what);
  }

  // !!omap, !!set and tags of a program's own make other things of lists and mappings.
  void require_plain_kind(const YAML::Node& node) const {
    const std::string own = node.IsMap() ? "tag:yaml.org,2002:map" : "tag:yaml.org,2002:seq";
    if (!is_one_of(node.Tag(), {"", "?", "!", own})) fail_at(node, "has the unknown tag " + node.Tag());
  }

  Json scalar(const YAML::Node& node) const {
    const std::string& tag = node.Tag();
    if (tag == "!function") return Json{{"!function", node.Scalar()}, {"!file", file_.string()}};
    if (tag == "?" || tag.empty()) return plain(node);
    if (tag == "!") return quoted(node);
    constexpr std::string_view kYamlTags = "tag:yaml.org,2002:";
    if (tag.starts_with(kYamlTags)) return tagged(node, tag.substr(kYamlTags.size()));
    fail_at(node, "has the unknown tag " + tag);
  }

  Json plain(const YAML::Node& node) const {
    if (is_one_of(node.Scalar(), {"=", "<<"})) fail_at(node, "is a lone " + node.Scalar() + ", and must be in quotes");
    Json value = plain_scalar(node.Scalar());
    if (value.is_discarded()) fail_at(node, "is an integer outside 64 bits");
    return value;
  }

  std::string quoted(const YAML::Node& node) const {
    const int position = node.Mark().pos;
    const size_t begin = skip_properties(position < 0 ? source_.size() : static_cast<size_t>(position));
    if (begin >= source_.size() || (source_[begin] != '"' && source_[begin] != '\'')) return node.Scalar();
    std::optional<std::string> text = read_quoted_scalar(source_, begin);
    if (!text) fail_at(node, "begins with a quote that is not closed, or has an unknown escape");
    return *std::move(text);
  }

  // Past the tag and the anchor of a node.
  size_t skip_properties(size_t position) const {
    while (position < source_.size() && (source_[position] == '!' || source_[position] == '&')) {
      position = std::min(source_.find_first_of(" \t\r\n", position), source_.size());
      position = std::min(source_.find_first_not_of(" \t\r\n", position), source_.size());
    }
    return position;
  }

  // A scalar that says what it is: !!float 3.
  Json tagged(const YAML::Node& node, std::string_view kind) const {
    if (kind == "str") return quoted(node);
    if (kind == "null") return nullptr;
    const Json value = plain_scalar(node.Scalar());
    if (kind == "int" && value.is_number_integer()) return value;
    if (kind == "float" && value.is_number()) return value.get<double>();
    if (kind == "bool" && value.is_boolean()) return value;
    fail_at(node, fmt::format("cannot be read as !!{}", kind));
  }

  // Keys are text in every task file; others take the text that they are written as.
  Json mapping(const YAML::Node& node, int depth) {
    Json merged = Json::object();
    Json own = Json::object();
    for (const auto& entry : node) {
      const YAML::Node& key = entry.first;
      const YAML::Node& value = entry.second;
      if (!key.IsScalar() && !key.IsNull()) fail_at(key, "is a key, and must be a word");
      const std::string name = key.IsNull() ? "null" : key.Scalar();
      if (name != "<<" || key.Tag() != "?") {
        own[name] = convert(value, depth + 1);
        continue;
      }
      const Json parts = convert(value, depth + 1);
      for (const Json& part : parts.is_array() ? parts : Json::array({parts})) {
        if (!part.is_object()) fail_at(value, "is merged by <<, and must be a mapping");
        for (const auto& [part_key, part_value] : part.items()) {
          if (!merged.contains(part_key)) merged[part_key] = part_value;
        }
      }
    }
    merged.update(own);
    return merged;
  }

  std::string_view source_;
  const std::filesystem::path& file_;
  int64_t n_values_ = 0;
};

// Nothing but where documents begin.
class DocumentStarts : public YAML::EventHandler {
 public:
  int last_line = 0;
  void OnDocumentStart(const YAML::Mark& mark) override { last_line = mark.line + 1; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// FAILS: kBadInput. (YAML::LoadAll never ends on a text that begins with a comma, each of its documents an empty one.)
void require_one_document(const std::string& source, const std::filesystem::path& file) {
  std::istringstream stream(source);
  YAML::Parser parser(stream);
  DocumentStarts starts;
  if (!parser.HandleNextDocument(starts) || !parser.HandleNextDocument(starts)) return;
  fail(ExitCode::kBadInput, "{}:{}: a second document begins; a task file has one", file.string(), starts.last_line);
}

}  // namespace

Json read_yaml_text(const std::string& text, const std::filesystem::path& file) {
  try {
    // Positions count from behind a byte order mark.
    const std::string source = text.starts_with("\xef\xbb\xbf") ? text.substr(3) : text;
    require_one_document(source, file);
    return Converter(source, file).convert(YAML::Load(source));
  } catch (const YAML::Exception& error) {
    fail(ExitCode::kBadInput, "{}:{}: not YAML: {}", file.string(), error.mark.line + 1, error.msg);
  }
}

Json read_yaml_file(const std::filesystem::path& file) { return read_yaml_text(read_file(file, kMaxFileBytes), file); }

Json YamlFiles::merge(const std::filesystem::path& file, Chain& chain) {
  const std::filesystem::path path = std::filesystem::weakly_canonical(file);
  if (std::find(chain.begin(), chain.end(), path) != chain.end()) {
    fail(ExitCode::kBadInput, "{}: the file is included twice in one chain of includes", path.string());
  }
  chain.push_back(path);
  const auto known = parsed_.find(path.native());
  Json own = known != parsed_.end() ? known->second : (parsed_[path.native()] = read_yaml_file(path));
  if (!own.is_object()) fail(ExitCode::kBadInput, "{}:1: a task file must be a mapping", path.string());
  return merge_includes(std::move(own), path, chain);
}

Json YamlFiles::merge_includes(Json own, const std::filesystem::path& path, Chain& chain) {
  if (!own.contains("include")) return own;
  const Json includes = own["include"].is_array() ? own["include"] : Json::array({own["include"]});
  own.erase("include");
  Json merged = Json::object();
  for (const Json& include : includes) {
    if (!include.is_string()) fail(ExitCode::kBadInput, "{}: include must name files", path.string());
    Json part = merge(path.parent_path() / include.get<std::string>(), chain);
    part.erase("task_list");
    merged.update(part);
  }
  merged.update(own);
  return merged;
}

Json YamlFiles::with_includes(Json own, const std::filesystem::path& file) {
  Chain chain;
  return merge_includes(std::move(own), file, chain);
}

Json YamlFiles::read(const std::filesystem::path& file) {
  Chain chain;
  return merge(file, chain);
}

Json read_task_yaml(const std::filesystem::path& file) { return YamlFiles().read(file); }

}  // namespace evalmpi::task
