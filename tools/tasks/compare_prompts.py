#!/usr/bin/env python3
"""Prompts, few-shot contexts, targets and choices of task files: evalmpi's against lm-evaluation-harness's own Task objects,
on invented documents.

    evalmpi tasks validate FOLDER --report report.json
    python tools/tasks/compare_prompts.py --probe build/tools/evalmpi_task_probe --report report.json [--sample 150]

Takes a sample of the tasks that the report calls ready: one of each folder below FOLDER, then others by a fixed seed.
For each, rows are invented until both the task's templates and the harness accept them; then the harness builds the
requests of 5 documents (its dataset download replaced by these rows) with 0 and 3 examples, as plain text and as chat,
and evalmpi has to give the same texts. Exit code 1 when one differs.
"""

import argparse
import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"
logging.disable(logging.CRITICAL)

from lm_eval.api.task import ConfigurableTask  # noqa: E402
from lm_eval.tasks._yaml_loader import load_yaml  # noqa: E402
from synthetic import Shapes, harness_environment, make_document  # noqa: E402

FIELDS = ("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix")
N_DOCUMENTS, N_POOL, SHOTS = 5, 9, 3
VARIANTS = [("", ""), ("turns", "Be brief."), ("one turn", "")]


class Rows(list):
    """What the harness reads of a datasets.Dataset."""

    @property
    def features(self):
        return self[0]


class OfflineTask(ConfigurableTask):
    rows = None

    def download(self, dataset_kwargs=None, **kwargs):
        self.dataset = self.rows


def chat_template(messages, add_generation_prompt=True):
    return "".join(f"<{m['role']}>{m['content']}" for m in messages) + ("<assistant>" if add_generation_prompt else "")


def shapes_of(config, environment):
    shapes = Shapes(environment)
    fewshot = config.get("fewshot_config") or {}
    for holder in (config, fewshot):
        for field in FIELDS:
            value = holder.get(field)
            if not isinstance(value, str) or not value:
                continue
            if "{" not in value and value.isidentifier() and field != "description":
                kind = "list" if field == "doc_to_choice" else None
                shape = shapes.add_column(value, kind)
                if kind:
                    shape.element().kinds.add("str")
                if field == "doc_to_target" and config.get("doc_to_choice") is not None:
                    shape.kinds.add("int")
                elif field == "doc_to_text" or (field == "doc_to_target" and "loglikelihood" in config.get("output_type", "")):
                    shape.kinds.add("str")
            else:
                shapes.add_template(value)
    return shapes


def make_task(config, documents, pool, shots):
    config = json.loads(json.dumps(config))
    for key in ("tag", "group", "task_list"):
        config.pop(key, None)
    if config.get("num_fewshot") != 0:
        config["num_fewshot"] = shots
    evaluated = config.get("test_split") or config.get("validation_split")
    splits = {config.get(k) for k in ("training_split", "validation_split", "test_split", "fewshot_split")}
    splits.add((config.get("fewshot_config") or {}).get("split"))
    OfflineTask.rows = {split: Rows(pool) for split in splits if split}
    OfflineTask.rows[evaluated] = Rows(documents)
    return OfflineTask(config=config)


def requests_of(task, chat, system):
    task.set_fewshot_seed(1234)
    task.build_all_requests(system_instruction=system or None, apply_chat_template=bool(chat), fewshot_as_multiturn=chat == "turns",
                            chat_template=chat_template if chat else None)
    return [list(instance.arguments) for instance in task.instances]


def acceptable(config, document):
    """Whether the harness can evaluate this document, and show it as an example; with text where text belongs."""
    try:
        task = make_task(config, [document], [document, dict(document, other_row=1), dict(document, other_row=2)], 0)
        choices = task.doc_to_choice(document) if config.get("doc_to_choice") is not None else None
        if choices is not None and not (isinstance(choices, list) and choices and all(isinstance(c, str) and c for c in choices)):
            return False
        target = task.doc_to_target(document)
        if task.OUTPUT_TYPE.startswith("loglikelihood") and not isinstance(target, str):
            return False
        requests_of(task, "", "")
        fewshot = task.fewshot_cfg
        question = task.doc_to_text(document, fewshot.doc_to_text)
        shown = task.doc_to_choice(document, fewshot.doc_to_choice) if fewshot.doc_to_choice else None
        if task.multiple_input:
            question, shown = shown[question], None
        answer = task.doc_to_target(document, fewshot.doc_to_target)
        if not isinstance(answer, (str, int, list)) or isinstance(answer, bool):
            return False
        task.build_qa_turn(q=question, c=shown, a=answer, gen_prefix=None)
        return task.multiple_target == 0 or isinstance(target, list), bool(task.multiple_target), bool(task.multiple_input)
    except Exception:  # whatever a template or the harness raises on rows that do not fit
        return False


