#include "model.h"

#include <array>

#include "component.h"
#include "evalmpi/base/error.h"

namespace evalmpi::text {
namespace {

using Variant = std::variant<Bpe, Unigram, WordPiece, WordLevel>;

template <typename Kind>
Variant make(ModelFile file, std::string_view where) {
  return Kind(std::move(file), where);
}

struct KindRow {
  std::string_view type;
  Variant (*make)(ModelFile, std::string_view);
};
constexpr std::array kKinds = {KindRow{"BPE", make<Bpe>}, KindRow{"Unigram", make<Unigram>},
                               KindRow{"WordPiece", make<WordPiece>}, KindRow{"WordLevel", make<WordLevel>}};

Variant read_model(ModelFile file, std::string_view where) {
  if (!file.settings.contains("type")) file.settings["type"] = "BPE";
  const Component settings(file.settings, fmt::format("{}: model", where));
  const KindRow& kind = settings.row(kKinds);
  const bool is_list = !file.scores.empty();
  if (file.vocabulary.empty()) settings.refuse("vocab", "is missing or empty");
  if (is_list != (kind.type == "Unigram") || (is_list && file.scores.size() != file.vocabulary.size()))
    settings.refuse("vocab", fmt::format("does not fit type {}: Unigram has a list of [piece, score], all others an "
                                         "object of ids",
                                         kind.type));
  return kind.make(std::move(file), where);
}

}  // namespace

Model::Model(ModelFile file, std::string_view where) : model_(read_model(std::move(file), where)) {}

}  // namespace evalmpi::text
