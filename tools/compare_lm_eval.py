#!/usr/bin/env python3
"""Runs evalmpi and lm-evaluation-harness on the same model, tasks and documents and compares everything.

    tools/compare_lm_eval.py --model DIR --tasks arc_easy,gsm8k --num-fewshot 5 --limit 20 --data-root DIR

Compared, request by request: prompts and continuations (character by character), log-likelihoods (within
1e-4 + 1e-5 |x|), the greedy flags, generated texts, and then every metric with its standard error. A flag or a text
may differ only where the harness's own model is undecided: where its two best logits are less than 2e-4 apart; such
places are listed. Exit code 0: they agree, 1: they do not.

Needs Python packages that evalmpi itself does not: transformers==4.57.6 lm_eval==0.4.13 torch (CPU is enough).
"""
import argparse
import glob
import json
import math
import os
import subprocess
import sys
import tempfile

ABSOLUTE, RELATIVE, MARGIN = 1e-4, 1e-5, 2e-4


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--evalmpi", default=os.path.join(here, "build", "bin", "evalmpi"))
    parser.add_argument("--launch", default="", help="how to start it, for example 'mpirun -n 3'")
    parser.add_argument("--evalmpi-args", default="", help="further options of evalmpi, for example '--tp 3'")
    parser.add_argument("--model", required=True)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--num-fewshot", type=int)
    parser.add_argument("--limit", type=float)
    parser.add_argument("--data-root", help="folder with datasets as DIR/<org>/<name>/, for both programs")
    parser.add_argument("--metric-root", help="folder with scripts of the package evaluate as DIR/<name>/, for tasks that load one")
    parser.add_argument("--include-path")
    parser.add_argument("--gen-kwargs", default="")
    parser.add_argument("--apply-chat-template", action="store_true")
    parser.add_argument("--fewshot-as-multiturn", choices=["true", "false"])
    parser.add_argument("--system-instruction")
    parser.add_argument("--output", help="keep evalmpi's results here")
    return parser.parse_args()


def evalmpi_command(args, folder):
    command = args.launch.split() + [args.evalmpi, "eval", "--model", args.model, "--tasks", args.tasks, "-o", folder]
    if args.num_fewshot is not None:
        command += ["--num-fewshot", str(args.num_fewshot)]
    if args.limit is not None:
        command += ["--limit", str(args.limit)]
    for option in ("data_root", "include_path", "gen_kwargs"):
        if getattr(args, option):
            command += ["--" + option.replace("_", "-"), getattr(args, option)]
    if args.apply_chat_template:
        command.append("--apply-chat-template")
    if args.fewshot_as_multiturn:
        command.append("--fewshot-as-multiturn=" + args.fewshot_as_multiturn)
    if args.system_instruction:
        command += ["--system-instruction", args.system_instruction]
    return command + args.evalmpi_args.split()


def read_outputs(folder):
    """The newest results of a run and its samples by task."""
    newest = sorted(glob.glob(os.path.join(folder, "results_*.json")))[-1]
    time_id = os.path.basename(newest)[len("results_"):-len(".json")]
    samples = {}
    for path in glob.glob(os.path.join(folder, f"samples_*_{time_id}.jsonl")):
        name = os.path.basename(path)[len("samples_"):-len(f"_{time_id}.jsonl")]
        with open(path, encoding="utf-8") as lines:
            samples[name] = [json.loads(line) for line in lines]
    with open(newest, encoding="utf-8") as file:
        return json.load(file), samples


def load_harness(args):
    """The harness's model, and its data sets where ours are."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import datasets
    from lm_eval.models.huggingface import HFLM

    if args.metric_root:
        import evaluate

        load_metric = evaluate.load
        evaluate.load = lambda name, *rest, **named: load_metric(os.path.join(args.metric_root, name), *rest, **named)
    if args.data_root:
        load = datasets.load_dataset

        def load_local(path=None, *rest, **named):
            local = os.path.join(args.data_root, str(path))
            return load(local if os.path.isdir(local) else path, *rest, **named)

        datasets.load_dataset = load_local
    return HFLM(pretrained=args.model, dtype="float32", device="cpu", batch_size=1)


def run_harness(args, model):
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=args.include_path) if args.include_path else TaskManager()
    kwargs = {"gen_kwargs": args.gen_kwargs} if args.gen_kwargs else {}
    multiturn = args.apply_chat_template if args.fewshot_as_multiturn is None else args.fewshot_as_multiturn == "true"
    kwargs.update(apply_chat_template=args.apply_chat_template, fewshot_as_multiturn=multiturn, system_instruction=args.system_instruction)
    return lm_eval.simple_evaluate(
        model=model, tasks=args.tasks.split(","), num_fewshot=args.num_fewshot, limit=args.limit,
        task_manager=manager, log_samples=True, **kwargs)


def margins(model, context_ids, continuation_ids):
    """Differences of the two best logits at each continuation token, as the harness's model sees them."""
    import torch
    ids = (context_ids + continuation_ids)[-(model.max_length + 1):]
    with torch.no_grad():
        logits = model.model(torch.tensor([ids[:-1]])).logits[0, -len(continuation_ids):].double()
    best = logits.topk(2, dim=-1).values
    return (best[:, 0] - best[:, 1]).tolist()


