#!/usr/bin/env python3
"""Checks that the arrows between modules point one way.

    tools/check_includes.py [ROOT]

USES below is the table of modules, lowest first: a module may include the public headers
(include/evalmpi/<module>/) only of the modules named beside it. The private headers in src/<module>/ are its own.
Further: public headers never include torch/torch.h (ten seconds and a gigabyte per file), and preprocessor
questions about CUDA, NCCL or MPI stay in comm, device and base.
Prints one line per violation, FILE:LINE: what; exits 1 when there is any.
"""

import pathlib
import re
import sys

LOW = ["base", "device", "comm", "store", "text", "net", "data", "ops", "model", "engine", "task", "remote", "job"]
USES = {
    "base": [],
    "device": ["base"],
    "comm": ["base", "device"],
    "store": ["base"],
    "text": ["base"],
    "net": ["base"],
    "data": ["base", "net"],
    "ops": ["base", "device"],
    "model": ["base", "device", "comm", "text", "ops"],
    "engine": ["base", "device", "comm", "ops", "model"],
    "task": ["base", "text", "data"],
    "remote": ["base", "net", "text"],
    "job": ["base", "comm", "store"],
    "eval": LOW,
    "tune": LOW + ["eval"],
    "sweep": ["base", "store", "job", "eval", "tune"],
    "report": ["base", "store"],
    "cli": LOW + ["eval", "tune", "sweep", "report"],
}
MAY_ASK_FOR_FEATURES = {"base", "device", "comm"}
SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
FEATURE = re.compile(r"^\s*#\s*(if|ifdef|ifndef|elif)\b.*(CUDA|NCCL|MPI_|_MPI|\bMPI\b)")


def violations_of_file(root, path, module, public):
    lines = path.read_text(encoding="utf-8").splitlines()
    allowed = set(USES[module]) | {module}
    for number, line in enumerate(lines, 1):
        include = INCLUDE.match(line)
        if include:
            quoted, name = include.group(1) == '"', include.group(2)
            parts = name.split("/")
            if parts[0] == "evalmpi":
                if len(parts) < 3 or parts[1] not in USES:
                    yield number, f"includes {name}, which belongs to no module"
                elif parts[1] not in allowed:
                    yield number, f"{module} includes {name}, but may use only: {', '.join(USES[module]) or 'nothing'}"
            elif quoted and len(parts) > 1 and parts[0] in USES and parts[0] != module:
                yield number, f"{module} includes {name}, a private header of {parts[0]}"
            elif quoted and ".." in parts:
                yield number, f"includes {name}; name headers from the include folder or the module's own"
            elif quoted and public:
                yield number, f"a public header includes the private {name}"
            if public and name == "torch/torch.h":
                yield number, "a public header includes torch/torch.h; ATen/core/Tensor.h is enough there"
        if FEATURE.match(line) and module not in MAY_ASK_FOR_FEATURES:
            yield number, f"asks for a feature in {module}; choose the source file in CMake instead"


def check(root):
    files = 0
    problems = []
    for folder, public in (("include/evalmpi", True), ("src", False)):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SUFFIXES:
                continue
            files += 1
            place = path.relative_to(root)
            module = path.relative_to(root / folder).parts[0]
            if module not in USES:
                problems.append(f"{place}:1: {module} is not in the table of modules (tools/check_includes.py)")
                continue
            for number, what in violations_of_file(root, path, module, public):
                problems.append(f"{place}:{number}: {what}")
    return files, problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    files, problems = check(root)
    for problem in problems:
        print(problem)
    print(f"{files} files, {len(problems)} violations")
    if files == 0:
        print(f"no source files under {root}")
    return 1 if problems or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
