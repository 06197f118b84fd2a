#include "post_processor.h"

#include <array>

namespace evalmpi::text {
namespace {

struct Context {
  PostProcessor* out;
  int32_t end_id;
};

void read_component(const Component& component, const Context& context);

int32_t checked_id(const Component& component, const Json& id, const Context& context) {
  if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= context.end_id)
    fail(ExitCode::kBadInput, "{}: {} is not the id of a token", component.where(), id.dump());
  return id.get<int32_t>();
}

void read_nothing(const Component&, const Context&) {}

// "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], whose ids stand under "special_tokens".
void read_template(const Component& component, const Context& context) {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
  int sequences = 0;
  component.for_each("single", [&](const Component& piece) {
    if (piece.has("Sequence")) {
      ++sequences;
      return;
    }
    const std::string name = Component(piece.get("SpecialToken"), piece.where() + ".SpecialToken").required_text("id");
    const Component tokens(component.get("special_tokens"), component.where() + ".special_tokens");
    const Component token(tokens.get(name.c_str()), tokens.where() + "." + name);
    const Json& ids = token.get("ids");
    if (!ids.is_array() || ids.size() > 64) token.refuse("ids", "must be a list of at most 64 ids");
    for (const Json& id : ids) (sequences == 0 ? before : after).push_back(checked_id(token, id, context));
  });
  if (sequences != 1) component.refuse("single", "must hold the sequence exactly once");
  context.out->before.insert(context.out->before.begin(), before.begin(), before.end());
  context.out->after.insert(context.out->after.end(), after.begin(), after.end());
}

// ["[CLS]", 101] under "cls" and "sep".
void read_cls_sep(const Component& component, const Context& context) {
  const auto id_of = [&](const char* key) {
    const Json& pair = component.get(key);
    if (!pair.is_array() || pair.size() != 2) component.refuse(key, "must be [token, id]");
    return checked_id(component, pair[1], context);
  };
  context.out->before.insert(context.out->before.begin(), id_of("cls"));
  context.out->after.push_back(id_of("sep"));
}

void read_sequence(const Component& component, const Context& context) {
  component.for_each("processors", [&](const Component& part) { read_component(part, context); });
}

struct Kind {
  std::string_view type;
  void (*read)(const Component&, const Context&);
};
constexpr std::array kKinds = {
    Kind{"ByteLevel", read_nothing},      Kind{"TemplateProcessing", read_template},
    Kind{"BertProcessing", read_cls_sep}, Kind{"RobertaProcessing", read_cls_sep},
    Kind{"Sequence", read_sequence},
};

void read_component(const Component& component, const Context& context) {
  component.row(kKinds).read(component, context);
}

}  // namespace

PostProcessor PostProcessor::parse(const Json& json, const std::string& where, int32_t end_id) {
  PostProcessor out;
  if (!json.is_null()) read_component(Component(json, where), {&out, end_id});
  return out;
}

}  // namespace evalmpi::text
