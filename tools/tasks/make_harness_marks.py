#!/usr/bin/env python3
"""Writes src/task/native/harness_marks.cpp: what the Python functions beside lm-evaluation-harness's task files look like,
for those that evalmpi has itself, so that a changed one is noticed.

    ninja -C build evalmpi_task_probe
    python tools/tasks/make_harness_marks.py --probe build/tools/evalmpi_task_probe

The harness is the installed package lm_eval, which has to be 0.4.13. To be run again when a function is added.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

VERSION = "0.4.13"
FILE = Path(__file__).resolve().parents[2] / "src" / "task" / "native" / "harness_marks.cpp"
HEAD = """// Made by tools/tasks/make_harness_marks.py: marks of lm-evaluation-harness 0.4.13's functions, sorted.

#include "harness_sources.h"

namespace evalmpi::task {
namespace {

// clang-format off
constexpr uint64_t kMarks[] = {
"""
TAIL = """};
// clang-format on

}  // namespace

std::span<const uint64_t> harness_marks() { return kMarks; }

}  // namespace evalmpi::task
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", required=True)
    arguments = parser.parse_args()
    installed = importlib.metadata.version("lm_eval")
    if installed != VERSION:
        sys.exit(f"lm_eval {installed} is installed; the functions are those of {VERSION}")
    tasks = Path(importlib.util.find_spec("lm_eval").origin).parent / "tasks"
    listed = subprocess.run([arguments.probe, "names", str(tasks)], input=b"{}\n", stdout=subprocess.PIPE, check=True).stdout
    lines = "".join(json.dumps({"task": name}) + "\n" for name in json.loads(listed)["names"])
    run = subprocess.run([arguments.probe, "marks", str(tasks)], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    marks = sorted({mark for line in run.stdout.splitlines() for mark in json.loads(line).get("marks", [])})
    rows = [marks[i:i + 6] for i in range(0, len(marks), 6)]
    FILE.write_text(HEAD + "".join("  " + ", ".join(f"0x{mark:016x}" for mark in row) + ",\n" for row in rows) + TAIL, encoding="utf-8")
    print(f"{len(marks)} functions")


if __name__ == "__main__":
    sys.exit(main())