class Comparison:
    def __init__(self, model):
        self.model = model
        self.requests = self.differences = 0
        self.largest = 0.0
        self.undecided = []

    def differ(self, where, what):
        self.differences += 1
        if self.differences <= 20:
            print(f"DIFFERS {where}: {what}")

    def score(self, where, ours, theirs, arguments):
        ours, theirs = (float(ours[0]), ours[1] == "True"), (float(theirs[0]), bool(theirs[1]))
        gap = abs(ours[0] - theirs[0])
        self.largest = max(self.largest, gap)
        if not gap <= ABSOLUTE + RELATIVE * abs(theirs[0]):
            self.differ(where, f"log-likelihood {ours[0]} against {theirs[0]}")
        if ours[1] != theirs[1]:
            context, continuation = self.model._encode_pair(*arguments)
            margin = min(margins(self.model, context, continuation))
            if margin < MARGIN:
                self.undecided.append(f"{where}: greedy flag, margin {margin:.2g}")
            else:
                self.differ(where, f"greedy flag {ours[1]} against {theirs[1]} (margin {margin:.2g})")

    def text(self, where, ours, theirs, context):
        if ours == theirs:
            return
        prompt = self.model.tok_encode(context)
        shared = os.path.commonprefix([ours, theirs])
        tokens = self.model.tok_encode(theirs, add_special_tokens=False)
        room = self.model.max_length - len(tokens)
        steps = margins(self.model, prompt[-room:], tokens)
        for step, margin in enumerate(steps):
            before = self.model.tok_decode(tokens[: step + 1])
            if len(before) > len(shared) - 1 and margin < MARGIN:
                self.undecided.append(f"{where}: text from token {step} on, margin {margin:.2g}")
                return
            if len(before) > len(shared) + 1:
                break
        self.differ(where, f"text {ours[:80]!r} against {theirs[:80]!r}")

    def documents(self, task, ours, theirs):
        key = lambda sample: (sample["filter"], sample["doc_id"])
        ours, theirs = sorted(ours, key=key), sorted(theirs, key=key)
        if [key(sample) for sample in ours] != [key(sample) for sample in theirs]:
            self.differ(task, f"{len(ours)} samples against {len(theirs)}, or of other documents or filters")
            return
        for mine, other in zip(ours, theirs):
            where = f"{task} document {mine['doc_id']} filter {mine['filter']}"
            for name in ("doc_hash", "prompt_hash", "target_hash", "target"):
                if str(mine[name]) != str(other[name]):
                    self.differ(where, f"{name} {mine[name]!r} against {other[name]!r}")
            for i, pair in enumerate(other["arguments"]):
                self.requests += 1
                argument = mine["arguments"][f"gen_args_{i}"]
                if argument["arg_0"] != pair[0]:
                    self.differ(where, f"prompt {argument['arg_0'][-80:]!r} against {pair[0][-80:]!r}")
                if isinstance(pair[1], str):
                    if argument["arg_1"] != pair[1]:
                        self.differ(where, f"continuation {argument['arg_1']!r} against {pair[1]!r}")
                    self.score(f"{where} request {i}", mine["resps"][i][0], other["resps"][i][0], pair)
                else:
                    self.text(f"{where} request {i}", mine["resps"][i][0], other["resps"][i][0], pair[0])

    def metrics(self, ours, theirs):
        for name, row in theirs["results"].items():
            for key, value in row.items():
                mine = ours["results"].get(name, {}).get(key)
                if isinstance(value, float) and isinstance(mine, (int, float)):
                    if not math.isclose(mine, value, rel_tol=1e-4, abs_tol=1e-9):
                        self.differ(f"{name} {key}", f"{mine} against {value}")
                elif key not in ("name", "alias", "samples") and mine != value:
                    self.differ(f"{name} {key}", f"{mine!r} against {value!r}")


def compare(model, ours, our_samples, theirs):
    """Compares everything and prints what differs."""
    comparison = Comparison(model)
    for task, samples in theirs["samples"].items():
        comparison.documents(task, our_samples.get(task, []), samples)
    before_metrics = comparison.differences
    comparison.metrics(ours, theirs)
    for line in comparison.undecided:
        print(f"UNDECIDED {line}")
    if comparison.undecided and comparison.differences > before_metrics:
        print("(metrics may differ by the undecided places above)")
    print(f"{comparison.requests} requests compared: {comparison.differences} differences, "
          f"{len(comparison.undecided)} undecided, largest log-likelihood difference {comparison.largest:.3g}", flush=True)
    return comparison


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.output or os.path.join(temporary, "run")
        subprocess.run(evalmpi_command(args, folder), check=True)
        ours, our_samples = read_outputs(folder)
    model = load_harness(args)
    sys.exit(1 if compare(model, ours, our_samples, run_harness(args, model)).differences else 0)


if __name__ == "__main__":
    main()
