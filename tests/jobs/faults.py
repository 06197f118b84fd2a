"""Makes every call on the output folder fail in turn, or kills the program there, and looks at what is left.

    python3 tests/jobs/faults.py [--kinds ENOSPC,kill-before] [--calls files|messages] [--ranks N] [--every K] [--jobs J]
    python3 tests/jobs/faults.py --disks 20

EVALMPI and EVALMPI_FAULTS name the program and the library of tests/support/faults (default: those of build/). A case is
(call, kind, rank); a first run without faults says how many calls there are. For each case: the run ends in time with 0 or a
documented exit code and one message that names the folder; no file that is there is incomplete or wrong; and a second start
without faults completes to the same samples and tables, byte for byte. Prints every case that is not so, then the counts.
"""
import argparse
import collections
import concurrent.futures
import dataclasses
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import support

FAULTS = os.environ.get("EVALMPI_FAULTS", os.path.join(support.SOURCE, "build", "tests", "libevalmpi_faults.so"))
KINDS = ("ENOSPC", "ENOSPC+", "EIO", "EINTR", "short", "kill-before", "kill-after")  # +: at every later call too
MAX_SECONDS = 10  # or ten times an undisturbed run, on a busy machine
DOCUMENTED = {"files": (73, 74), "messages": (69,), "posts": (69,)}


@dataclasses.dataclass(frozen=True)
class Case:
    call: int
    kind: str
    calls: str = "files"
    ranks: int = 0  # 0: without a launcher
    rank: int = 0   # in which the fault happens

    def __str__(self):
        where = f" in rank {self.rank} of {self.ranks}" if self.ranks else ""
        return f"{self.kind} at call {self.call} ({self.calls}){where}"

    def is_kill(self):
        return self.kind.startswith("kill")


@dataclasses.dataclass
class Outcome:
    code: int
    seconds: float
    errors: list  # its messages
    text: str


class Bench:
    """A program, its arguments, and what an undisturbed run of them gives."""

    def __init__(self, folder, arguments, ranks=0):
        self.folder, self.arguments, self.ranks = folder, arguments, ranks
        os.makedirs(folder, exist_ok=True)
        self.reference = os.path.join(folder, "reference")
        self.max_seconds = 100
        outcome = self.run(self.reference, None)
        if outcome.code != 0:
            raise RuntimeError(outcome.text)
        self.max_seconds = max(MAX_SECONDS, 10 * outcome.seconds)
        self.samples = support.newest_samples(self.reference)
        self.table = support.table_bytes(self.reference)
        self.results = support.newest_results(self.reference)["results"]

    def run(self, output, case, trace=None):
        variables = {"FAULT_FOLDER": output}
        if trace:
            variables["FAULT_TRACE"] = trace
        if case:
            variables |= {"FAULT_AT": str(case.call), "FAULT_KIND": case.kind.rstrip("+"), "FAULT_CALLS": case.calls,
                          "FAULT_ONWARD": "1" if case.kind.endswith("+") else "0"}
            if case.ranks:
                variables["FAULT_RANK"] = str(case.rank)
        command = [support.EVALMPI, *self.arguments, "-o", output]
        if case or trace:
            command = ["env", "LD_PRELOAD=" + FAULTS, *(f"{name}={value}" for name, value in variables.items()), *command]
        if self.ranks:
            command = [support.MPI_RUN, str(self.ranks), *command]
        start = time.monotonic()
        done = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            text = done.communicate(timeout=self.max_seconds + 60)[0]
        except subprocess.TimeoutExpired:
            for pid in support.processes_of(support.EVALMPI, output):
                os.kill(pid, 9)
            text = done.communicate()[0]
        errors = [line for line in text.splitlines() if line.startswith("evalmpi:") and " error: " in line]
        return Outcome(done.returncode, time.monotonic() - start, errors, text)

    def count_calls(self, calls, rank):
        trace = os.path.join(self.folder, f"trace-{calls}-{rank}")
        self.run(os.path.join(self.folder, "counted"), Case(0, "none", calls, self.ranks, rank), trace)
        with open(trace, encoding="utf-8") as file:
            lines = file.read().splitlines()
        shutil.rmtree(os.path.join(self.folder, "counted"))
        return [line.split(" ", 2)[1] for line in lines]

    def wrong_files(self, output):
        """What in the folder looks complete and is not."""
        wrong = []
        for path in glob.glob(os.path.join(output, "samples_*.jsonl")):
            task = os.path.basename(path)[len("samples_"):].rsplit("_", 1)[0]
            with open(path, "rb") as file:
                if file.read() != self.samples[task]:
                    wrong.append(path)
        for path in glob.glob(os.path.join(output, "results_*.json")):
            try:
                with open(path, encoding="utf-8") as file:
                    if json.load(file)["results"] != self.results:
                        wrong.append(path)
            except ValueError:
                wrong.append(path)
        if os.path.exists(os.path.join(output, "results.h5")):
            try:
                if support.table_bytes(output) != self.table:
                    wrong.append("results.h5")
            except subprocess.CalledProcessError:
                wrong.append("results.h5 (unreadable)")
        if self.is_complete(output):
            published = glob.glob(os.path.join(output, "results_*.json")), glob.glob(os.path.join(output, "results.h5"))
            if not all(published) or support.newest_samples(output) != self.samples:
                wrong.append("status.json says complete")
        return wrong

    def is_complete(self, output):
        return os.path.exists(os.path.join(output, "status.json")) and support.status(output)["state"] == "complete"

    def check(self, case, output):
        """Runs a case; what is not as it should be, and how it ended."""
        first = self.run(output, case)
        problems = []
        if first.seconds > self.max_seconds:
            problems.append(f"took {first.seconds:.1f} s")
        if case.is_kill():
            how = "killed" if first.code in (-9, 137) else str(first.code)
            if how != "killed" and first.code != 0:
                problems.append(f"exit {first.code}")
        else:
            how = str(first.code)
            problems += self.problems_of_error(case, first, output)
        if first.code == 0 and not self.is_complete(output):
            problems.append("exit 0, but not complete")
        problems += [f"{path} is wrong" for path in self.wrong_files(output)]
        again = self.run(output, None)
        if again.code != 0 or again.seconds > self.max_seconds:
            problems.append(f"resume: exit {again.code} after {again.seconds:.1f} s: {again.text[-600:]}")
        elif not self.is_complete(output) or self.wrong_files(output):
            problems.append(f"resume: wrong files: {self.wrong_files(output)}")
        if left := support.temporary_files(output):
            problems.append(f"resume: left {left}")
        if problems:
            problems.append("it said: " + first.text[-600:])
        return how, problems

    def problems_of_error(self, case, outcome, output):
        if outcome.code == 0:
            return []
        if outcome.code not in DOCUMENTED[case.calls]:
            return [f"exit {outcome.code}"]
        if len(outcome.errors) != 1:
            return [f"{len(outcome.errors)} messages"]
        if case.calls == "files" and output not in outcome.errors[0]:
            return ["the message does not name the file"]
        return []


