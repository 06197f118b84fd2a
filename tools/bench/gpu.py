"""bench gpu: what a GPU can do, what scorer and decoder make of it, and transformers on it in the same run."""
import json
import os
import subprocess
import sys
import tempfile

import programs
import report

PART = ["what", "model", "measured", "reference", "ratio", "bar", "details"]
UNAVAILABLE = 69
DESCRIPTION = """A Llama with random weights in bfloat16 that are made on the device: no files travel. In one run:

  roofline    the library's matrix product at the model's shapes, and a copy within the device's memory
  scorer      requests in the shape of MMLU 5-shot (3 headers of 600 tokens, questions of 90, 4 answers of one token); its operations per
              second against the best matrix product
  decoder     as many sequences side by side as --slots says; bytes that each step must read per second, against the copy
  transformers
              the same documents in whole sequences, all logits and their log-softmax, as lm-evaluation-harness asks for them (answers of one
              token share a sequence); the best of several batch sizes. Needs a Python with torch and transformers.

Without a GPU it says so and ends with exit code 69."""

SHAPES = {
    "llama-8b": {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
                 "vocab_size": 128256, "max_position_embeddings": 8192},
    "llama-1b": {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 8192,
                 "vocab_size": 128256, "max_position_embeddings": 8192},
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
             "vocab_size": 500, "max_position_embeddings": 256},
}
HEADERS, HEADER_TOKENS, QUESTION_TOKENS = 3, 600, 90


def write_config(shape, folder):
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
              "tie_word_embeddings": False, "attention_bias": False, "torch_dtype": "bfloat16", **SHAPES[shape]}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)


def add_arguments(parser):
    parser.add_argument("--shape", choices=sorted(SHAPES), default="llama-8b", help="default %(default)s")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to see that all works")
    parser.add_argument("--documents", type=int, default=400, help="below each of the three headers. Default %(default)s")
    parser.add_argument("--token-budget", type=int, default=8192, help="rows of a step. Default %(default)s")
    parser.add_argument("--slots", type=int, default=64, help="of the decoder. Default %(default)s")
    parser.add_argument("--new-tokens", type=int, default=128, help="of each sequence. Default %(default)s")
    parser.add_argument("--no-cuda-graphs", dest="graphs", action="store_false", help="start the kernels of a step one by one")
    parser.add_argument("--no-transformers", dest="transformers", action="store_false", help="leave out the comparison")
    parser.add_argument("--seconds", type=float, default=1.0, help="for one measurement of the roofline. Default %(default)s")


