#include "evalmpi/model/convert.h"

#include <ATen/ops/empty.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <set>

#include "adapter_merge.h"
#include "evalmpi/base/error.h"
#include "evalmpi/base/json.h"
#include "evalmpi/base/log.h"
#include "evalmpi/model/safetensors.h"
#include "evalmpi/model/safetensors_writer.h"
#include "evalmpi/model/tensor_table.h"
#include "output_folder.h"

namespace evalmpi::model {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kBlockElements = uint64_t{1} << 20;
constexpr uint64_t kMaxCopiedBytes = uint64_t{1} << 30;

// Everything beside config.json and the weights that transformers saves with a causal model.
constexpr const char* kCompanions[] = {"generation_config.json",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "tokenizer.model",
                                       "vocab.json",
                                       "merges.txt",
                                       "vocab.txt",
                                       "spiece.model",
                                       "sentencepiece.bpe.model",
                                       "tokenizer.tiktoken",
                                       "chat_template.jinja",
                                       "chat_template.json",
                                       "LICENSE",
                                       "LICENSE.txt"};

const char* safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return "F32";
    case DType::kBFloat16: return "BF16";
    case DType::kFloat16: return "F16";
  }
  return "";
}

// "float16" for "F16".
const char* long_name(std::string_view dtype) {
  for (const DType known : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    if (dtype == safetensors_name(known)) return name_of(known);
  }
  return "its dtype";
}

bool is_floating(std::string_view dtype) {
  return dtype == "F32" || dtype == "BF16" || dtype == "F16" || dtype == "F64";
}

at::ScalarType scalar_type(std::string_view dtype) {
  if (dtype == "F64") return at::kDouble;
  if (dtype == "F32") return at::kFloat;
  return dtype == "BF16" ? at::kBFloat16 : at::kHalf;
}

template <typename Bits>
int64_t not_finite(const at::Tensor& x, Bits exponent) {
  const Bits* bits = static_cast<const Bits*>(x.const_data_ptr());
  int64_t found = 0;
  for (int64_t i = 0; i < x.numel(); ++i) found += (bits[i] & exponent) == exponent ? 1 : 0;
  return found;
}

int64_t count_not_finite(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kDouble: return not_finite(x, uint64_t{0x7ff0000000000000});
    case at::kFloat: return not_finite(x, uint32_t{0x7f800000});
    case at::kBFloat16: return not_finite(x, uint16_t{0x7f80});
    default: return not_finite(x, uint16_t{0x7c00});
  }
}

// Natural order: numbers inside names by value, so that a layer's tensors stay together and layer 10 follows layer 9.
bool comes_before(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i, ++j;
      continue;
    }
    size_t i_end = i, j_end = j;
    while (i_end < a.size() && is_digit(a[i_end])) ++i_end;
    while (j_end < b.size() && is_digit(b[j_end])) ++j_end;
    const std::string_view x = a.substr(i, i_end - i), y = b.substr(j, j_end - j);
    if (x.size() != y.size()) return x.size() < y.size();
    if (x != y) return x < y;
    i = i_end, j = j_end;
  }
  return a.size() - i < b.size() - j;
}

// The family, where it is one that evalmpi knows.
std::optional<ModelSpec> spec_of(const fs::path& folder, bool is_needed) {
  try {
    return read_model_spec(folder);
  } catch (const Error& error) {
    if (is_needed || error.code() != ExitCode::kBadInput) throw;
    log::warning("{}: all tensors are kept under their names", error.what());
    return std::nullopt;
  }
}

// "torch_dtype" (transformers 4) and "dtype" (5) wherever they stand, also in a nested text_config.
bool set_dtype(Json& config, const char* name) {
  bool found = false;
  for (auto& [key, value] : config.items()) {
    if (key == "torch_dtype" || key == "dtype") {
      value = name;
      found = true;
    } else if (key.ends_with("_config") && value.is_object()) {
      set_dtype(value, name);
    }
  }
  return found;
}

class Conversion {
 public:
  Conversion(const fs::path& input, const fs::path& output, const ConvertOptions& options)
      : options_(options),
        style_(options.names),
        config_(read_json_file(input / "config.json")),
        checkpoint_(input),
        folder_(output) {
    if (!config_.is_object()) fail(ExitCode::kBadInput, "{}: not an object", (input / "config.json").string());
    if (options.dtype && config_.contains("quantization_config")) {
      fail(ExitCode::kBadInput,
           "{}: the weights are quantised (quantization_config); their dtype cannot be changed. Without --dtype they "
           "can be cut into other files",
           (input / "config.json").string());
    }
    if (const auto spec = spec_of(input, options.names != NameStyle::kAsTheyAre || !options.adapter.empty())) {
      spec_ = *spec;
      names_ = TensorNames(*spec, checkpoint_);
    }
    if (options.adapter.empty()) return;
    spec_ = with_adapter(std::move(spec_), options.adapter);
    merge_.emplace(checkpoint_, spec_);
    // A bare model has no head: one that the adapter makes its own asks for the full names.
    if (!merge_->added_head().empty() && names_.is_bare() && style_ == NameStyle::kAsTheyAre) style_ = NameStyle::kFull;
  }

