#include "evalmpi/data/file_text.h"

#include <arrow/util/compression.h>
#include <arrow/util/utf8.h>

#include <algorithm>
#include <array>

#include "evalmpi/base/error.h"
#include "evalmpi/data/readers.h"

namespace evalmpi::data {
namespace {

using arrow::Compression;
using namespace std::string_view_literals;

constexpr uint64_t kFreeBytes = uint64_t{256} << 20;
constexpr uint64_t kMaxRatio = 100;
constexpr size_t kStepBytes = size_t{1} << 20;

struct Format {
  std::string_view magic;
  Compression::type codec;  // UNCOMPRESSED: refused
  const char* name;
};
constexpr std::array kFormats{
    Format{"\x1f\x8b"sv, Compression::GZIP, "gzip"},
    Format{"\x28\xb5\x2f\xfd"sv, Compression::ZSTD, "Zstandard"},
    Format{"\x04\x22\x4d\x18"sv, Compression::LZ4_FRAME, "LZ4"},
    Format{"BZh91AY&SY"sv, Compression::BZ2, "bzip2"},
    Format{"\xfd"
           "7zXZ\0"sv,
           Compression::UNCOMPRESSED, "an xz file"},
    Format{"PK\x03\x04"sv, Compression::UNCOMPRESSED, "a zip archive"},
    Format{"7z\xbc\xaf\x27\x1c"sv, Compression::UNCOMPRESSED, "a 7z archive"},
    Format{"\xff\xfe"sv, Compression::UNCOMPRESSED, "UTF-16 text"},
    Format{"\xfe\xff"sv, Compression::UNCOMPRESSED, "UTF-16 text"},
};

// Members or frames that follow one another are one text, as gzip and zstd themselves read them.
std::string decompress(std::string_view in, const Format& format, const std::string& name) {
  const auto checked = [&](auto result) {
    if (!result.ok()) {
      fail(ExitCode::kBadInput, "{}: damaged {} data: {}", name, format.name, result.status().ToString());
    }
    return std::move(result).ValueUnsafe();
  };
  const uint64_t most = std::min(kMaxFileBytes, std::max(kFreeBytes, kMaxRatio * in.size()));
  const auto codec = checked(arrow::util::Codec::Create(format.codec));
  const auto stream = checked(codec->MakeDecompressor());
  std::string out;
  size_t used = 0;
  while (!in.empty() || !stream->IsFinished()) {
    if (stream->IsFinished()) {
      if (!in.starts_with(format.magic.substr(0, 4))) break;  // padding behind the last member
      const arrow::Status status = stream->Reset();
      if (!status.ok()) fail(ExitCode::kInternal, "{}: {}", name, status.ToString());
    }
    if (out.size() - used < kStepBytes) out.resize(std::max(2 * out.size(), used + kStepBytes));
    const auto step = checked(
        stream->Decompress(static_cast<int64_t>(in.size()), reinterpret_cast<const uint8_t*>(in.data()),
                           static_cast<int64_t>(out.size() - used), reinterpret_cast<uint8_t*>(out.data() + used)));
    in.remove_prefix(static_cast<size_t>(step.bytes_read));
    used += static_cast<size_t>(step.bytes_written);
    if (used > most) {
      fail(ExitCode::kBadInput, "{}: {} data that decompress to more than {} bytes are not read; decompress it first",
           name, format.name, most);
    }
    if (step.bytes_read == 0 && step.bytes_written == 0 && !stream->IsFinished()) {
      fail(ExitCode::kBadInput, "{}: the {} data end too early, after {} bytes of text", name, format.name, used);
    }
  }
  out.resize(used);
  return out;
}

}  // namespace

FileText::FileText(const std::filesystem::path& file) : mapped_(file), text_(mapped_.bytes()) {
  const std::string name = file.string();
  if (text_.size() > kMaxFileBytes) {
    fail(ExitCode::kBadInput, "{}: {} bytes; files above {} bytes are not read", name, text_.size(), kMaxFileBytes);
  }
  for (const Format& format : kFormats) {
    if (!text_.starts_with(format.magic)) continue;
    if (format.codec == Compression::UNCOMPRESSED) {
      fail(ExitCode::kBadInput, "{}: {}, which is not read; make it a plain, gzip or Zstandard file of UTF-8 text",
           name, format.name);
    }
    decompressed_ = decompress(text_, format, name);
    text_ = decompressed_;
    break;
  }
  if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
}

bool is_utf8(std::string_view text) {
  static const bool once = (arrow::util::InitializeUTF8(), true);
  return once &&
         arrow::util::ValidateUTF8(reinterpret_cast<const uint8_t*>(text.data()), static_cast<int64_t>(text.size()));
}

std::filesystem::path without_compression(const std::filesystem::path& file) {
  static constexpr std::string_view kExtensions[] = {".gz", ".zst", ".bz2", ".lz4"};
  const std::string extension = file.extension().string();
  const bool compressed = std::find(std::begin(kExtensions), std::end(kExtensions), extension) != std::end(kExtensions);
  return compressed ? file.stem() : file.filename();
}

}  // namespace evalmpi::data