def measure(args, folder, start=None):
    """What evalmpi_bench_gpu finds; None where there is no GPU. start: a command that starts a program by its name."""
    command = start or [os.path.join(args.build, "bench", "evalmpi_bench_gpu")]
    if start is None and not os.path.exists(command[0]):
        programs.fail(f"{command[0]} is missing; build it with: ninja -C {args.build} evalmpi_bench_gpu")
    dtype = "float32" if args.device == "cpu" else "bfloat16"
    command = command + ["--model", folder, "--device", args.device, "--dtype", dtype, "--documents", str(args.documents), "--token-budget",
                         str(args.token_budget), "--slots", str(args.slots), "--new-tokens", str(args.new_tokens), "--graphs",
                         str(int(args.graphs)), "--seconds", str(args.seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == UNAVAILABLE and args.device == "cuda":
        print(f"no GPU here: not measured ({done.stderr.strip()})")
        return None
    if done.returncode != 0:
        programs.fail(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def measure_transformers(args, folder):
    """Documents per second, or why there is no such figure."""
    command = [sys.executable, "-B", os.path.abspath(__file__), folder, args.device, str(args.documents * HEADERS)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return None, (done.stderr.strip().splitlines() or ["no words"])[-1]
    found = json.loads(done.stdout.splitlines()[-1])
    return found, f"batch {found['batch']}, transformers {found['version']}"


def rows_of(found, theirs, why_theirs, shape):
    """Rows of the table. theirs: documents per second of transformers, or None and why."""
    giga, tera = (lambda value: f"{value / 1e9:.0f} GB/s"), (lambda value: f"{value / 1e12:.1f} TFLOP/s")
    percent = lambda value: f"{100 * value:.1f} %"
    gemm, bandwidth, scorer, decoder = found["gemm"], found["bandwidth"]["bytes_per_second"], found["scorer"], found["decoder"]
    rows = [[f"matrix product {s['m']} x {s['n']} x {s['k']}", shape, tera(s["flops_per_second"]), "-", "-", "-", ""] for s in gemm["shapes"]]
    rows.append(["copy within memory", shape, giga(bandwidth), "-", "-", "-", "bytes read and written"])
    rows.append(["scorer, MMLU's shape", shape, tera(scorer["flops_per_second"]), "best product " + tera(gemm["best"]),
                 percent(scorer["flops_per_second"] / gemm["best"]), "70 %",
                 f"{scorer['distinct_tokens_per_second']:.0f} distinct tokens/s, {scorer['seconds']:.2f} s, computed / distinct "
                 f"{scorer['computed_tokens'] / scorer['distinct_tokens']:.3f}"])
    ours = scorer["documents"] / scorer["seconds"]
    if theirs is None:
        rows.append(["scorer against transformers", shape, f"{ours:.1f} documents/s", "not measured", "-", "4", why_theirs])
    else:
        rows.append(["scorer against transformers", shape, f"{ours:.1f} documents/s", f"{theirs['documents_per_second']:.1f} documents/s",
                     f"{ours / theirs['documents_per_second']:.2f}", "4", why_theirs])
    rows.append([f"decoder, {decoder['slots']} sequences", shape, giga(decoder["bytes_per_second"]), "copy " + giga(bandwidth),
                 percent(decoder["bytes_per_second"] / bandwidth), "60 %",
                 f"{decoder['tokens_per_second']:.0f} tokens/s, {decoder['bytes_per_step'] / 1e9:.2f} GB a step"])
    return rows


def run(args):
    with tempfile.TemporaryDirectory(prefix="bench ") as folder:
        write_config(args.shape, folder)
        found = measure(args, folder)
        if found is None:
            return UNAVAILABLE
        theirs, why = measure_transformers(args, folder) if args.transformers else (None, "left out")
    print(f"{found['device']}, {found['multiprocessors']} multiprocessors")
    report.show("A GPU", args.command_line, PART, rows_of(found, theirs, why, args.shape), ["what", "model"], args.write)
    return 0


def transformers_main(folder, device, documents):
    """A process of its own, so that its memory is gone afterwards."""
    import time
    import torch
    import transformers
    config = transformers.AutoConfig.from_pretrained(folder)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    with torch.device(device):
        previous = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
        torch.set_default_dtype(previous)
    length = min(HEADER_TOKENS + QUESTION_TOKENS, config.max_position_embeddings * 3 // 4)
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    best = {"documents_per_second": 0.0}
    with torch.inference_mode():
        for batch in (1, 2) if device == "cpu" else (4, 8, 16, 32, 64):
            try:
                rounds = max(1, min(documents, 256 if device == "cuda" else 2) // batch)
                inputs = torch.randint(0, config.vocab_size, (batch, length), device=device)
                targets = torch.randint(0, config.vocab_size, (batch, 4), device=device)
                for number in range(rounds + 1):
                    if number == 1:
                        wait()
                        start = time.monotonic()
                    logprobs = torch.nn.functional.log_softmax(model(inputs).logits, dim=-1)
                    answers = logprobs[:, -1].gather(1, targets).float().cpu()
                wait()
                rate = rounds * batch / (time.monotonic() - start)
                assert answers.isfinite().all()
                if rate > best["documents_per_second"]:
                    best = {"documents_per_second": rate, "batch": batch, "version": transformers.__version__}
            except torch.OutOfMemoryError:
                break
    print(json.dumps(best))


if __name__ == "__main__":
    transformers_main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