def invent_rows(config, environment, rng, wanted):
    shapes = shapes_of(config, environment)
    rows, first = [], None
    for _ in range(40 * wanted):
        row = make_document(shapes, rng)
        verdict = acceptable(config, row)
        if not verdict or (first is not None and verdict != first) or row in rows:
            continue
        first = verdict
        rows.append(row)
        if len(rows) == wanted:
            return rows
    return None


def names_functions(file):
    """Whether the task calls Python functions: such tasks are compared by tests of their own."""
    return b"!function" in Path(file).read_bytes()


def choose(report, sample):
    ready = [t for t in report["tasks"] if t["support"] == "ready" and "::" not in t["name"] and not names_functions(t["file"])]
    rng = random.Random(150)
    rng.shuffle(ready)
    common = os.path.commonpath([t["file"] for t in ready])
    first, rest, seen = [], [], set()
    for task in ready:
        folder = os.path.relpath(task["file"], common).split(os.sep)[0]
        (rest if folder in seen else first).append(task)
        seen.add(folder)
    return (first + rest)[:sample], common


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=150)
    parser.add_argument("--task", help="only this task")
    parser.add_argument("--show", type=int, default=10)
    parser.add_argument("--cases", type=Path, help="keep the harness's side in this file, and take it from there the next time")
    arguments = parser.parse_args()
    if arguments.cases and arguments.cases.exists():
        return compare(arguments, *json.loads(arguments.cases.read_text()))
    tasks, folder = choose(json.loads(arguments.report.read_text()), 10**9 if arguments.task else arguments.sample)
    environment = harness_environment()
    lines, expected, untried = [], [], []
    for entry in tasks:
        if arguments.task and entry["name"] != arguments.task:
            continue
        config = load_yaml(entry["file"], resolve_func=False)
        rows = invent_rows(config, environment, random.Random(entry["name"]), N_DOCUMENTS + N_POOL)
        if rows is None:
            untried.append(entry["name"])
            continue
        for shots in (0, SHOTS):
            try:
                task = make_task(config, rows[:N_DOCUMENTS], rows[N_DOCUMENTS - 1:], shots)
                pool = list(task.fewshot_docs())
                for chat, system in VARIANTS:
                    want = {"requests": requests_of(task, chat, system), "targets": [str(task.doc_to_target(d)) for d in rows[:N_DOCUMENTS]]}
                    lines.append({"task": entry["name"], "shots": shots, "documents": rows[:N_DOCUMENTS], "pool": pool,
                                  "columns": list(rows[0]), "chat": chat, "system": system})
                    expected.append(want)
            except Exception as error:  # the harness refuses: so must evalmpi, which the first line shows
                untried.append(f"{entry['name']} ({shots} examples: {type(error).__name__} {error})")
    if arguments.cases:
        arguments.cases.write_text(json.dumps([folder, lines, expected, untried]))
    return compare(arguments, folder, lines, expected, untried)


def compare(arguments, folder, lines, expected, untried):
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    run = subprocess.run([arguments.probe, "requests", folder], input=text.encode(), stdout=subprocess.PIPE, check=True)
    results = [json.loads(line) for line in run.stdout.decode().split("\n")[:-1]]
    wrong = {}
    n_requests = 0
    for line, want, ours in zip(lines, expected, results, strict=True):
        want = json.loads(json.dumps(want))
        want["requests"] = [r if len(r) == 2 else ["", r[0]] for r in want["requests"]]
        n_requests += len(want["requests"])
        if ours != want:
            wrong.setdefault(line["task"], (line, want, ours))
    for name, (line, want, ours) in list(wrong.items())[: arguments.show]:
        print(f"== {name}: {line['shots']} examples, chat {line['chat']!r}")
        if "error" in ours:
            print("  evalmpi:", ours["error"])
            continue
        for part in ("requests", "targets"):
            for a, b in zip(want[part], ours[part]):
                if a != b:
                    print("  harness:", json.dumps(a, ensure_ascii=False), "\n  evalmpi:", json.dumps(b, ensure_ascii=False))
                    break
    for name in untried:
        print("not compared:", name)
    tried = {line["task"] for line in lines}
    print(f"{len(tried) - len(wrong)} of {len(tried)} tasks equal, {n_requests} requests in {len(lines)} runs; {len(untried)} not compared")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
