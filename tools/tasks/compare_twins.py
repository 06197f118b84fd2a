#!/usr/bin/env python3
"""Tasks that call Python functions, end to end: evalmpi's prompts, targets, metrics and scores against those of
lm-evaluation-harness's own Task objects, made from its own task files, on invented documents.

    evalmpi tasks validate FOLDER --report report.json
    python tools/tasks/compare_twins.py --probe build/tools/evalmpi_task_probe --report report.json [--folder NAME]

Of the tasks that the report calls ready and that name a `!function`, one stands for all with the same functions (--all
takes every one). Rows are invented from how the functions and templates read them (python_shapes.py)
until the harness takes 24 of them as they are, written as Parquet, which both sides read; both sides get the same
invented answers. Equal have to be: the requests with 0 and 2 examples, the targets, the metrics of every document and
filter, and the aggregated scores. Prints one line a task and the totals; exit code 1 when something differs.
"""

import argparse
import functools
import inspect
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

from compare_prompts import FIELDS, OfflineTask, load_yaml, requests_of, shapes_of  # sets the environment first
import datasets
import evaluate
import sklearn.metrics
from known_rows import known_rows
from python_shapes import columns_of
from synthetic import harness_environment, text

sys.path.append(str(Path(__file__).resolve().parents[1] / "fixtures"))
from make_class_fixtures import SquadV2  # noqa: E402

try:  # IFEval's functions want trained data of sentences, which no row here depends on
    from make_ifeval_fixtures import use_abbreviations
    use_abbreviations(["dr"])
except ImportError:
    pass

datasets.disable_caching()


def absent(name, *_, **__):
    """Stands for a metric of the package evaluate, which cannot be fetched here and which a task may load in vain."""
    if name == "squad_v2":
        return SquadV2()

    def compute(**_):
        raise RuntimeError(f"evaluate.load({name!r}) was called")
    return type("Absent", (), {"compute": staticmethod(compute)})()


class F1:
    """What datasets.load_metric("f1") was, which newer versions of datasets have no more."""

    @staticmethod
    def compute(references, predictions, **how):
        return {"f1": sklearn.metrics.f1_score(references, predictions, **how)}


for package in ("jieba", "fuzzywuzzy", "rouge"):  # LongBench's functions of evalmpi call none of them
    sys.modules.setdefault(package, types.SimpleNamespace(fuzz=None, Rouge=None))
evaluate.load = absent
datasets.load_metric = {"f1": F1}.__getitem__
datasets.disable_progress_bars()
N_DOCUMENTS, N_POOL, SHOTS = 24, 6, 2
SIGNS = ["A", "B", "C", "D", "(A)", "yes", "no", "True", "1", "2", "0.5", "entailment"]


def functions_of(value, found=None):
    """All callables of a task's mapping, by key."""
    found = [] if found is None else found
    if isinstance(value, dict):
        for key, inner in value.items():
            if callable(inner):
                found.append((key, inner))
            else:
                functions_of(inner, found)
    elif isinstance(value, list):
        for inner in value:
            functions_of(inner, found)
    return found


def shapes_for(config, environment):
    plain = {key: value for key, value in config.items() if not callable(value)}
    plain["fewshot_config"] = {key: value for key, value in (config.get("fewshot_config") or {}).items() if not callable(value)}
    shapes = shapes_of(plain, environment)
    made = set()
    processed = config.get("process_docs")
    functions = [f for _, f in functions_of(config)]
    if processed is not None:
        # What process_docs makes is not read from the file; what it reads is, and what later functions read besides.
        raw, made = columns_of([processed]), columns_made_by(processed)
        later = columns_of([f for f in functions if f is not processed])
        for name, shape in {**later.keys, **shapes.variables}.items():
            if name not in made:
                raw.keys.setdefault(name, shape)
        columns = raw.keys
    else:
        columns = {**shapes.variables, **columns_of(functions).keys}
    merged = {}
    for name, shape in columns.items():
        merged[name] = shape
        other = shapes.variables.get(name)
        if other is not None and other is not shape and name not in made:
            shape.kinds |= other.kinds
            shape.constants += other.constants
            shape.item = shape.item or other.item
            for key, inner in other.keys.items():
                shape.keys.setdefault(key, inner)
    return merged


