#!/usr/bin/env python3
"""YAML files and snippets read by evalmpi and by PyYAML's safe loader (YAML 1.1).

    python tools/tasks/compare_yaml.py --probe build/tools/evalmpi_task_probe [FOLDER ...]

Without FOLDER only the snippets below are compared: scalars of YAML 1.1 in many spellings, block scalars, anchors, merge
keys, duplicate keys, tags, and damaged files, which both have to refuse.
"""

import argparse
import datetime
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import yaml

SCALARS = """yes Yes YES yES no No NO on On ON off Off OFF y n Y N true True TRUE tRue false ~ null Null NULL nULL 010 0o10 08 0x1F 0xg 0b101 1_000
1__0 _1 1_ 0_7 -0 +1 -010 1:30 -1:30 1:60 190:20:30 1:30.5 0:30 01:30 1.0 1. .5 -.5 +.5 . .e1 1e5 1e+5 1.0e5 1.0e+5 1.e+5 1.5E-3 -1.0e+10 .inf -.inf +.Inf .INF
.nan .NaN .NAN nan inf 1.2.3 1_0.5_0 12e03 6.8523015e+5 685.230_15e+03 685_230.15 190:20:30.15 2001-12-14 2001-12-14t21:59:43.10-05:00 2001-1-1 20011214
0.1 100000000000000000000 -9223372036854775808 18446744073709551615 = << 0 00 0x 0b 0b2 1,000 $5 50% a:b a#b -a ?a :a a: 'it''s' "a\\tb" "\\x41\\u00e9\\U0001F600" "a\\/b" "\\0" "\\e\\_\\N\\L\\P"
0777 0o777 0xFF_FF 0b1_1 1e3 e3 +.inf -.NaN ++1 1- 1+1 0.0 -0.0 1e-05 1.7976931348623157e+309""".split()
SCALARS += ['!!str 5', '!!int "5"', '!!float "1"', "!!float 3", '!!bool "yes"', '!!null ""', "!!str yes", "!!str ~", "two words", "- x"]

SNIPPETS = [
    "a: |\n  one\n  two\n", "a: |-\n  one\n\n  two\n\n", "a: |+\n  one\n\n", "a: >\n  one\n  two\n\n  three\n", "a: >-\n  one\n   more\n  two\n",
    "a: |2\n   x\n  y\n", "a: 'one\n  two\n\n  three'\n", 'a: "one\n  two \\\n  three\n\n  four"\n', "a: one\n  two\n  three\n", "a: [1, two, 'three', [4]]\n",
    "a: {b: 1, 'c d': 2, e: {f: }}\n", "a: &x {b: 1}\nc: *x\n", "a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n", "a: &x {b: 1}\nd: &y {b: 2, e: 3}\nf:\n  <<: [*x, *y]\n",
    "f:\n  c: 3\n  <<: {c: 4, d: 5}\n", "a: 1\na: 2\n", "a: {b: 1, b: 2}\n", "? a\n: b\n", "- a\n- - b\n  - c\n", "a:\n- b\n- c\n", "a: # comment\n  b\n", "a: 'x' # c\n", "--- \na: 1\n...\n",
    "a: \"\\u00e9\"\n", "a: caf\u00e9 \u6c34 \U0001f600\n", "\ufeffa: 1\n", "a: b: c\n", "a: [1, 2\n", "a: 'x\n", "a\n  b: c\n", "\ta: 1\n", "a:\n\t- b\n", "a: *missing\n", "a: &x\nb: *x\n", "", "~\n", "# only\n", "a: @b\n", "a: `b\n", "a: %b\n",
    "%YAML 1.1\n---\na: yes\n", "a: 1\n---\nb: 2\n", "a: !!binary aGk=\n", "a: !!set {x, y}\n", "a: !!omap [x: 1]\n", "a: !foo bar\n", "a: !!python/object:os.system x\n", "a: !!python/name:os.system\n", "- [\n", "{\n", "}\n",
    "a: \"\\q\"\n", "a: \"x\n", "a: - b\n", "a: ''\nb: \"\"\nc:\n", "yes: 1\n", "'yes': 1\n", "a: {x: 1,}\n", "a: [x,]\n", "a: [a: b, c]\n", "a: {? b : c}\n", "a: {b}\n", "a: \"{{x}}\"\n", "a: {{x}}\n", "a: '{{x}}: y'\n",
    "a: |\n  {% if x %}\n    y\n  {% endif %}\n", "a: \"line\\n\"\n", "a: 'line\\n'\n", "a: line\\n\n", "a: >\n\n  x\n\n\n  y\n", "a: |\n\n  x\n", "a: |  # comment\n  x\n", "a:    spaced   \n", "a: x  # y\n", "a: x#y\n", "a: 'x'y\n",
    "a: \"x\" y\n", "a: [\"x\" , 'y',z ]\n", "a: [\n  x,\n  y\n  ]\n", "a: x\r\nb: y\r\n", "a: |\r\n  x\r\n  y\r\n", "a: \"x\r\n  y\"\r\n", "key with spaces: v\n", "\"k\": v\n", "1: v\n", "a: ? x\n", "a: -\n", "a: --- x\n", "a: &x 5\nb: [*x, *x]\n",
    "<<: {a: 1}\nb: 2\n", "a: <<\n", "a: {<<: {b: 1}, c: 2}\n", "<<: 5\n", "<<: [5]\n", "a: \"tab\\there\"\n", "a: 'tab\there'\n", "a: x\u0085y\n", "a: 'x\u2028y'\n", "a: \"\\\n  x\"\n", "a: |1\n x\n", "a: |9\n x\n", "a: |0\n x\n",
]


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    pass


