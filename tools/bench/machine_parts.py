"""bench floor, bench parts, bench scale: tables from what the C++ programs and evalmpi itself measure."""
import json
import os
import statistics
import subprocess
import tempfile
import time

import programs
import report

PART = ["what", "model", "measured", "reference", "ratio", "bar", "details"]


def name_of(model):
    return "demo" if os.path.realpath(model) == os.path.realpath(programs.DEMO_MODEL) else os.path.basename(os.path.realpath(model))


def giga(value, unit):
    return f"{value / 1e9:.1f} {unit}"


def several(number, word):
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def percent(value):
    return f"{100 * value:.1f} %"


# floor

def add_floor_arguments(parser):
    parser.add_argument("--model", default=programs.DEMO_MODEL, help="model folder. Default: the demo's")
    parser.add_argument("--tasks", help="what the scorer computes. Default: random tokens in the shape of MMLU 5-shot")
    parser.add_argument("--num-fewshot", type=int)
    parser.add_argument("--limit", type=float)
    parser.add_argument("--data-root", help="folder with datasets as DIR/<org>/<name>/")
    parser.add_argument("--quick", action="store_true", help="tiny measurements, to see that all works")


def floor(args):
    quick = dict(documents=2, new_tokens=4, megabytes=16, seconds=0.002) if args.quick else {}
    found = programs.measure(args.build, "floor", model=args.model, tasks=args.tasks, num_fewshot=args.num_fewshot, limit=args.limit,
                             data_root=args.data_root, **quick)
    model, rows = name_of(args.model), []
    best, bandwidth = found["gemm"]["best"], found["bandwidth"]
    for shape in found["gemm"]["shapes"]:
        for who in ("one_thread", "all_cores"):
            own, aten = shape["own_" + who], shape["aten_" + who]
            rows.append([f"GEMM {found['gemm']['rows']} x {shape['in_features']} x {shape['out_features']}, {who.replace('_', ' ')}", model,
                         giga(own, "GFLOP/s"), "libtorch " + giga(aten, "GFLOP/s"), f"{own / aten:.2f}", "-", ""])
    for who in ("one_thread", "all_cores"):
        rows.append([f"memory, {who.replace('_', ' ')}", model, giga(bandwidth[who], "GB/s"), "-", "-", "-",
                     f"{bandwidth['megabytes_per_thread']} MB per thread"])
    scorer = found["scorer"]
    one = scorer["lanes"][0]
    cores = found["machine"]["cores"]
    bar = "80 %" if scorer["flops"] / scorer["distinct_tokens"] > 1e8 else "65 %"
    for lanes in scorer["lanes"]:
        peak = best["one_thread"] if lanes["lanes"] == 1 else best["all_cores"]
        what = args.tasks or "MMLU's shape"
        rows.append([f"scorer, {what}, {several(lanes['lanes'], 'lane')}", model, giga(lanes["flops_per_second"], "GFLOP/s"), "best GEMM " + giga(peak, "GFLOP/s"),
                     percent(lanes["flops_per_second"] / peak), bar if lanes["lanes"] == cores else "-",
                     f"{lanes['seconds']:.2f} s, {lanes['computed_tokens']} tokens computed of {scorer['distinct_tokens']} distinct, lanes waiting "
                     f"{percent(lanes['idle_share'])} of the time; of the operations: linears {percent(scorer['linear_flops'] / scorer['flops'])}, head "
                     f"{percent(scorer['head_flops'] / scorer['flops'])}"])
        if lanes["lanes"] > 1:
            rows.append([f"scorer, {what}, {lanes['lanes']} lanes against one", model, f"{lanes['seconds']:.2f} s", f"{one['seconds']:.2f} s",
                         f"{one['seconds'] / lanes['seconds']:.2f}", f"{0.95 * lanes['lanes']:g}", ""])
    decoder = found["decoder"]
    for entry in decoder["threads"]:
        reach = bandwidth["one_thread"] if entry["threads"] == 1 else bandwidth["all_cores"]
        rows.append([f"decoder, batch 1, {several(entry['threads'], 'thread')}", model, giga(entry["bytes_per_second"], "GB/s"), "memory " + giga(reach, "GB/s"),
                     percent(entry["bytes_per_second"] / reach), "70 %",
                     f"{entry['tokens_per_second']:.1f} tokens/s, {decoder['weight_bytes_per_token'] / 1e6:.0f} MB of weights per token"])
    report.show("The machine's limits", args.command_line, PART, rows, ["what", "model"], args.write)
    return 0