def columns_made_by(function):
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return set()
    return set(re.findall(r"[\"'](\w+)[\"']\s*:", source)) | set(re.findall(r"\[[\"'](\w+)[\"']\]\s*=[^=]", source))


class Settled:
    """A shape with its kind chosen once, so that a column has one type in all rows."""

    def __init__(self, shape, rng, wild=False, depth=0):
        self.shape, self.wild, self.parts, self.item = shape, wild, {}, None
        self.size = rng.choice([4, 4, 4, 4, 2, 3, 5, 0])
        self.kind = self.choose(rng, depth)
        if self.kind == "dict":
            self.parts = {name: Settled(inner, rng, wild, depth + 1) for name, inner in shape.keys.items()}
        elif self.kind == "list":
            self.item = Settled(shape.item, rng, wild, depth + 1) if shape.item is not None else None
        elif self.kind == "literal":
            self.item = Settled(shape.literal, rng, wild, depth + 1)
            if self.item.kind not in ("dict", "list"):
                self.item.kind, self.item.item = "list", None
        elif self.kind == "constant":
            kinds = sorted({type(c).__name__ for c in shape.constants})
            chosen = rng.choice(kinds)
            self.constants = [c for c in shape.constants if type(c).__name__ == chosen]

    def choose(self, rng, depth):
        kinds = self.shape.kinds
        if "literal" in kinds and rng.random() < 0.95:
            return "literal"
        if "dict" in kinds and self.shape.keys and rng.random() < 0.97:
            return "dict"
        if self.shape.constants and rng.random() < 0.8:
            return "constant"
        if "digits" in kinds:
            return rng.choice(["digits", "int"])
        if "list" in kinds and "str" in kinds:
            return rng.choice(["list", "text"])
        for name in ("list", "int"):
            if name in kinds and rng.random() < 0.9:
                return name
        if "str" in kinds and rng.random() < 0.95:
            return "text"
        if "number" in kinds:
            return rng.choice(["digits", "int", "float"])
        if not self.wild:  # what is only printed is text in most datasets
            return "text"
        return rng.choice(["text"] * 8 + ["list", "int", "int", "bool", "digits", "letter", "letter"])

    def make(self, rng):
        if self.kind == "dict":
            value = {name: part.make(rng) for name, part in self.parts.items()}
            lists = [name for name, part in value.items() if isinstance(part, list)]
            for name in lists[1:]:  # lists of one thing are as long as each other
                n = len(value[lists[0]])
                value[name] = (value[name] * (n + 1))[:n] if value[name] else [self.parts[name].one(rng) for _ in range(n)]
            return value
        if self.kind == "list":
            return [self.one(rng) for _ in range(self.size or rng.choice([2, 3, 4, 5]))]
        if self.kind == "literal":
            return repr(self.item.make(rng))
        if self.kind == "constant":
            return rng.choice(self.constants)
        if self.kind == "digits":
            return str(rng.randrange(self.shape.bound or 4))
        if self.kind == "int":
            return rng.randrange(self.shape.bound or rng.choice([2, 3, 4, 4]))
        if self.kind == "float":
            return rng.randrange(80) / 8
        if self.kind == "bool":
            return rng.random() < 0.5
        if self.kind == "letter":
            return rng.choice("ABCD")
        return text(rng) or "plain words"

    def one(self, rng):
        return self.item.make(rng) if self.item is not None else (text(rng) or "x")


def make_row(settled, rng):
    row = {name: one.make(rng) for name, one in settled.items()}
    for name, one in settled.items():
        holder = getattr(one.shape, "member_of", None)
        for other, candidate in settled.items():
            if holder is candidate.shape and row[other]:
                row[name] = rng.choice(list(row[other]))
    return row


def alone(config):
    config = dict(config)
    for key in ("tag", "group", "task_list"):
        config.pop(key, None)
    return config


def splits_of(config):
    if "class" in config:
        return "validation", ["train", "validation"]
    evaluated = config.get("test_split") or config.get("validation_split")
    names = {config.get(k) for k in ("training_split", "validation_split", "test_split", "fewshot_split")}
    names.add((config.get("fewshot_config") or {}).get("split"))
    return evaluated, sorted(name for name in names if name)


