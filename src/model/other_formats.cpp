#include "other_formats.h"

#include <string>
#include <string_view>

#include "evalmpi/base/error.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
namespace {

enum class Format { kNone, kPickle, kMetaPickle, kGguf, kAdapter, kOther };

Format format_of(const std::string& name) {
  const std::string_view file = name;
  if (file.starts_with("pytorch_model") && (file.ends_with(".bin") || file.ends_with(".bin.index.json"))) {
    return Format::kPickle;
  }
  if (file.starts_with("consolidated.") && file.ends_with(".pth")) return Format::kMetaPickle;
  if (file.ends_with(".gguf")) return Format::kGguf;
  if (file == "adapter_config.json") return Format::kAdapter;
  if (file.starts_with("model") && (file.ends_with(".pt") || file.ends_with(".pth") || file.ends_with(".bin"))) {
    return Format::kPickle;
  }
  if (file == "tf_model.h5" || file == "flax_model.msgpack" || file.ends_with(".onnx") || file.ends_with(".nemo")) {
    return Format::kOther;
  }
  return Format::kNone;
}

[[noreturn]] void fail_format(Format format, const fs::path& folder, const std::string& file) {
  const std::string where = folder.string();
  switch (format) {
    case Format::kPickle:
      fail(
          ExitCode::kBadInput,
          "{0}: only {1}, a Python pickle, which can run any code when it is read, so it is not read here; if you "
          "trust it, save it as safetensors: python3 -c \"import transformers as t; m = '{0}'; o = m + '-safetensors'; "
          "t.AutoModelForCausalLM.from_pretrained(m, dtype='auto').save_pretrained(o); "
          "t.AutoTokenizer.from_pretrained(m).save_pretrained(o)\"",
          where, file);
    case Format::kMetaPickle:
      fail(ExitCode::kBadInput,
           "{}: only {}, Meta's own format, a Python pickle, which can run any code when it is read, so it is not read "
           "here; use the model's Hugging Face version (the hub names it the same with -hf, or holds both), or convert "
           "it with transformers' convert_llama_weights_to_hf.py",
           where, file);
    case Format::kGguf:
      fail(
          ExitCode::kBadInput,
          "{}: {} is a GGUF file (llama.cpp), whose weights are mostly quantised; it is not supported: use the Hugging "
          "Face checkpoint in safetensors that it was made from",
          where, file);
    case Format::kAdapter:
      fail(ExitCode::kBadInput,
           "{}: an adapter without its model ({}); the model to evaluate is the folder or hub id that this file names "
           "as base_model_name_or_path",
           where, file);
    default:
      fail(ExitCode::kBadInput,
           "{}: {} is not a format that evalmpi reads; it reads safetensors, as saved by transformers' save_pretrained",
           where, file);
  }
}

struct Method {
  const char* name;  // quant_method
  const char* shown;
};
constexpr Method kMethods[] = {
    {"gptq", "GPTQ"},
    {"awq", "AWQ"},
    {"compressed-tensors", "compressed-tensors (llm-compressor)"},
    {"bitsandbytes", "bitsandbytes"},
    {"mxfp4", "MXFP4"},
    {"fp8", "FP8"},
    {"fbgemm_fp8", "FP8 (FBGEMM)"},
    {"modelopt", "NVIDIA ModelOpt"},
    {"hqq", "HQQ"},
    {"aqlm", "AQLM"},
    {"quanto", "Quanto"},
    {"torchao", "torchao"},
    {"eetq", "EETQ"},
    {"bitnet", "BitNet"},
};

std::string method_name(const Json& quantization) {
  const auto text = [&](const char* key) -> std::string {
    const auto found = quantization.find(key);
    if (found == quantization.end()) return "";
    return found->is_string()           ? found->get<std::string>().substr(0, 100)
           : found->is_number_integer() ? found->dump()
                                        : "";
  };
  if (!quantization.is_object()) return "an unnamed method";
  std::string method = text("quant_method");
  for (const Method& known : kMethods) {
    if (method == known.name) method = known.shown;
  }
  if (method.empty()) method = "an unnamed method";
  std::string bits = !text("bits").empty() ? text("bits") : text("w_bit");
  if (quantization.contains("load_in_4bit") && quantization["load_in_4bit"] == true) bits = "4";
  if (quantization.contains("load_in_8bit") && quantization["load_in_8bit"] == true) bits = "8";
  return bits.empty() ? method : fmt::format("{}, {} bits", method, bits);
}

}  // namespace

void fail_other_format(const fs::path& folder) {
  Format first = Format::kNone;
  std::string file;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const Format format = format_of(name);
    // The order of Format decides, then that of names: a folder lists its files in any order.
    const bool is_better = first == Format::kNone || format < first || (format == first && name < file);
    if (format != Format::kNone && is_better) first = format, file = name;
  }
  if (first != Format::kNone) fail_format(first, folder, file);
}

void check_plain_weights(const ConfigReader& config, bool reads_mxfp4) {
  for (const char* key : {"quantization_config", "compression_config"}) {
    if (!config.has(key)) continue;
    const bool is_mxfp4 = config.raw(key).is_object() && config.object(key).text_or("quant_method", "") == "mxfp4";
    if (reads_mxfp4 && is_mxfp4) continue;
    fail(ExitCode::kBadInput,
         "{}: the weights are quantised ({}, says {}), which is not supported; use the model in bfloat16, float16 or "
         "float32 that it was made from",
         config.where(), method_name(config.raw(key)), key);
  }
}

}  // namespace evalmpi::model
