#include "adapter_config.h"

#include <cmath>

#include "target.h"

using namespace evalmpi;

// adapter_config.json of PEFT, and what it says of a model's modules.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::feed([&] {
    const model::AdapterConfig config(parse_json(fuzz::as_text(data, size), "adapter_config.json"),
                                      "adapter_config.json");
    for (const char* module : {"model.layers.0.self_attn.q_proj", "model.layers.11.mlp.down_proj", "model.embed_tokens",
                               "lm_head", "transformer.h.3.attn.c_attn", ""}) {
      const bool is_head = std::string_view(module) == "lm_head";
      config.saves(module);
      if (!config.targets(module, !is_head, is_head)) continue;
      fuzz::require(config.rank(module) > 0, "a module's rank is positive");
      fuzz::require(std::isfinite(config.scale(module)), "a module's scale is a number");
    }
  });
  return 0;
}