def drawn_anew(process_docs):
    """As evalmpi has it: what a function draws does not depend on what was drawn before it."""
    @functools.wraps(process_docs)
    def call(dataset):
        random.seed(42)
        for value in getattr(process_docs, "__globals__", {}).values():
            if isinstance(value, random.Random):
                value.seed(42)
        return process_docs(dataset)
    return call


def make_task(config, documents, pool, shots):
    config = alone(config)
    if "class" in config:
        task = type("Offline", (config["class"],), {"download": OfflineTask.download})
        rows = datasets.DatasetDict({"train": pool, "validation": documents})
        task.rows = OfflineTask.rows = rows
        return task()
    if config.get("num_fewshot") != 0:
        config["num_fewshot"] = shots
    if callable(config.get("process_docs")):
        config["process_docs"] = drawn_anew(config["process_docs"])
    evaluated, names = splits_of(config)
    OfflineTask.rows = datasets.DatasetDict({name: documents if name == evaluated else pool for name in names})
    return OfflineTask(config=config)


class TooSlow(Exception):
    pass


def in_time(seconds, work):
    def stop(*_):
        raise TooSlow()
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def acceptable(config, row):
    """Whether the harness can evaluate this row, and show it as an example; nothing where its functions drop it."""
    table = datasets.Dataset.from_list([row])
    task = make_task(config, table, datasets.Dataset.from_list([row, row, row]), 0)
    documents = list(task.eval_docs)
    if not documents:
        return None
    document = documents[0]
    if config.get("doc_to_choice") is not None:
        choices = task.doc_to_choice(document)
        if not (isinstance(choices, list) and choices and all(isinstance(c, str) and c for c in choices)):
            return False
        target = task.doc_to_target(document)
        if isinstance(target, int) and not -len(choices) <= target < len(choices) and not callable(config.get("process_results")):
            return False
    if task.OUTPUT_TYPE == "loglikelihood" and not isinstance(task.doc_to_target(document), str):
        return False
    requests_of(task, "", "")
    if not all(isinstance(part, (str, dict)) for instance in task.instances for part in instance.arguments):
        return False
    task.fewshot_context(document, 0)
    return bool(task.multiple_target), bool(task.multiple_input)


def all_acceptable(config, rows):
    """As `acceptable`, for many rows at once; nothing where a single one does not fit."""
    table = datasets.Dataset.from_list(rows)
    task = make_task(config, table, datasets.Dataset.from_list(rows[:3]), 0)
    documents = list(task.eval_docs)
    if len(documents) < 2:
        return False
    kinds = set()
    for document in documents:
        if config.get("doc_to_choice") is not None:
            choices = task.doc_to_choice(document)
            if not (isinstance(choices, list) and choices and all(isinstance(c, str) and c for c in choices)):
                return False
            target = task.doc_to_target(document)
            if isinstance(target, int) and not -len(choices) <= target < len(choices) and not callable(config.get("process_results")):
                return False
        target = task.doc_to_target(document)
        if task.OUTPUT_TYPE == "loglikelihood" and not isinstance(target, str):
            return False
        kinds.add((isinstance(target, list), isinstance(task.doc_to_text(document), int)))
        task.fewshot_context(document, 0)
    requests_of(task, "", "")
    return len(kinds) == 1 and all(isinstance(part, (str, dict)) for instance in task.instances for part in instance.arguments)


