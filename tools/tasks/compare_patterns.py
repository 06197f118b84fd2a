#!/usr/bin/env python3
"""Every regular expression of a folder of task files, matched by evalmpi and by Python's re on invented answers.

    python tools/tasks/compare_patterns.py --probe build/tools/evalmpi_task_probe [--tasks FOLDER]

FOLDER defaults to the task files of the installed lm_eval. All matches with all groups have to agree.
"""

import argparse
import json
import random
import re
import subprocess
import sys
from pathlib import Path

from compare_templates import Loader, yaml

KEYS = ("regex_pattern", "regexes_to_ignore")
PIECES = ["The answer is ", "the best answer is ", "Answer: ", "(A)", "(B).", " C", "D", "42", "1,234.50", "$7", "#### ", "-3", ".", ",", "\n", "\n\n", " ", "\t",
          "**", "\\boxed{", "}", "$", "yes", "No", "True", "caf\u00e9", "\u7b54\u6848\u662f", "\u0627\u0644\u062c\u0648\u0627\u0628", "\u0663", "\u00b2", "\u2028",
          "\x1c", "\u00a0", "so ", "[", "]", "('x', 'NOUN')", "assistant", ":", "ans", "=", "\"", "'", "1/2", "Yes, ", "option ", "Final Answer: The final answer is ", "I hope it is correct.", "\u0130", "\u017f", "K"]


def patterns_of(value, into):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in KEYS:
                for pattern in inner if isinstance(inner, list) else [inner]:
                    if isinstance(pattern, str):
                        into.setdefault(pattern)
            else:
                patterns_of(inner, into)
    elif isinstance(value, list):
        for inner in value:
            patterns_of(inner, into)


def collect(folder):
    found = {r"#### (\-?[0-9\.\,]+)": None}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and ("yaml" in file.name or "yml" in file.name) and b"regex" in file.read_bytes():
            try:
                patterns_of(yaml.load(file.read_bytes(), Loader=Loader), found)
            except (yaml.YAMLError, UnicodeDecodeError):
                continue
    return list(found)


def own_pieces(pattern):
    """Literal stretches of the pattern, so that answers match."""
    return [piece for piece in re.split(r"[\\\[\](){}|?*+.^$]+", pattern) if piece]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", required=True)
    parser.add_argument("--tasks", type=Path)
    arguments = parser.parse_args()
    folder = arguments.tasks
    if folder is None:
        import lm_eval

        folder = Path(lm_eval.__file__).parent / "tasks"
    cases = []
    patterns = collect(folder)
    for pattern in patterns:
        rng = random.Random(pattern)
        pieces = PIECES + 4 * own_pieces(pattern)
        for _ in range(60):
            cases.append((pattern, "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 14)))))
    lines = "".join(json.dumps({"pattern": p, "text": t}) + "\n" for p, t in cases)
    run = subprocess.run([arguments.probe, "findall"], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    results = [json.loads(line) for line in run.stdout.decode().split("\n")[:-1]]
    wrong = {}
    matches = 0
    for (pattern, text), ours in zip(cases, results, strict=True):
        try:
            theirs = {"groups": [[m.group(0), *m.groups()] for m in re.finditer(pattern, text)]}
            matches += len(theirs["groups"])
        except re.error as error:
            theirs = {"error": str(error)}
        if theirs.get("groups") != ours.get("groups"):
            wrong.setdefault(pattern, (text, theirs, ours))
    for pattern, (text, theirs, ours) in wrong.items():
        print(json.dumps({"pattern": pattern, "text": text, "re": theirs, "evalmpi": ours}, ensure_ascii=False))
    print(f"{len(patterns) - len(wrong)} of {len(patterns)} patterns equal on {len(cases)} texts, {matches} matches")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