  ConvertReport run() {
    plan();
    check_space();
    write_weights();
    write_companions();
    write_config();
    folder_.keep();
    report_.files = folder_.files();
    return std::move(report_);
  }

 private:
  std::string new_name(const std::string& name) const {
    switch (style_) {
      case NameStyle::kAsTheyAre: return name;
      case NameStyle::kFull: return names_.full(name);
      case NameStyle::kBare: return names_.bare(name);
    }
    return name;
  }

  // Whether a tensor stays behind. FAILS: kBadInput for a head that a bare model cannot have.
  bool is_left_out(const std::string& name) const {
    if (names_.is_known_family() && is_known_buffer(name)) return true;
    if (style_ != NameStyle::kBare || !names_.belongs_to_head(name)) return false;
    if (spec_.tied_head) return true;
    fail(ExitCode::kBadInput, "{} would be lost: a bare model has no head, and this one is not tied to the embedding",
         checkpoint_.where(name));
  }

  bool is_merged(const std::string& name) const { return merge_ && merge_->changes(name); }

  // Dtype and shape of what is written under the name `name`.
  const TensorEntry& entry_of(const std::string& name) const {
    return is_merged(name) ? merge_->below(name) : *checkpoint_.find(name);
  }

  std::string new_dtype(const TensorEntry& entry, const std::string& name) const {
    if (element_bytes(entry.dtype) == 0) {
      fail(ExitCode::kBadInput, "{}: its dtype {} cannot be written", checkpoint_.where(name), entry.dtype);
    }
    return options_.dtype && is_floating(entry.dtype) ? safetensors_name(*options_.dtype) : entry.dtype;
  }

  void plan() {
    for (const auto& [name, entry] : checkpoint_.tensors()) {
      if (is_left_out(name)) {
        report_.left_out.push_back(name);
      } else {
        sources_.push_back(name);
      }
    }
    if (merge_ && !merge_->added_head().empty()) {
      is_left_out(merge_->added_head());
      sources_.push_back(merge_->added_head());
    }
    std::sort(sources_.begin(), sources_.end(), comes_before);
    std::set<std::string> taken;
    for (const std::string& name : sources_) {
      const TensorEntry& entry = entry_of(name);
      tensors_.push_back({new_name(name), new_dtype(entry, name), entry.shape});
      if (!taken.insert(tensors_.back().name).second) {
        fail(ExitCode::kBadInput, "{}: another tensor has the same name \"{}\" after renaming", checkpoint_.where(name),
             tensors_.back().name);
      }
      report_.bytes += tensors_.back().size_bytes();
      report_.merged += is_merged(name) ? 1 : 0;
      report_.converted += tensors_.back().dtype != entry.dtype ? 1 : 0;
    }
    report_.tensors = tensors_.size();
  }

  void check_space() const {
    struct statvfs disk {};
    if (::statvfs(folder_.path().c_str(), &disk) != 0) return;
    const uint64_t free_bytes = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
    if (free_bytes < report_.bytes) {
      fail(ExitCode::kIo, "{}: the disk has {} bytes left, the model needs {}", folder_.path().string(), free_bytes,
           report_.bytes);
    }
  }