def invent_rows(config, named, columns, rng, deadline):
    names = [(key, path.split("/tasks/", 1)[-1]) for key, path in names_of(named)]
    best = []
    known, whole = known_rows(names, rng, N_DOCUMENTS + N_POOL)
    for attempt in range(30):
        settled = {name: Settled(shape, rng, attempt > 5) for name, shape in columns.items()}
        rows, first, error = [], None, None

        def one_row(number):
            if whole:
                return known[number % len(known)]
            row = make_row(settled, rng)
            if known and attempt % 4 < 3:
                # Columns that no function reads are invented, and every second time those that are compared with constants.
                fixed = {name for name, one in settled.items() if attempt % 2 and one.shape.constants}
                row.update({name: value for name, value in known[number % len(known)].items() if name not in fixed})
            return row

        together = [one_row(i) for i in range(N_DOCUMENTS + N_POOL)]
        together = [row for i, row in enumerate(together) if row not in together[:i]]
        if len(together) >= 2 + N_POOL:
            try:
                if in_time(10, lambda: all_acceptable(config, together)):
                    return together, ""
            except Exception as problem:  # whatever a function or the harness raises on rows that do not fit
                error = f"{type(problem).__name__} {problem}"
        for tried in range(6 * (N_DOCUMENTS + N_POOL)):
            if time.monotonic() > deadline or (tried >= 8 and not rows):
                break
            row = one_row(rng.randrange(1000))
            try:
                verdict = in_time(5, lambda: acceptable(config, row))
            except Exception as problem:
                error = f"{type(problem).__name__} {problem}"
                continue
            if verdict is None and rows and len(rows) < 8 and row not in rows:
                rows.append(row)  # rows that process_docs drops belong in the file
            if not verdict or (first is not None and verdict != first) or row in rows:
                continue
            first = verdict
            rows.append(row)
            if len(rows) == N_DOCUMENTS + N_POOL:
                return rows, ""
        best = rows if len(rows) > len(best) else best
        if time.monotonic() > deadline:
            break
    return best, error or ""


def flat_texts(value):
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for one in value for t in flat_texts(one)] if isinstance(value, (list, tuple)) else []


def invented_answer(document, target, rng):
    pieces = flat_texts(target) * 3 + flat_texts(document) + [str(target)] + SIGNS
    piece = rng.choice(pieces)
    return rng.choice([piece, piece, " " + piece, piece + ".", f"The answer is {piece}.", f"So the answer is ({piece}).", piece.upper(),
                       f"{piece} {rng.choice(pieces)}", f"Answer: {piece}\n\nmore", f"\\boxed{{{piece}}}", "", text(rng), f"#### {piece}"])


def answer_requests(task, rng):
    """Gives every request an invented answer; returns them by document."""
    by_document = {}
    for instance in task.instances:
        answers = by_document.setdefault(instance.doc_id, [])
        kind = instance.request_type
        if kind == "loglikelihood":
            answer = (-rng.randrange(1, 9000) / 64, rng.random() < 0.3)
        elif kind == "loglikelihood_rolling":
            answer = -rng.randrange(1, 90000) / 64
        else:
            answer = invented_answer(instance.doc, task.doc_to_target(instance.doc), rng)
        instance.resps = [answer] * max(1, instance.repeats or 1)
        answers.append([list(a) if isinstance(a, tuple) else a for a in instance.resps])
    return [by_document[i] for i in sorted(by_document)]


def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def score(task):
    """Metrics of every document by filter, and the aggregated scores."""
    task.apply_filters()
    documents, scores, values = [], {}, {}
    by_document = {}
    for instance in task.instances:
        by_document.setdefault(instance.doc_id, []).append(instance)
    for filter_name in task.instances[0].filtered_resps:
        for doc_id in sorted(by_document):
            requests = sorted(by_document[doc_id], key=lambda one: one.idx)
            metrics = task.process_results(requests[0].doc, [one.filtered_resps[filter_name] for one in requests])
            documents.append([filter_name, plain(metrics)])
            for name, value in metrics.items():
                values.setdefault((name, filter_name), []).append(value)
    aggregations = task.aggregation()
    for (name, filter_name), list_ in values.items():
        if name in aggregations:
            scores[f"{name},{filter_name}"] = plain(aggregations[name](list_))
    return documents, scores


def scorable(config, row, seed):
    """Whether the harness can score some answer to this row, or drops it."""
    table = datasets.Dataset.from_list([row])
    task = make_task(config, table, datasets.Dataset.from_list([row] * 3), 0)
    if not list(task.eval_docs):
        return True
    requests_of(task, "", "")
    for attempt in range(3):
        answer_requests(task, random.Random(f"{seed} {attempt}"))
        try:
            score(task)
            return True
        except (IndexError, ValueError, TypeError, ZeroDivisionError):
            pass
    return False


