#include "evalmpi/eval/options.h"

#include <gtest/gtest.h>

#include <functional>

#include "evalmpi/base/error.h"

namespace evalmpi::eval {
namespace {

EvalOptions valid() {
  EvalOptions options;
  options.model = "m";
  options.tasks = {"t"};
  return options;
}

TEST(Options, seeds_are_the_harness_s) {
  EvalOptions options = valid();
  EXPECT_EQ(resolve(options).fewshot_seed, 1234);
  options.seed = "7";
  EXPECT_EQ(resolve(options).fewshot_seed, 7);
  options.seed = "1,2,3";
  EXPECT_EQ(resolve(options).fewshot_seed, 1234);
  options.seed = "1,2,3,4";
  EXPECT_EQ(resolve(options).fewshot_seed, 4);
  options.seed = "1,None,3,None";
  EXPECT_EQ(resolve(options).fewshot_seed, std::nullopt);
  options.seed = "1,2,3,4";
  EXPECT_EQ(resolve(options).sampling_seed, 3u);
  options.seed = "5";
  EXPECT_EQ(resolve(options).sampling_seed, 5u);
  options.seed = "1,2,None,4";
  EXPECT_EQ(resolve(options).sampling_seed, 1234u);
}

TEST(Options, gen_kwargs_are_read_as_python_values) {
  EvalOptions options = valid();
  options.gen_kwargs = "max_gen_toks=64,temperature=0.5,do_sample=false,stop=a b";
  EXPECT_EQ(resolve(options).generation_kwargs.dump(),
            R"({"max_gen_toks":64,"temperature":0.5,"do_sample":false,"stop":"a b"})");
  options.gen_kwargs = R"({"until": ["x", "y"]})";
  EXPECT_EQ(resolve(options).generation_kwargs.dump(), R"({"until":["x","y"]})");
  options.gen_kwargs = "stop=['a,b',\"c\"],n=TRUE,x=-1,y=1e3,z=None";
  EXPECT_EQ(resolve(options).generation_kwargs.dump(), R"({"stop":["a,b","c"],"n":true,"x":-1.0,"y":1000.0,"z":null})");
}

TEST(Options, what_cannot_be_is_refused_with_its_name) {
  const std::pair<std::function<void(EvalOptions&)>, const char*> cases[] = {
      {[](EvalOptions& o) { o.model = ""; }, "--model"},
      {[](EvalOptions& o) { o.tasks = {}; }, "--tasks"},
      {[](EvalOptions& o) { o.device = "tpu"; }, "--device tpu"},
      {[](EvalOptions& o) { o.device = "cuda:1"; }, "CUDA_VISIBLE_DEVICES"},
      {[](EvalOptions& o) { o.dtype = "int8"; }, "--dtype int8"},
      {[](EvalOptions& o) { o.limit = -1; }, "--limit"},
      {[](EvalOptions& o) { o.samples = "{'a': [1]}"; }, "--samples"},
      {[](EvalOptions& o) { o.samples = R"({"a": 1})"; }, "list of rows"},
      {[](EvalOptions& o) { o.samples = R"({"a": [-1]})"; }, "list of rows"},
      {[](EvalOptions& o) { o.samples = "{}", o.limit = 1; }, "exclude each other"},
      {[](EvalOptions& o) { o.max_hours = 0; }, "--max-hours"},
      {[](EvalOptions& o) { o.pp = 2; }, "not built yet"},
      {[](EvalOptions& o) { o.token_budget = "0"; }, "--token-budget 0"},
      {[](EvalOptions& o) { o.token_budget = "1e3"; }, "--token-budget 1e3"},
      {[](EvalOptions& o) { o.batch_size = "0"; }, "--batch-size 0"},
      {[](EvalOptions& o) { o.batch_size = "-4"; }, "--batch-size -4"},
      {[](EvalOptions& o) { o.batch_size = "auto:"; }, "--batch-size auto:"},
      {[](EvalOptions& o) { o.batch_size = "fast"; }, "--batch-size fast"},
      {[](EvalOptions& o) { o.seed = "1,2"; }, "--seed 1,2"},
      {[](EvalOptions& o) { o.gen_kwargs = "max_gen_toks"; }, "--gen-kwargs"},
  };
  for (const auto& [change, words] : cases) {
    EvalOptions options = valid();
    change(options);
    try {
      resolve(options);
      ADD_FAILURE() << words;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  }
}

TEST(Options, batch_sizes_of_other_tools_are_taken) {
  for (const char* text : {"", "1", "15", "auto", "auto:4"}) {
    EvalOptions options = valid();
    options.batch_size = text;
    EXPECT_NO_THROW(resolve(options)) << text;
  }
  EvalOptions options = valid();
  EXPECT_EQ(resolve(options).token_budget, std::nullopt);
  options.token_budget = "512";
  EXPECT_EQ(resolve(options).token_budget, 512);
}

// A new option is a decision: it changes this list, the README and the resume rules.
TEST(Options, are_these) {
  EvalOptions options;
  std::string names;
  for (const Field& field : fields(options)) names += field.name + " ";
  EXPECT_EQ(names,
            "model adapter tasks num-fewshot limit samples device dtype fast-kernels fast-reduce "
            "max-length seed gen-kwargs apply-chat-template "
            "chat-template-args enable-thinking think-end-token fewshot-as-multiturn system-instruction add-bos-token "
            "prefix-token-id tokenizer data-root include-path bootstrap-iters tp dp pp devices-per-rank share-devices "
            "host-staged cuda-graphs "
            "allow-split threads-per-lane token-budget "
            "batch-size max-hours hang-timeout output "
            "predict-only write-out show-config log-samples quiet verify strict strict-functions timings ");
}

}  // namespace
}  // namespace evalmpi::eval
