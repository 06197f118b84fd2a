// Encodes and decodes many texts with one tokenizer: the evalmpi side of compare.py.
//
//   encode_texts FOLDER TEXTS OUT          TEXTS: for each text its length in bytes (u32) and its bytes. OUT: for each
//                                          text the ids without and with special tokens, and for the latter the text
//                                          decoded with special tokens, without them, and what a TextStream settled.
//   encode_texts --time FOLDER TEXTS N     encodes all texts N times; prints the seconds of processor time of each
//   round.

#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "evalmpi/base/file.h"
#include "evalmpi/text/stop.h"
#include "evalmpi/text/tokenizer.h"

namespace {

using evalmpi::text::TextStream;
using evalmpi::text::Tokenizer;

std::vector<std::string> read_texts(const std::string& path) {
  const std::string bytes = evalmpi::read_file(path);
  std::vector<std::string> texts;
  for (size_t at = 0; at + 4 <= bytes.size();) {
    uint32_t size = 0;
    std::memcpy(&size, bytes.data() + at, 4);
    texts.push_back(bytes.substr(at + 4, size));
    at += 4 + size;
  }
  return texts;
}

void put(std::FILE* out, const void* data, size_t count, size_t item_bytes) {
  const auto size = static_cast<uint32_t>(count);
  std::fwrite(&size, 4, 1, out);
  std::fwrite(data, item_bytes, count, out);
}

double user_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec) + 1e-6 * static_cast<double>(usage.ru_utime.tv_usec);
}

void write_results(const Tokenizer& tokenizer, const std::vector<std::string>& texts, std::FILE* out) {
  for (const std::string& text : texts) {
    const std::vector<int32_t> plain = tokenizer.encode(text, false);
    const std::vector<int32_t> ids = tokenizer.encode(text, true);
    put(out, plain.data(), plain.size(), 4);
    put(out, ids.data(), ids.size(), 4);
    for (const bool skip : {false, true}) {
      const std::string decoded = tokenizer.decode(ids, skip);
      put(out, decoded.data(), decoded.size(), 1);
    }
    TextStream stream(tokenizer, true);
    for (const int32_t id : ids) stream.push(id);
    put(out, stream.text().data(), stream.text().size(), 1);
  }
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() == 4 && arguments[0] == "--time") {
    const Tokenizer tokenizer = Tokenizer::load(arguments[1]);
    const std::vector<std::string> texts = read_texts(arguments[2]);
    for (int round = std::stoi(arguments[3]); round > 0; --round) {
      const double start = user_seconds();
      size_t ids = 0;
      for (const std::string& text : texts) ids += tokenizer.encode(text, true).size();
      std::printf("%.6f %zu\n", user_seconds() - start, ids);
    }
    return 0;
  }
  if (arguments.size() != 3) {
    std::fputs("usage: encode_texts [--time] FOLDER TEXTS OUT|ROUNDS\n", stderr);
    return 64;
  }
  const Tokenizer tokenizer = Tokenizer::load(arguments[0]);
  std::FILE* out = std::fopen(arguments[2].c_str(), "wb");
  if (out == nullptr) {
    std::perror(arguments[2].c_str());
    return 74;
  }
  write_results(tokenizer, read_texts(arguments[1]), out);
  return std::fclose(out) == 0 ? 0 : 74;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 65;
  }
}