def harness_side(config, folder, rows, seed):
    """What the harness makes of the rows, and the line for evalmpi's side."""
    documents, pool = rows[:N_DOCUMENTS], rows[-N_POOL:]
    evaluated, names = splits_of(config)
    files = {}
    tables = {"documents": datasets.Dataset.from_list(documents), "pool": datasets.Dataset.from_list(pool)}
    for part, table in tables.items():
        table.to_parquet(str(folder / f"{part}.parquet"))
    for name in names:
        files[name] = str(folder / ("documents.parquet" if name == evaluated else "pool.parquet"))
    want = {"requests": {}}
    for shots in (0, SHOTS)[:1 if "class" in config else 2]:  # classes show no examples
        random.seed(42)
        try:
            task = make_task(config, tables["documents"], tables["pool"], shots)
            want["requests"][str(shots)] = [r if len(r) == 2 else ["", r[0]] for r in map(plain, requests_of(task, "", ""))]
        except AssertionError:  # the harness cannot show this task's documents as examples
            if shots == 0:
                raise
    random.seed(42)
    task = make_task(config, tables["documents"], tables["pool"], 0)
    requests_of(task, "", "")
    want["targets"] = [plain(task.doc_to_target(d)) for d in task.eval_docs]
    for attempt in range(8):  # the harness's functions fail for some answers
        responses = answer_requests(task, random.Random(f"{seed} {attempt}"))
        try:
            want["metrics"], want["scores"] = score(task)
            break
        except (IndexError, ValueError, TypeError):
            if attempt == 7:
                raise
    return want, {"files": files, "shots": [int(shots) for shots in want["requests"]], "responses": responses}


def same(ours, theirs):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, (int, float)) and isinstance(theirs, (int, float)):
        return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-15) or (math.isnan(ours) and math.isnan(theirs))
    if theirs is not None and ours is None:
        return isinstance(theirs, float) and math.isnan(theirs)
    return ours == theirs


def difference(part, want, ours):
    if isinstance(want, dict) and isinstance(ours, dict) and list(want) == list(ours):
        want, ours = list(want.values()), list(ours.values())
    if isinstance(want, list) and isinstance(ours, list) and len(want) == len(ours):
        for a, b in zip(want, ours):
            if not same(b, a):
                return difference(part, a, b) if isinstance(a, (list, dict)) and type(a) is type(b) else f"{a!r} is {b!r}"
    return f"{str(want)[:400]} is {str(ours)[:400]}"


def names_of(value, key=""):
    """Key and path of every function in a mapping that was read without resolving them."""
    if isinstance(value, dict):
        return [one for k, inner in value.items() for one in names_of(inner, k)]
    if isinstance(value, list):
        return [one for inner in value for one in names_of(inner, key)]
    return [(key, value)] if isinstance(value, str) and re.fullmatch(r"/[^\n]*/[\w.\- ]+\.[A-Za-z_]\w*", value) else []


def groups(report, arguments):
    """Task entries by what they have in common, with the mapping of the first."""
    found = {}
    for entry in report["tasks"]:
        if "::" in entry["name"] or (arguments.task and entry["name"] not in arguments.task.split(",")):
            continue
        if entry["support"] != "ready" and not arguments.any:
            continue
        try:
            named = load_yaml(entry["file"], resolve_func=False)
        except Exception:
            continue
        folder = Path(entry["file"]).as_posix().split("/tasks/", 1)[-1]
        if arguments.folder and not folder.startswith(arguments.folder):
            continue
        functions = names_of(named)
        if not functions:
            continue
        # Functions made for each subject of a set (process_law, filter_age) are one kind.
        functions = [(k, re.sub(r"\.(process|filter|doc_to_text)_\w+$", r".\1_*", path.replace("utils.process_docs", "utils.process"))) for k, path in functions]
        if arguments.brief:
            functions = sorted({(k, "/".join([path.split("/tasks/")[-1].split("/")[0], path.split("/")[-1]])) for k, path in functions})
        key = json.dumps([functions, named.get("output_type"), [named.get(k) for k in FIELDS if arguments.fields]], default=str)
        found.setdefault(entry["name"] if arguments.all else key, []).append(entry)
    return list(found.values())


