"""bench vs-lm-eval: evalmpi's whole wall time against the model's part of lm-eval + transformers."""
import argparse
import importlib.util
import math
import os
import shutil
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import compare_lm_eval  # noqa: E402
import flops  # noqa: E402
import programs  # noqa: E402
import report  # noqa: E402
from cases import CASES, Case  # noqa: E402

HEADER = ["case", "model", "documents", "evalmpi s", "lm-eval s", "its best", "ratio", "bar", "computed / distinct / naive tokens",
          "computed / distinct", "floor s", "of floor", "where the time goes"]
DESCRIPTION = """Both programs, the same model folder, the same requests, in the same run.

lm-eval + transformers: CPU, float32, only the time inside the model's loglikelihood or generate_until (after loading and building of
requests), at its best batch size of --batch-sizes and number of threads of 1 and all cores. Both are looked for on some of the
documents; `auto` then gets all requests and as much time as the best took, its search for a size included.
evalmpi: the wall time of the whole process, with its default settings.

Answers are compared first, request by request (tools/compare_lm_eval.py). Where they differ no ratio is printed, and the exit code is 1.
The floor is the time that distinct tokens' operations (linears, attention, head on target rows) take at the best GEMM rate measured
with all cores.

Needs a Python with: transformers==4.57.6 lm_eval==0.4.13 torch. Cases: """ + "; ".join(case.name for case in CASES)


def add_arguments(parser):
    parser.add_argument("--model", required=True, help="model folder; its size picks the limits of built-in cases")
    parser.add_argument("--cases", help="built-in cases: llama, pythia (the limits for that size), all (by the model's size), or "
                                        "names separated by commas")
    parser.add_argument("--tasks", help="instead of --cases: tasks, separated by commas")
    parser.add_argument("--num-fewshot", type=int)
    parser.add_argument("--limit", type=float, help="documents of each task; with --cases instead of the built-in limits")
    parser.add_argument("--data-root", help="folder with datasets as DIR/<org>/<name>/")
    parser.add_argument("--include-path")
    parser.add_argument("--gen-kwargs", default="")
    parser.add_argument("--repeats", type=int, default=1, help="pairs of runs, alternating; medians count. Default 1")
    parser.add_argument("--batch-sizes", default="1,4,8,16,auto", help="of the baseline. Default %(default)s")
    parser.add_argument("--auto-seconds", type=float, default=math.inf,
                        help="the most that `auto` gets; less makes it cheap to leave out a search that takes minutes on a CPU")
    parser.add_argument("--evalmpi-args", default="", help="further options of evalmpi")


def size_of(model):
    """Which limits fit: by parameters of the layers."""
    sizes = flops.model_sizes(model)
    return "llama" if sizes["layers"] * sizes["hidden"] ** 2 > 4e6 else "pythia"


def chosen_cases(args):
    if args.tasks:
        name = args.tasks if args.num_fewshot is None else f"{args.tasks} {args.num_fewshot}-shot"
        return [(Case(name, args.tasks, args.num_fewshot, {}, 0, args.gen_kwargs), args.limit)]
    wanted = args.cases or "all"
    size = wanted if wanted in ("llama", "pythia") else size_of(args.model)
    names = [case.name for case in CASES] if wanted in ("llama", "pythia", "all") else wanted.split(",")
    by_name = {case.name: case for case in CASES}
    for name in names:
        if name not in by_name:
            sys.exit(f"bench: no case {name!r}; there are: {'; '.join(by_name)}")
    return [(by_name[name], args.limit or by_name[name].limits[size]) for name in names]


def harness_folder(name):
    """A folder of the installed harness's tasks."""
    return os.path.join(os.path.dirname(importlib.util.find_spec("lm_eval").origin), "tasks", name)


def case_arguments(args, case, limit):
    include = harness_folder(case.harness_tasks) if case.harness_tasks else args.include_path
    return argparse.Namespace(
        model=args.model, tasks=case.tasks, num_fewshot=case.num_fewshot, limit=limit, data_root=args.data_root,
        include_path=include, gen_kwargs=case.gen_kwargs, evalmpi=programs.evalmpi(args.build), launch="",
        evalmpi_args=args.evalmpi_args, apply_chat_template=False, fewshot_as_multiturn=None, system_instruction=None)