def check_full_disk(bench, size_bytes):
    """A run on a disk of that size, then again after it has grown; what is not as it should be, and how the first ended.
    None where no disk can be mounted (that needs root)."""
    disk = os.path.join(bench.folder, "disk")
    os.makedirs(disk, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", disk], capture_output=True).returncode != 0:
        return None
    output = os.path.join(disk, "run")
    try:
        first = bench.run(output, None)
        problems = [f"{path} is wrong" for path in bench.wrong_files(output)]
        if first.code not in (0, 74) or first.seconds > bench.max_seconds:
            problems.append(f"exit {first.code} after {first.seconds:.1f} s")
        elif first.code == 74 and (len(first.errors) != 1 or output not in first.errors[0] or " bytes" not in first.errors[0]):
            problems.append(f"no message with path and bytes: {first.errors}")
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        again = bench.run(output, None)
        if again.code != 0 or not bench.is_complete(output) or bench.wrong_files(output) or support.temporary_files(output):
            problems.append(f"with more room: exit {again.code}: {again.text[-600:]}")
        return problems + (["it said: " + first.text[-600:]] if problems else []), first.code
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def full_disk_sizes(bench, count):
    """From what holds nothing to what holds the whole run."""
    needed = sum(os.path.getsize(path) for path in glob.glob(os.path.join(bench.reference, "**", "*"), recursive=True)
                 if os.path.isfile(path))
    return [4096 * round(1 + (needed / 4096 + 12) * i / (count - 1)) for i in range(count)]


def full_disks(bench, count):
    """As loop(), for so many sizes."""
    ends, bad = collections.Counter(), 0
    for size_bytes in full_disk_sizes(bench, count):
        found = check_full_disk(bench, size_bytes)
        if found is None:
            return None
        problems, code = found
        ends["full disk", code] += 1
        if problems:
            bad += 1
            print(f"disk of {size_bytes} bytes:\n    " + "\n    ".join(problems), flush=True)
    return ends, bad


def cases_of(bench, calls, kinds, every=1):
    """One case for each k-th call and kind that makes sense for it, in every rank."""
    cases = []
    for rank in range(max(bench.ranks, 1)):
        for number, name in enumerate(bench.count_calls(calls, rank), 1):
            for i, kind in enumerate(kinds):
                if kind == "short" and "write" not in name:
                    continue
                if calls == "messages" and kind not in ("EIO", "kill-before", "kill-after"):
                    continue
                if (number + i) % every == 0:
                    cases.append(Case(number, kind, calls, bench.ranks, rank))
    return cases


def loop(bench, cases, jobs=1):
    """Runs the cases; prints what is wrong. Returns the counts by (kind, how it ended) and the number of bad cases."""
    ends, bad = collections.Counter(), 0

    def one(case):
        output = os.path.join(bench.folder, f"{case.kind}-{case.call}-{case.calls}-{case.rank}")
        found = bench.check(case, output)
        shutil.rmtree(output, ignore_errors=True)
        return found

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for case, (how, problems) in zip(cases, pool.map(one, cases)):
            ends[case.kind, how] += 1
            if problems:
                bad += 1
                print(f"{case}:\n    " + "\n    ".join(problems), flush=True)
    return ends, bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--calls", choices=("files", "messages"), default="files")
    parser.add_argument("--ranks", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="take every K-th case")
    parser.add_argument("--disks", type=int, help="instead: so many sizes of a disk that becomes full (root)")
    parser.add_argument("--only", type=int, help="this call alone")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evalmpi faults ") as folder:
        arguments = ["eval", *support.DEMO, "--tasks", support.ALL_TASKS, "--limit", "4", "--quiet", "--dp", str(max(options.ranks, 1))]
        bench = Bench(folder, arguments, options.ranks)
        if options.disks:
            found = full_disks(bench, options.disks)
            print("only root can mount a disk" if found is None else f"{options.disks} disks, {found[1]} bad, by exit code: {dict(found[0])}")
            return 1 if found and found[1] else 0
        cases = cases_of(bench, options.calls, options.kinds.split(","), options.every)
        if options.only:
            cases = [case for case in cases if case.call == options.only]
        start = time.monotonic()
        ends, bad = loop(bench, cases, options.jobs)
        for (kind, how), number in sorted(ends.items()):
            print(f"{kind:<12} ended with {how:<7} {number:5}")
        print(f"{len(cases)} cases, {bad} bad, {time.monotonic() - start:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