# parts

def add_parts_arguments(parser):
    parser.add_argument("--model", required=True, help="model folder: tokenizer, shapes and weights")
    parser.add_argument("--data-root", help="folder with datasets as DIR/<org>/<name>/; without it: no tokenise, no plan")
    parser.add_argument("--parts", default="tokenise,plan,plan-synthetic,load,head,attention,log,start", help="default %(default)s")
    parser.add_argument("--tasks", default="mmlu", help="of tokenise and plan. Default %(default)s")
    parser.add_argument("--num-fewshot", type=int, default=5)
    parser.add_argument("--limit", type=float, help="documents of each task, of plan; tokenise takes at most 30")
    parser.add_argument("--requests", type=float, default=1e6, help="of plan-synthetic. Default 1e6")
    parser.add_argument("--tokens", type=int, default=300, help="of each of them. Default 300")
    parser.add_argument("--quick", action="store_true", help="tiny measurements, to see that all works")


def reference_tokenizer(model, prompts):
    """Bytes per second of the wheel `tokenizers` on these prompts and whether all ids are equal; None without the wheel."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        import tokenizers
    except ImportError:
        return None
    with open(prompts, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    size = sum(len(row["text"].encode()) for row in rows)
    best = 0
    for _ in range(3):
        tokenizer = tokenizers.Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
        start = time.thread_time()
        ids = [tokenizer.encode(row["text"], add_special_tokens=False).ids for row in rows]
        best = max(best, size / (time.thread_time() - start))
    return best, sum(mine != row["ids"] for mine, row in zip(ids, rows))


def tokenise_row(args, model, temporary):
    prompts = os.path.join(temporary, "prompts.jsonl")
    found = programs.measure(args.build, "parts", model=args.model, parts="tokenise", tasks=args.tasks, num_fewshot=args.num_fewshot,
                             limit=min(args.limit or 30, 2 if args.quick else 30), data_root=args.data_root, prompts=prompts)["tokenise"]
    reference = reference_tokenizer(args.model, prompts)
    against = "no wheel here" if reference is None else f"tokenizers {reference[0] / 1e6:.1f} MB/s"
    ratio = "-" if reference is None else f"{found['bytes_per_second'] / reference[0]:.1f}"
    equal = "" if reference is None else f"; {reference[1]} prompts with other ids"
    return [f"tokenise {args.tasks} {args.num_fewshot}-shot, one core", model, f"{found['bytes_per_second'] / 1e6:.1f} MB/s", against, ratio,
            "20 MB/s", f"{found['prompts']} prompts, {found['bytes'] / 1e6:.1f} MB, {report.count(found['tokens'])} tokens{equal}; building "
            f"them {found['build_bytes_per_second'] / 1e6:.0f} MB/s"]


def plan_rows(args, model, part):
    found = programs.measure(args.build, "parts", model=args.model, parts=part, tasks=args.tasks, num_fewshot=args.num_fewshot, limit=args.limit,
                             data_root=args.data_root, requests=args.requests, tokens=args.tokens)[part]
    chunks = f"{found['chunks']} chunks, made in {found['chunk_seconds']:.2f} s, {found['payload_bytes'] / 1e6:.0f} MB; tokens: " \
             f"{report.count(found['planned_tokens'])} planned / {report.count(found['distinct_tokens'])} distinct / {report.count(found['naive_tokens'])} naive"
    if part == "plan":
        return [[f"trie and plan of {args.tasks} {args.num_fewshot}-shot", model, f"{found['seconds']:.3f} s", "-", "-", "0.3 s",
                 f"{found['requests']} requests; {chunks}; prompts and tokens before that: {found['prompts_and_tokens_cpu_seconds']:.1f} s of one core"]]
    what = f"trie and plan of {found['requests']} x {args.tokens} tokens"
    return [[what, model, f"{found['seconds']:.2f} s", "-", "-", "10 s", chunks],
            [what + ", memory", model, f"{found['peak_bytes'] / 1e6:.0f} MB", f"tokens {found['token_bytes'] / 1e6:.0f} MB",
             f"{found['peak_bytes'] / found['token_bytes']:.2f}", "2", "input included"]]


def kernel_rows(args, model, part, temporary):
    found = programs.measure(args.build, "parts", model=args.model, parts=part, folder=temporary, seconds=0.002 if args.quick else 0.2)[part]
    if part == "load":
        return [["weights, one core", model, f"{found['bytes_per_second'] / 1e6:.0f} MB/s", f"digest {found['digest_bytes_per_second'] / 1e6:.0f} MB/s",
                 "-", "-", f"{found['bytes_read'] / 1e6:.0f} MB in {found['seconds']:.2f} s, files in the page cache"]]
    if part == "log":
        return [["log, a record", model, f"{found['append_seconds'] * 1e6:.0f} us", f"its chunk {found['chunk_seconds_at_least']:.3f} s",
                 percent(found["share"]), "1 %", f"{found['record_bytes']} bytes, durable; {found['append_unsynced_seconds'] * 1e6:.1f} us without waiting"]]
    if part == "head":
        return [[f"head, {several(row['rows'], 'row')}", model, giga(row["flops_per_second"], "GFLOP/s"), "-", "-", "-", f"{row['seconds'] * 1e3:.2f} ms"]
                for row in found]
    return [[f"attention of a layer, {several(row['spans'], 'span')} of {row['length']} at {row['start']}", model, giga(row["flops_per_second"], "GFLOP/s"),
             "-", "-", "-", f"{row['seconds'] * 1e3:.3f} ms"] for row in found]


def demo_command(args, folder):
    demo = os.path.join(report.SOURCE, "configs", "demo", "tasks")
    return [programs.evalmpi(args.build), "eval", "--model", programs.DEMO_MODEL, "--include-path", demo, "--tasks", "demo_tavi", "-o", folder]


def start_row(args, temporary):
    runs = []
    for i in range(2 if args.quick else 7):
        folder = os.path.join(temporary, f"start{i}")
        runs.append(programs.timed(demo_command(args, folder), folder))
    first = [timed.parts["start to first chunk"] for timed in runs]
    return ["start to first chunk", "demo", f"{statistics.median(first):.3f} s", "-", "-", "1 s",
            f"median of {len(first)}, {min(first):.3f} to {max(first):.3f}; the whole program {statistics.median(t.seconds for t in runs):.2f} s"]


def parts(args):
    model, rows, wanted = name_of(args.model), [], args.parts.split(",")
    if args.quick:
        args.requests = min(args.requests, 10000)
    with tempfile.TemporaryDirectory(prefix="bench ") as temporary:
        for part in wanted:
            if part in ("tokenise", "plan") and not args.data_root:
                print(f"{part}: needs --data-root")
            elif part == "tokenise":
                rows.append(tokenise_row(args, model, temporary))
            elif part in ("plan", "plan-synthetic"):
                rows += plan_rows(args, model, part)
            elif part == "start":
                rows.append(start_row(args, temporary))
            else:
                rows += kernel_rows(args, model, part, temporary)
    report.show("Parts", args.command_line, PART, rows, ["what", "model"], args.write)
    return 0


# scale

def add_scale_arguments(parser):
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--tasks", default="mmlu_anatomy,mmlu_formal_logic,mmlu_astronomy", help="default %(default)s")
    parser.add_argument("--num-fewshot", type=int, default=5)
    parser.add_argument("--limit", type=float, default=50)
    parser.add_argument("--data-root", help="folder with datasets as DIR/<org>/<name>/; without it: only the requests")
    parser.add_argument("--include-path", help="folder with further task files")
    parser.add_argument("--layouts", default="lanes1,lanes2,dp1,dp2,dp4",
                        help="lanesN: N cores in one process; dpN: N processes with a core each (beyond the machine's cores they share). "
                             "Default %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="of each layout, alternating; medians count. Default 3")
    parser.add_argument("--requests", default="1e4,1e5", help="sizes of the run with the demo model and tiny documents; 0: none. "
                                                             "Default %(default)s; 1e6 takes minutes")


def layout_command(args, layout, folder):
    """The command of a layout and the cores that it may use."""
    command = [programs.evalmpi(args.build), "eval", "--model", args.model, "--tasks", args.tasks, "--num-fewshot", str(args.num_fewshot), "--limit",
               str(args.limit), "-o", folder]
    for option in ("data_root", "include_path"):
        if getattr(args, option):
            command += ["--" + option.replace("_", "-"), getattr(args, option)]
    cores = sorted(os.sched_getaffinity(0))
    if layout.startswith("lanes"):
        return ["taskset", "-c", ",".join(map(str, cores[:int(layout[5:])]))] + command
    ranks = int(layout[2:])
    # Each rank takes the core of its number; ranks beyond the cores go round.
    pin = f'cores=({" ".join(map(str, cores))}); exec taskset -c "${{cores[$((OMPI_COMM_WORLD_RANK % {len(cores)}))]}}" "$@"'
    return [programs.MPI_RUN, str(ranks), "bash", "-c", pin, "pin"] + command + ["--dp", str(ranks)]


def layout_rows(args):
    model, runs = name_of(args.model), {}
    layouts = args.layouts.split(",")
    with tempfile.TemporaryDirectory(prefix="bench ") as temporary:
        for repeat in range(args.repeats):
            for layout in layouts:
                folder = os.path.join(temporary, f"{layout}-{repeat}")
                timed = programs.timed(layout_command(args, layout, folder), folder)
                runs.setdefault(layout, []).append(timed)
                print(f"{layout}: {timed.seconds:.2f} s ({timed.describe_parts()})", flush=True)
    computing = lambda timed: timed.parts.get("scoring_seconds", timed.parts["first chunk to results"])
    middle = {layout: statistics.median(map(computing, of_layout)) for layout, of_layout in runs.items()}
    rows = []
    for layout, of_layout in runs.items():
        kind = layout.rstrip("0123456789")
        number = int(layout[len(kind):])
        workers = min(number, report.cores())
        reference = f"lanes{workers}" if kind == "dp" else "lanes1"
        if reference not in middle or reference == layout:
            ratio, against, bar = "-", "-", "-"
        elif kind == "dp":
            ratio, against, bar = f"{middle[reference] / middle[layout]:.3f}", f"{reference} {middle[reference]:.2f} s", "0.95"
        else:
            ratio, against, bar = f"{middle[reference] / middle[layout]:.3f}", f"{reference} {middle[reference]:.2f} s", f"{0.95 * workers:g}"
        tokens = of_layout[0].tokens
        rows.append([f"{layout}, {args.tasks} {args.num_fewshot}-shot, {args.limit:g} documents", model, f"{middle[layout]:.2f} s", against, ratio, bar,
                     f"from the first chunk on; whole processes {', '.join(f'{timed.seconds:.2f}' for timed in of_layout)} s; computed / distinct "
                     f"{tokens['computed'] / tokens['distinct']:.3f}" + ("; cores are shared" if number > report.cores() else "")])
    return rows


TASK = """task: bench_many
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: 0
doc_to_choice: ["a", "b", "c", "d"]
metric_list: [{metric: acc}]
"""


def many_requests(args, requests):
    """A run of the demo model on so many requests, four to a document; and once more, when no model is needed."""
    with tempfile.TemporaryDirectory(prefix="bench ") as temporary:
        with open(os.path.join(temporary, "bench_many.yaml"), "w", encoding="utf-8") as file:
            file.write(TASK)
        with open(os.path.join(temporary, "rows.jsonl"), "w", encoding="utf-8") as file:
            for i in range(requests // 4):
                file.write(json.dumps({"question": f"{i:07d} ="}) + "\n")
        folder = os.path.join(temporary, "run")
        command = [programs.evalmpi(args.build), "eval", "--model", programs.DEMO_MODEL, "--include-path", temporary, "--tasks", "bench_many", "-o", folder]
        timed = programs.timed(command, folder)
        again = programs.timed(command, folder)
        found = programs.measure(args.build, "parts", model=programs.DEMO_MODEL, parts="plan-synthetic", requests=requests, tokens=20)["plan-synthetic"]
    each = lambda run: (f"{run.user_seconds:.2f} s of user CPU time, {run.user_seconds / requests * 1e6:.1f} us for each; peak "
                        f"{run.peak_bytes / 2**20:.0f} MiB, {run.peak_bytes / requests:.0f} bytes for each")
    return [[f"{requests} requests, whole program", "demo", f"{timed.seconds:.2f} s", "-", "-", "-",
             f"{each(timed)}; {timed.describe_parts()}; tokens computed {report.count(timed.tokens['computed'])}"],
            [f"{requests} requests, everything known", "demo", f"{again.seconds:.2f} s", f"with the model {timed.seconds:.2f} s",
             f"{timed.seconds / again.seconds:.1f}", "-", f"{each(again)}: logs, prompts, tokens, keys, scores, results; planning alone "
             f"{found['seconds']:.3f} s"]]


def scale(args):
    rows = []
    for size in args.requests.split(","):
        if float(size) > 0:
            rows += many_requests(args, int(float(size)))
    if args.data_root or args.include_path:
        rows += layout_rows(args)
    report.show("Scale", args.command_line, PART, rows, ["what", "model"], args.write)
    return 0