def run_evalmpi(case_args, folder):
    shutil.rmtree(folder, ignore_errors=True)
    timed = programs.timed(compare_lm_eval.evalmpi_command(case_args, folder), folder)
    print(f"  evalmpi {timed.seconds:.2f} s ({timed.describe_parts()})", flush=True)
    return timed


def run_case(args, case, limit, peak):
    """The row of this case, or None when answers differ."""
    from baseline import Baseline
    case_args = case_arguments(args, case, limit)
    print(f"{case.name}, {os.path.basename(os.path.realpath(args.model))}, limit {limit}", flush=True)
    baseline = Baseline(case_args)
    batches = args.batch_sizes.split(",")
    batch, threads, tried = baseline.choose(batches, sorted({1, report.cores()}))
    print(f"  harness, some of the requests, {threads} threads: {', '.join(tried)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench ") as temporary:
        folder = os.path.join(temporary, "run")
        theirs = [baseline.run(batch, threads)]
        print(f"  harness, batch {batch}, {threads} threads: {theirs[0]:.2f} s", flush=True)
        if "auto" in batches:
            auto = baseline.again("auto", threads, min(theirs[0], args.auto_seconds))
            print(f"  harness, batch auto: {f'{auto:.2f} s' if auto else 'not done in that time'}", flush=True)
            if auto:
                batch, theirs = "auto", [auto]
        ours = [run_evalmpi(case_args, folder)]
        if baseline.compare(folder):
            print("  the answers differ: no ratio", flush=True)
            return None
        for _ in range(args.repeats - 1):
            theirs.append(baseline.again(batch, threads))
            print(f"  harness {theirs[-1]:.2f} s", flush=True)
            ours.append(run_evalmpi(case_args, folder))
    work = baseline.work()
    baseline.close()
    return row_of(args, case, limit, ours, theirs, f"batch {batch}, {threads} threads", work, peak)


def row_of(args, case, limit, ours, theirs, best, work, peak):
    our_seconds = statistics.median(timed.seconds for timed in ours)
    their_seconds = statistics.median(theirs)
    middle = min(ours, key=lambda timed: abs(timed.seconds - our_seconds))
    floor = flops.flops(flops.model_sizes(args.model), work) / peak
    tokens = middle.tokens
    each = lambda values: "" if len(values) == 1 else " (" + ", ".join(f"{value:.2f}" for value in values) + ")"
    ratio = their_seconds / our_seconds
    print(f"  ratio {ratio:.2f} (bar {case.bar}), floor {floor:.2f} s", flush=True)
    return [case.name, os.path.basename(os.path.realpath(args.model)), f"{limit:g}" if limit else "all",
            f"{our_seconds:.2f}{each([timed.seconds for timed in ours])}", f"{their_seconds:.2f}{each(theirs)}", best, f"{ratio:.2f}",
            f"{case.bar:g}" if case.bar else "-", f"{tokens['computed']} / {tokens['distinct']} / {tokens['naive']}",
            f"{tokens['computed'] / tokens['distinct']:.3f}", f"{floor:.2f}", f"{100 * floor / our_seconds:.0f} %", middle.describe_parts()]


def run(args):
    missing = [name for name in ("torch", "transformers", "lm_eval") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"bench: this Python lacks {', '.join(missing)}; start it with one that has transformers==4.57.6 lm_eval==0.4.13 torch",
              file=sys.stderr)
        return 69
    cases = chosen_cases(args)
    best = programs.measure(args.build, "floor", model=args.model, parts="gemm")["gemm"]["best"]
    print(f"best GEMM rate: {best['all_cores'] / 1e9:.0f} GFLOP/s with all cores, {best['one_thread'] / 1e9:.0f} with one", flush=True)
    rows, failed = [], False
    for case, limit in cases:
        row = run_case(args, case, limit, best["all_cores"])
        failed = failed or row is None
        if row:
            rows.append(row)
            report.show("evalmpi against lm-eval + transformers", args.command_line, HEADER, [row], ["case", "model", "documents"], args.write)
    if len(rows) > 1:
        print("\n" + report.table(HEADER[:-1], [row[:-1] for row in rows]))
    return 1 if failed else 0