def function(loader, node):
    return {"!function": loader.construct_scalar(node), "!file": "text"}


Loader.add_constructor("!function", function)


def plain(value):
    """A value as JSON has it; None of the second where YAML gives what JSON has not (dates, sets, bytes)."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else f"key of type {type(key).__name__}": plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (datetime.date, datetime.datetime, bytes, set)):
        return {"not JSON": type(value).__name__}
    return value


def read(text):
    try:
        return {"value": plain(yaml.load(text, Loader=Loader))}
    except Exception as error:  # PyYAML lets through what its constructors stumble over
        return {"error": str(error).replace("\n", " ")}


def equal(a, b):
    if isinstance(a, dict) and "not JSON" in a:
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        unnamed = [key for key in a if key.startswith("key of type ")]
        if unnamed:
            return len(a) <= len(b)
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", required=True)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--show", type=int, default=40)
    arguments = parser.parse_args()
    texts = [f"a: {scalar}\n" for scalar in SCALARS] + [f"- {scalar}\n" for scalar in SCALARS] + SNIPPETS
    texts += [f"a: [{a}, {b}]\n" for a, b in itertools.pairwise(SCALARS)]
    texts += ["a: !!int 5\n", "a: !!float 1\n", "a: !!str 5\n", "a: !!bool yes\n", "a: !!null x\n", "a: !!int x\n", "a: ! 5\n", "a: !function u.f\n"]
    for folder in arguments.folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and ("yaml" in file.name or "yml" in file.name):
                texts.append(file.read_bytes().decode("utf-8", "replace"))
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    run = subprocess.run([arguments.probe, "yaml"], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    results = [json.loads(line) for line in run.stdout.decode().split("\n")[:-1]]
    wrong = stricter = refused = 0
    for text, ours in zip(texts, results, strict=True):
        theirs = read(text)
        refused += "error" in theirs
        if ("error" in theirs) == ("error" in ours) and ("error" in theirs or equal(theirs["value"], ours["value"])):
            continue
        if "error" in ours and "outside 64 bits" in ours["error"] or "cannot be read as !!binary" in ours.get("error", ""):
            stricter += 1
            continue
        wrong += 1
        if wrong <= arguments.show:
            print(json.dumps(text[:300], ensure_ascii=False), "\n   PyYAML ", json.dumps(theirs, ensure_ascii=False)[:300], "\n   evalmpi", json.dumps(ours, ensure_ascii=False)[:300])
    print(f"{len(texts) - wrong - stricter} of {len(texts)} texts read alike, {refused} of them refused by both or by PyYAML; {stricter} more hold integers above 64 bits or bytes, which evalmpi refuses")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
