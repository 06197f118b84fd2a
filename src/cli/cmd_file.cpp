// evalmpi generate and evalmpi logprobs: a user's own file.

#include <fmt/format.h>

#include "commands.h"
#include "evalmpi/comm/launch.h"
#include "evalmpi/eval/file_options.h"
#include "evalmpi/eval/run.h"
#include "option_parser.h"
#include "watched_session.h"

namespace evalmpi::cli {
namespace {

constexpr const char* kGenerateHelp =
    R"(usage: evalmpi generate [JOB.yaml] --model DIR --input prompts.jsonl [--output-file answers.jsonl] [options]
       mpirun -n 4 evalmpi generate ... --dp 4        srun --mpi=pmix evalmpi generate ... --tp 3

Answers the prompts of a file. Any launcher and layout; common beginnings of prompts are computed once; a killed run goes on
where it was, and a longer file with the same -o computes only the new lines. A line of input, in any mixture:

  {"prompt": "The capital of France is", "max_tokens": 8, "stop": ["\n"]}
  {"prompt": [1, 450, 7483], "id": "token ids"}
  {"messages": [{"role": "user", "content": "Say hello."}], "temperature": 0.7, "seed": 3}
  {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [...], "max_tokens": 64}}

The last is the OpenAI batch format as vllm run-batch takes it (/v1/completions too), and its result has that format. Settings
of a line beat the options below: max_tokens, temperature, top_p, top_k, min_p, stop, stop_token_ids, n, seed, ignore_eos,
repetition_penalty, no_repeat_ngram_size. What evalmpi does not compute (tools, response_format, logit_bias, images, ...) is
an error of the line, never ignored. A .txt file has a prompt a line.

Results are in the order of the input, in <output>/outputs.jsonl and in --output-file, and do not depend on the layout:

  {"line": 1, "prompt_tokens": 6, "text": " Paris.", "finish_reason": "stop", "completion_tokens": 3}
)";

constexpr const char* kLogprobsHelp =
    R"(usage: evalmpi logprobs [JOB.yaml] --model DIR --input texts.jsonl [--output-file scores.jsonl] [options]
       mpirun -n 4 evalmpi logprobs ... --dp 4        srun --mpi=pmix evalmpi logprobs ... --tp 3

Scores the texts of a file: log-likelihoods of continuations, as lm_eval asks for them, and of whole texts (perplexity). Any
launcher and layout; common beginnings are computed once; a killed run goes on where it was. A line of input:

  {"prompt": "The capital of France is", "continuation": " Paris"}
  {"prompt": "Two and two is", "continuations": [" four", " five"], "id": 7}
  {"text": "Any text, however long: it is scored in windows of the model's positions."}
  {"prompt": [1, 450], "continuation": [7483]}        {"messages": [...], "continuation": "Hello"}

Results are in the order of the input, in <output>/outputs.jsonl and in --output-file, and do not depend on the layout:

  {"line": 1, "logprob": -0.25, "token_count": 1, "is_greedy": true}
  {"line": 3, "logprob": -40.5, "token_count": 16, "byte_count": 69, "perplexity": 12.6, "bits_per_byte": 0.85}
)";

ExitCode file_command(eval::FileJob job, const Invocation& invocation) {
  eval::FileOptions options(job);
  std::vector<Field> fields = eval::fields(options);
  const CommandLine command_line = parse_command_line(invocation.arguments, fields);
  const bool speaks = comm::speaks_before_init(comm::process_environment());
  if (command_line.wants_help) {
    if (speaks) fmt::print("{}{}", job == eval::FileJob::kGenerate ? kGenerateHelp : kLogprobsHelp, describe(fields));
    return ExitCode::kComplete;
  }
  if (command_line.positionals.size() > 1) {
    fail(ExitCode::kUsage, "more than one job file: {} and {}", command_line.positionals[0],
         command_line.positionals[1]);
  }
  Values values;
  if (!command_line.positionals.empty()) values = read_job_file(command_line.positionals[0], fields);
  apply(values, command_line.values, fields);
  eval::resolve(options);
  eval::resolve_run(options.each);
  if (!options.dry_run) {
    return in_watched_session(options.each, [&](const WatchedSession& watched) {
      return eval::run(
          watched.session, options,
          {eval::name_of(job), invocation.process_start, &watched.watchdog, &watched.roll_call, watched.devices});
    });
  }
  if (speaks) fmt::print("{}", eval::plan(options));
  return ExitCode::kComplete;
}

}  // namespace

ExitCode generate_command(const Invocation& invocation) { return file_command(eval::FileJob::kGenerate, invocation); }
ExitCode logprobs_command(const Invocation& invocation) { return file_command(eval::FileJob::kLogprobs, invocation); }

}  // namespace evalmpi::cli