  void write_weights() {
    const ShardedNames cut = cut_into_files(tensors_, options_.max_shard_bytes);
    uint64_t done_bytes = 0;
    for (size_t file = 0; file < cut.files.size(); ++file) {
      // Wide elements first, as the reference writer has it: then every tensor is aligned.
      std::vector<size_t> order = cut.tensors[file];
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return element_bytes(tensors_[a].dtype) > element_bytes(tensors_[b].dtype);
      });
      std::vector<OutputTensor> in_file;
      for (const size_t i : order) in_file.push_back(tensors_[i]);
      SafetensorsWriter writer(folder_.path() / cut.files[file], in_file);
      for (const size_t i : order) {
        if (is_merged(sources_[i])) {
          write_merged(sources_[i], tensors_[i], writer);
          merge_->forget(sources_[i]);
        } else {
          write_tensor(sources_[i], tensors_[i], writer);
          checkpoint_.forget(sources_[i]);
        }
        done_bytes += tensors_[i].size_bytes();
        if (options_.progress) options_.progress(done_bytes, report_.bytes);
      }
      writer.finish();
      folder_.wrote(cut.files[file]);
    }
    if (const std::string index = cut.index_json(tensors_); !index.empty()) {
      write("model.safetensors.index.json", index);
    }
  }

  // Values that are NaN or infinite before and after rounding to the target's dtype.
  struct Damage {
    int64_t before = 0, after = 0;
  };

  static void append(const at::Tensor& block, const OutputTensor& target, Damage& damage, SafetensorsWriter& writer) {
    const at::Tensor converted = block.to(scalar_type(target.dtype));
    damage.before += count_not_finite(block);
    damage.after += count_not_finite(converted);
    writer.append({static_cast<const char*>(converted.const_data_ptr()), converted.nbytes()});
  }

  void check(const Damage& damage, const std::string& where, const OutputTensor& target) const {
    if (damage.after > damage.before) {
      fail(ExitCode::kBadInput, "{}: {} values are too large for {}; {} holds them", where,
           damage.after - damage.before, long_name(target.dtype), target.dtype == "F16" ? "bfloat16" : "float32");
    }
    if (damage.before > 0) log::warning("{}: {} values are NaN or infinite; they are kept", where, damage.before);
  }

  void write_tensor(const std::string& source, const OutputTensor& target, SafetensorsWriter& writer) const {
    const TensorEntry& entry = *checkpoint_.find(source);
    if (!is_floating(entry.dtype)) return writer.append(entry.bytes);
    const at::ScalarType from = scalar_type(entry.dtype);
    const uint64_t item_bytes = element_bytes(entry.dtype);
    Damage damage;
    for (uint64_t begin = 0; begin < entry.bytes.size(); begin += kBlockElements * item_bytes) {
      const std::string_view bytes = entry.bytes.substr(begin, kBlockElements * item_bytes);
      // Copied, because the file's bytes may lie at odd addresses.
      const at::Tensor block = at::empty({static_cast<int64_t>(bytes.size() / item_bytes)}, from);
      std::memcpy(block.mutable_data_ptr(), bytes.data(), bytes.size());
      append(block, target, damage, writer);
    }
    check(damage, checkpoint_.where(source), target);
  }

  void write_merged(const std::string& source, const OutputTensor& target, SafetensorsWriter& writer) const {
    const MergedTensor merged = merge_->merged(source);
    const int64_t all = target.shape[0], columns = target.shape.size() > 1 ? std::max(target.shape[1], int64_t{1}) : 1;
    const int64_t step = std::max(static_cast<int64_t>(kBlockElements) / columns, int64_t{1});
    Damage damage;
    for (int64_t begin = 0; begin < all; begin += step) {
      append(merged.rows(begin, std::min(begin + step, all)), target, damage, writer);
    }
    check(damage, fmt::format("{}, with the adapter", checkpoint_.where(source)), target);
  }

  void write(const std::string& name, std::string_view bytes) {
    write_file_atomically(folder_.path() / name, bytes);
    folder_.wrote(name);
  }

  void write_companions() {
    for (const char* name : kCompanions) {
      const fs::path path = checkpoint_.folder() / name;
      if (fs::is_regular_file(path)) write(name, read_file(path, kMaxCopiedBytes));
    }
  }

  void write_config() {
    const bool is_untied = merge_ && spec_.adapter->unties_head();
    if (!options_.dtype && !is_untied) {
      return write("config.json", read_file(checkpoint_.folder() / "config.json"));
    }
    if (is_untied) config_["tie_word_embeddings"] = false;
    if (options_.dtype && !set_dtype(config_, name_of(*options_.dtype))) {
      config_["torch_dtype"] = name_of(*options_.dtype);
    }
    write("config.json", config_.dump(2) + "\n");
  }

  const ConvertOptions& options_;
  NameStyle style_;
  Json config_;
  Checkpoint checkpoint_;
  OutputFolder folder_;
  ModelSpec spec_;
  TensorNames names_;
  std::optional<AdapterMerge> merge_;
  std::vector<std::string> sources_;   // in the input, or the head that an adapter adds
  std::vector<OutputTensor> tensors_;  // in the output, in the same order
  ConvertReport report_;
};

}  // namespace

ConvertReport convert_model(const fs::path& input, const fs::path& output, const ConvertOptions& options) {
  return Conversion(input, output, options).run();
}

uint64_t parse_size_bytes(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const std::pair<std::string_view, double> units[] = {{"", 1},     {"B", 1},    {"KB", 1e3},
                                                       {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}};
  for (const auto& [name, factor] : units) {
    if (unit != name || error != std::errc() || !(value * factor >= 1) || value * factor > 1e18) continue;
    return static_cast<uint64_t>(value * factor);
  }
  fail(ExitCode::kUsage, "\"{}\" is not a size: expected bytes or a number with KB, MB, GB or TB, as in 5GB", text);
}

}  // namespace evalmpi::model