def known_groups(report, arguments):
    """The same, kept beside the report for the next slice: reading 12,000 files takes a while."""
    words = [arguments.folder, arguments.task, arguments.all, arguments.brief, arguments.fields, arguments.any]
    file = arguments.report.with_suffix(".kinds.json")
    if file.exists() and file.stat().st_mtime > arguments.report.stat().st_mtime:
        kept = json.loads(file.read_text())
        if kept["words"] == words:
            return kept["kinds"]
    kinds = groups(report, arguments)
    file.write_text(json.dumps({"words": words, "kinds": kinds}))
    return kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--folder", default="", help="only tasks whose file begins so, below the folder of tasks")
    parser.add_argument("--task", help="only these tasks, separated by commas")
    parser.add_argument("--all", action="store_true", help="every task, not one of each kind")
    parser.add_argument("--brief", action="store_true", help="one of each kind for all folders of a folder")
    parser.add_argument("--fields", action="store_true", help="one of each kind of functions and templates")
    parser.add_argument("--any", action="store_true", help="also tasks that evalmpi does not call ready")
    parser.add_argument("--seconds", type=float, default=100, help="when to stop inventing rows")
    parser.add_argument("--skip", type=int, default=0, help="pass over so many kinds, which an earlier run has reached")
    parser.add_argument("--each", type=float, default=6, help="seconds for the rows of one task")
    arguments = parser.parse_args()
    report = json.loads(arguments.report.read_text())
    environment = harness_environment()
    kinds = known_groups(report, arguments)
    end = time.monotonic() + arguments.seconds
    work = Path(tempfile.mkdtemp(prefix="compare-twins-"))
    cases, untried, late = [], [], 0
    for number, entries in enumerate(kinds):
        entry = entries[0]
        if number < arguments.skip:
            continue
        if time.monotonic() > end:
            late += 1
            continue
        try:
            config = load_yaml(entry["file"])
            rows, error = invent_rows(config, load_yaml(entry["file"], resolve_func=False), shapes_for(config, environment), random.Random(entry["name"]), min(end, time.monotonic() + arguments.each))
            if len(rows) < 2 + N_POOL:
                untried.append((entry["name"], f"no rows fit: {error}"))
                continue
            folder = work / str(number)
            folder.mkdir()
            try:
                want, line = in_time(20, lambda: harness_side(config, folder, rows, entry["name"]))
            except (IndexError, ValueError, TypeError):  # once more without the rows that it cannot score
                rows = in_time(20, lambda: [row for row in rows if scorable(config, row, entry["name"])])
                want, line = in_time(20, lambda: harness_side(config, folder, rows, entry["name"]))
        except Exception as error:
            untried.append((entry["name"], f"the harness: {type(error).__name__} {error}"))
            continue
        line["task"] = entry["name"]
        cases.append((entry, len(entries), want, line))
    root = os.path.commonpath([t["file"] for t in report["tasks"]])
    source = "".join(json.dumps(line, ensure_ascii=False) + "\n" for _, _, _, line in cases)
    run = subprocess.run([arguments.probe, "scores", root], input=source.encode(), stdout=subprocess.PIPE, check=True)
    shutil.rmtree(work)
    prompts = metrics = covered = 0
    for (entry, n_tasks, want, line), ours in zip(cases, map(json.loads, run.stdout.decode().split("\n")[:-1]), strict=True):
        want = json.loads(json.dumps(want))
        verdict = {part: "error" not in ours and same(ours.get(part), want[part]) for part in ("requests", "targets", "metrics", "scores")}
        right_prompts, right_metrics = verdict["requests"] and verdict["targets"], verdict["metrics"] and verdict["scores"]
        prompts, metrics = prompts + right_prompts, metrics + right_metrics
        covered += n_tasks if right_prompts and right_metrics else 0
        print(f"{entry['name']:<60} {n_tasks:>4} tasks {len(want['targets']):>3} documents  prompts {'equal' if right_prompts else 'DIFFER'}  metrics "
              f"{'equal' if right_metrics else 'DIFFER'}")
        if "error" in ours:
            print("   evalmpi:", ours["error"][:600])
            continue
        for part, good in verdict.items():
            if not good:
                print(f"   {part}:", difference(part, want[part], ours[part])[:1200])
    for name, why in untried:
        print(f"not compared: {name}: {why[:300]}")
    print(f"{len(cases)} kinds of tasks compared: prompts of {prompts} and metrics of {metrics} equal ({covered} tasks); {len(untried)} not compared"
          + (f", {late} not reached; go on with --skip {number + 1 - late}" if late else ""))
    return 0 if prompts == metrics == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
