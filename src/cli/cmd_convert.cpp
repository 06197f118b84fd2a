// evalmpi convert

#include <fmt/format.h>

#include "commands.h"
#include "evalmpi/model/convert.h"
#include "option_parser.h"

namespace evalmpi::cli {
namespace {

constexpr const char* kHelp =
    R"(usage: evalmpi convert IN OUT [--dtype T] [--max-shard-size 5GB] [--names full|bare] [--adapter DIR]

Writes the model folder IN (or a hub id in the Hugging Face cache) anew as the folder OUT, which transformers loads:
another dtype, files of another size, the other spelling of the tensors' names, or with a LoRA adapter of PEFT merged into its
weights (as merge_and_unload does: summed in float32, then rounded). Reads tensor by tensor, so memory stays
small whatever the model's size. Values are rounded to nearest even, as torch's .to() does; NaN and infinity are kept with a
warning; a value that overflows in the new dtype ends the conversion (exit code 65) with the tensor's name.
OUT must not exist or be an empty folder (else exit code 73); config.json is written last, so a folder without it
is not complete.

examples:
  evalmpi convert models/llama-f32 models/llama-bf16 --dtype bfloat16
  evalmpi convert models/llama models/llama-tuned --adapter runs/lora --dtype bfloat16
  evalmpi convert org/name models/small-files --max-shard-size 500MB
)";

std::optional<model::DType> dtype_of(const std::string& name) {
  if (name.empty()) return std::nullopt;
  for (const model::DType dtype : {model::DType::kFloat32, model::DType::kBFloat16, model::DType::kFloat16}) {
    if (name == model::name_of(dtype)) return dtype;
  }
  fail(ExitCode::kUsage, "--dtype {}: expected float32, bfloat16 or float16", name);
}

model::NameStyle names_of(const std::string& name) {
  if (name.empty()) return model::NameStyle::kAsTheyAre;
  if (name == "full") return model::NameStyle::kFull;
  if (name == "bare") return model::NameStyle::kBare;
  fail(ExitCode::kUsage, "--names {}: expected full or bare", name);
}

void print_report(const std::string& output, const model::ConvertReport& report) {
  fmt::print("{}: {} tensors, {} bytes, {} of them in another dtype{}\n", output, report.tensors, report.bytes,
             report.converted, report.merged > 0 ? fmt::format(", {} changed by the adapter", report.merged) : "");
  for (const std::string& name : report.left_out) fmt::print("left out: {}\n", name);
  for (const std::string& file : report.files) fmt::print("wrote {}\n", file);
}

}  // namespace

ExitCode convert_command(const Invocation& invocation) {
  std::string dtype, shard_size = "5GB", names, adapter;
  std::vector<Field> fields = {
      text_field("dtype", "T", dtype, "float32, bfloat16 or float16. Default: every tensor keeps its own.",
                 Affects::kNumbers),
      text_field(
          "max-shard-size", "SIZE", shard_size,
          "Bytes of tensors in one file at most: a number with KB, MB, GB or TB (powers of 1000). A larger tensor is a "
          "file of its own. Default 5GB.",
          Affects::kOutput),
      text_field("names", "STYLE", names,
                 "full: names as AutoModelForCausalLM saves them (transformer.h.0...). bare: as the bare AutoModel "
                 "does (h.0...), "
                 "for models whose head is tied to the embedding. Default: as they are.",
                 Affects::kOutput),
      text_field(
          "adapter", "DIR", adapter,
          "LoRA adapter to merge into the weights: a folder as PEFT saves it, or the id of one in the hub cache.",
          Affects::kNumbers)};
  const auto folders = read_folders("convert", invocation.arguments, kHelp, {"IN", "OUT"}, fields);
  if (!folders) return ExitCode::kComplete;
  model::ConvertOptions options;
  options.dtype = dtype_of(dtype);
  options.max_shard_bytes = model::parse_size_bytes(shard_size);
  options.names = names_of(names);
  if (!adapter.empty()) options.adapter = model::resolve_model_folder(adapter);
  const std::string& output = (*folders)[1];
  print_report(output, model::convert_model(model::resolve_model_folder((*folders)[0]), output, options));
  return ExitCode::kComplete;
}

}  // namespace evalmpi::cli
