// Feeds a fuzz target, with libFuzzer's options:
//   PROGRAM [-runs=N] [-seed=S] [-max_len=BYTES] [-dict=FILE] CORPUS...
// CORPUS: files, or folders of files. Each file is fed as it is, then N inputs that are changed ones: bits, bytes,
// pieces of other files, words of the dictionary, numbers replaced by large and odd ones, parts cut or repeated.
// An input that ends the process, takes 5 s of processor time, or wants more than 1 GiB is written to crash-<hash> in
// the working directory; give that file as CORPUS to see it again.

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <random>

#include "target.h"

namespace {

namespace fs = std::filesystem;

constexpr int kSecondsEach = 5;
constexpr size_t kMaxBytesMore = size_t{1} << 30;

std::string current_input;

// In a signal handler: async-signal-safe calls only.
void keep_input(int signal) {
  constexpr std::array<const char*, 3> kWhy = {"crash", "took 5 s of processor time", "end"};
  uint64_t hash = 14695981039346656037ull;
  for (const char c : current_input) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  std::array<char, 32> name{};
  std::memcpy(name.data(), "crash-", 6);
  for (size_t i = 0; i < 16; ++i) name[6 + i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
  if (std::FILE* out = std::fopen(name.data(), "wb")) {
    std::fwrite(current_input.data(), 1, current_input.size(), out);
    std::fclose(out);
  }
  std::fprintf(stderr, "%s (signal %d); the input is in %s\n", kWhy[signal == SIGPROF], signal, name.data());
  ::_exit(1);
}

void install_handlers() {
  static std::array<char, size_t{64} << 10> stack;  // a stack overflow leaves no other
  stack_t alternative{};
  alternative.ss_sp = stack.data();
  alternative.ss_size = stack.size();
  ::sigaltstack(&alternative, nullptr);
  struct sigaction action {};
  action.sa_handler = keep_input;
  action.sa_flags = SA_ONSTACK;
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGPROF}) ::sigaction(signal, &action, nullptr);
}

// What is mapped now and a gibibyte more; beyond that an allocation fails, which no parser may let happen.
void limit_memory() {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t limit = pages * static_cast<size_t>(::sysconf(_SC_PAGESIZE)) + kMaxBytesMore;
  const rlimit both{limit, limit};
  ::setrlimit(RLIMIT_AS, &both);
}

