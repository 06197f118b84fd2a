#!/usr/bin/env python3
"""Every distinct template of a folder of task files, rendered by evalmpi and by jinja2 on invented documents.

    python tools/tasks/compare_templates.py --probe build/bin/task_probe [--tasks FOLDER] [--documents 4] [--show 20]

FOLDER defaults to the task files of the installed lm_eval. Prints how many templates agree on all documents; exit code 1
when one does not. Documents come from a fixed seed. A template for which no invented document renders is counted apart:
then both must refuse the documents tried.
"""

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

import jinja2
import yaml
from synthetic import Shapes, harness_environment, make_document

KEYS = ("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix", "doc_to_decontamination_query")
TRIES = 60


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    pass


Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def templates_of(value, into):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in KEYS and isinstance(inner, str):
                into.setdefault(inner, len(into))
            else:
                templates_of(inner, into)
    elif isinstance(value, list):
        for inner in value:
            templates_of(inner, into)


def collect(folder):
    """Distinct templates, read from all files of the folder whatever they are called."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or not ("yaml" in file.name or "yml" in file.name or not file.suffix):
            continue
        try:
            templates_of(yaml.load(file.read_bytes(), Loader=Loader), found)
        except (yaml.YAMLError, UnicodeDecodeError):
            continue
    return list(found)


def render(template, document):
    try:
        return {"text": template.render(**document)}
    except Exception as error:  # jinja2 lets through whatever the expressions raise
        return {"error": f"{type(error).__name__}: {error}"}


def cases_of(source, environment, wanted):
    """Documents with what jinja2 makes of them: up to `wanted` that render, and one that does not."""
    try:
        template = environment.from_string(source)
        shapes = Shapes(environment)
        shapes.add_template(source)
    except jinja2.TemplateError as error:
        return [({}, {"error": f"syntax: {error}"})]
    rng = random.Random(source)
    good, bad = [], []
    for _ in range(TRIES):
        document = make_document(shapes, rng)
        result = render(template, document)
        (good if "text" in result else bad).append((document, result))
        if len(good) == wanted:
            break
    return good + bad[: 1 if good else 3]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", required=True)
    parser.add_argument("--tasks", type=Path)
    parser.add_argument("--documents", type=int, default=4)
    parser.add_argument("--show", type=int, default=20)
    arguments = parser.parse_args()
    folder = arguments.tasks
    if folder is None:
        import lm_eval

        folder = Path(lm_eval.__file__).parent / "tasks"
    environment = harness_environment()
    cases = []
    templates = collect(folder)
    for source in templates:
        cases += [(source, document, expected) for document, expected in cases_of(source, environment, arguments.documents)]
    lines = "".join(json.dumps({"template": s, "document": d}, ensure_ascii=False) + "\n" for s, d, _ in cases)
    run = subprocess.run([arguments.probe, "render"], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    results = [json.loads(line) for line in run.stdout.decode().split("\n")[:-1]]
    assert len(results) == len(cases), (len(results), len(cases))
    wrong, rendered = {}, set()
    n_texts = n_errors = 0
    for (source, document, expected), ours in zip(cases, results):
        if "text" in expected:
            rendered.add(source)
            n_texts += 1
        else:
            n_errors += 1
        if expected.get("text") != ours.get("text"):
            wrong.setdefault(source, (document, expected, ours))
    for source, (document, expected, ours) in list(wrong.items())[: arguments.show]:
        print(json.dumps({"template": source, "document": document, "jinja2": expected, "evalmpi": ours}, ensure_ascii=False))
    print(f"{len(templates) - len(wrong)} of {len(templates)} templates equal; {len(rendered)} rendered at least one document; "
          f"{n_texts} texts and {n_errors} refusals compared")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
