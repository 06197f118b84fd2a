"""Starts evalmpi and the benchmark programs of a build."""
import json
import os
import subprocess
import sys
import tempfile
import time

from report import SOURCE

MPI_RUN = os.path.join(SOURCE, "tests", "support", "mpi_run")
DEMO_MODEL = os.path.join(SOURCE, "configs", "demo", "model")


def fail(message):
    print(f"bench: {message}", file=sys.stderr)
    sys.exit(66)


def evalmpi(build):
    path = os.path.join(build, "bin", "evalmpi")
    if not os.path.exists(path):
        fail(f"{path} is missing; build it with tools/build, or give --build DIR")
    return path


def measure(build, program, **options):
    """What evalmpi_bench_<program> prints, as a dictionary; an option that is None is left out."""
    path = os.path.join(build, "bench", f"evalmpi_bench_{program}")
    if not os.path.exists(path):
        fail(f"{path} is missing; build it with: ninja -C {build} evalmpi_bench_{program}")
    command = [path]
    for name, value in options.items():
        if value is not None:
            command += ["--" + name.replace("_", "-"), str(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        fail(f"{' '.join(command)}: exit code {done.returncode}")
    return json.loads(done.stdout)


def timed(command, folder, **options):
    """Runs an evalmpi command; the wall time of the whole process and what its files say of the parts."""
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **options)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            fail(f"{' '.join(command)}: exit code {process.returncode}\n{output.read().decode(errors='replace')}")
    return Timed(seconds, usage, folder)


class Timed:
    """user_seconds and peak_bytes: of the process and of those that it waited for."""

    def __init__(self, seconds, usage, folder):
        self.user_seconds = usage.ru_utime
        self.peak_bytes = usage.ru_maxrss * 1024
        newest = sorted(name for name in os.listdir(folder) if name.startswith("results_"))[-1]
        with open(os.path.join(folder, newest), encoding="utf-8") as file:
            results = json.load(file)
        with open(os.path.join(folder, "status.json"), encoding="utf-8") as file:
            status = json.load(file)
        self.seconds = seconds
        self.tokens = {key: results["evalmpi"]["tokens_" + key] for key in ("computed", "distinct", "naive")}
        # Seconds by part, as far as this version of evalmpi writes them.
        inside = float(results["total_evaluation_time_seconds"])
        self.parts = dict(results["evalmpi"].get("timings", {}))
        first = status.get("start_to_first_chunk_seconds")
        if first is not None:
            self.parts.setdefault("start to first chunk", first)
            self.parts.setdefault("first chunk to results", inside - first)
        self.parts.setdefault("before and after", seconds - inside)

    def describe_parts(self):
        return ", ".join(f"{name.replace('_seconds', '').replace('_', ' ')} {value:.2f} s" for name, value in self.parts.items()
                         if isinstance(value, (int, float)))