std::string read_all(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// libFuzzer's format: one "word" per line, \xNN, \\ and \" escaped; # begins a comment.
std::vector<std::string> read_dictionary(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> words;
  for (std::string line; std::getline(file, line);) {
    const size_t begin = line.find('"');
    const size_t end = line.rfind('"');
    if (line.starts_with('#') || begin == line.npos || end <= begin) continue;
    std::string word;
    for (size_t i = begin + 1; i < end; ++i) {
      if (line[i] != '\\') {
        word += line[i];
      } else if (line[++i] == 'x') {
        word += static_cast<char>(std::stoi(line.substr(i + 1, 2), nullptr, 16));
        i += 2;
      } else {
        word += line[i];
      }
    }
    words.push_back(std::move(word));
  }
  return words;
}

class Mutator {
 public:
  Mutator(std::vector<std::string> corpus, std::vector<std::string> words, uint64_t seed, size_t max_bytes)
      : corpus_(std::move(corpus)), words_(std::move(words)), random_(seed), max_bytes_(max_bytes) {}

  std::string next() {
    std::string input = any(corpus_);
    for (uint64_t i = uint64_t{1} << below(5); i > 0; --i) change(input);
    if (input.size() > max_bytes_) input.resize(max_bytes_);
    return input;
  }

 private:
  uint64_t below(uint64_t n) { return n == 0 ? 0 : random_() % n; }
  template <typename T>
  const T& any(const std::vector<T>& of) {
    return of[below(of.size())];
  }

  // Somewhere in the text, often beside punctuation, where formats have their joints.
  size_t place(const std::string& input) {
    const size_t at = below(input.size() + 1);
    if (below(2) == 0) return at;
    const size_t joint = input.find_first_of("{}[]()\"',:;|%\n<>\\", at);
    return joint == input.npos ? at : joint + below(2);
  }

  std::pair<size_t, size_t> piece(const std::string& of) {
    const size_t begin = place(of);
    const size_t longest = below(8) == 0 ? of.size() : 24;
    return {std::min(begin, of.size()), below(std::min(longest, of.size() - std::min(begin, of.size())) + 1)};
  }

  void change(std::string& input) {
    switch (below(11)) {
      case 0:
        if (!input.empty()) input[below(input.size())] ^= static_cast<char>(1u << below(8));
        return;
      case 1:
        if (!input.empty()) input[below(input.size())] = static_cast<char>(below(256));
        return;
      case 2: {
        const auto [begin, length] = piece(input);
        input.erase(begin, length);
        return;
      }
      case 3:
        if (below(6) == 0) input.resize(below(input.size() + 1));
        return;
      case 4: {
        const auto [begin, length] = piece(input);
        input.insert(place(input), std::string(input, begin, length));
        return;
      }
      case 5: {
        const std::string& other = any(corpus_);
        const auto [begin, length] = piece(other);
        const auto [at, replaced] = piece(input);
        input.replace(at, below(2) * replaced, std::string(other, begin, length));
        return;
      }
      case 6:
      case 7:
        if (!words_.empty()) input.insert(place(input), any(words_));
        return;
      case 8: return change_number(input);
      case 9: return repeat(input);
      default: return change_binary_number(input);
    }
  }

  void change_number(std::string& input) {
    static const std::vector<std::string> kOdd = {"0",
                                                  "-1",
                                                  "1",
                                                  "255",
                                                  "256",
                                                  "65536",
                                                  "2147483647",
                                                  "2147483648",
                                                  "-2147483649",
                                                  "4294967296",
                                                  "9223372036854775807",
                                                  "9223372036854775808",
                                                  "-9223372036854775809",
                                                  "18446744073709551615",
                                                  "18446744073709551616",
                                                  "1e309",
                                                  "-1e309",
                                                  "1e-400",
                                                  "0.5",
                                                  "1000000000000",
                                                  std::string(400, '9'),
                                                  "NaN",
                                                  "1e5"};
    size_t begin = input.find_first_of("0123456789", below(input.size() + 1));
    if (begin == input.npos) begin = input.find_first_of("0123456789");
    if (begin == input.npos) return;
    const size_t end = std::min(input.find_first_not_of("0123456789", begin), input.size());
    input.replace(begin, end - begin, any(kOdd));
  }

  // A short piece many times: depth and length.
  void repeat(std::string& input) {
    if (input.empty() || below(4) != 0) return;
    const size_t begin = std::min(place(input), input.size() - 1);
    const std::string part(input, begin, 1 + below(6));
    std::string many;
    for (uint64_t i = uint64_t{1} << below(13); i > 0 && many.size() < max_bytes_; --i) many += part;
    input.insert(begin, many);
  }

  void change_binary_number(std::string& input) {
    const size_t width = size_t{1} << (1 + below(3));
    if (input.size() < width) return;
    const size_t at = below(input.size() - width + 1);
    uint64_t value = 0;
    std::memcpy(&value, input.data() + at, width);
    switch (below(4)) {
      case 0: value += below(33) - 16; break;
      case 1: value = uint64_t{1} << below(64); break;
      case 2: value = ~uint64_t{0} >> below(64); break;
      default: value = below(1024); break;
    }
    std::memcpy(input.data() + at, &value, width);
  }

  std::vector<std::string> corpus_;
  std::vector<std::string> words_;
  std::mt19937_64 random_;
  size_t max_bytes_;
};

void run_one(std::string input) {
  current_input = std::move(input);
  const itimerval limit{{0, 0}, {kSecondsEach, 0}};
  ::setitimer(ITIMER_PROF, &limit, nullptr);
  const std::string copy = current_input;  // on its own, so that reading past its end is seen by sanitizers
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(copy.data()), copy.size());
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t runs = 0;
  uint64_t seed = 1;
  size_t max_bytes = 16 << 10;
  std::vector<std::string> corpus;
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::string value = argument.substr(std::min(argument.find('=') + 1, argument.size()));
    if (argument.starts_with("-runs=")) {
      runs = std::stoull(value);
    } else if (argument.starts_with("-seed=")) {
      seed = std::stoull(value);
    } else if (argument.starts_with("-max_len=")) {
      max_bytes = std::stoull(value);
    } else if (argument.starts_with("-dict=")) {
      words = read_dictionary(value);
    } else if (fs::is_directory(argument)) {
      std::vector<fs::path> files;
      for (const fs::directory_entry& entry : fs::directory_iterator(argument)) files.push_back(entry.path());
      std::sort(files.begin(), files.end());
      for (const fs::path& file : files) corpus.push_back(read_all(file));
    } else {
      corpus.push_back(read_all(argument));
    }
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "%s: no corpus\n", argv[0]);
    return 2;
  }
  install_handlers();
  LLVMFuzzerTestOneInput(nullptr, 0);  // what is made once is made before memory is limited
  limit_memory();
  for (const std::string& input : corpus) run_one(input);
  Mutator mutator(corpus, words, seed, max_bytes);
  for (uint64_t i = 0; i < runs; ++i) run_one(mutator.next());
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("%zu inputs and %llu changed ones; %.1f s, peak %ld MB\n", corpus.size(),
              static_cast<unsigned long long>(runs), static_cast<double>(std::clock()) / CLOCKS_PER_SEC,
              usage.ru_maxrss >> 10);
  return 0;
}
