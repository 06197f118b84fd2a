"""Runs the program as a user would, for the end-to-end tests in this folder.

EVALMPI names the program (CTest sets it). Every test works in a folder of its own.
"""
import glob
import json
import os
import shutil
import subprocess
import tempfile
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVALMPI = os.environ.get("EVALMPI", os.path.join(SOURCE, "build", "bin", "evalmpi"))
MPI_RUN = os.path.join(SOURCE, "tests", "support", "mpi_run")
DEMO = ["--model", os.path.join(SOURCE, "configs/demo/model"), "--include-path", os.path.join(SOURCE, "configs/demo/tasks")]
ALL_TASKS = "demo_reverse,demo_tavi,demo_sums"


class JobTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="evalmpi job ")  # with a space, as users have them
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def command(self, arguments, ranks=None):
        return ([MPI_RUN, str(ranks)] if ranks else []) + [EVALMPI] + arguments

    def run_program(self, arguments, ranks=None, code=0, **options):
        done = subprocess.run(self.command(arguments, ranks), cwd=self.folder, capture_output=True, text=True, timeout=100, **options)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def evaluate(self, output, tasks=ALL_TASKS, extra=(), **options):
        return self.run_program(["eval", *DEMO, "--tasks", tasks, "-o", self.path(output), *extra], **options)


def newest_results(folder):
    with open(sorted(glob.glob(os.path.join(folder, "results_*.json")))[-1], encoding="utf-8") as file:
        return json.load(file)


def newest_samples(folder):
    """Bytes of the newest samples file of each task."""
    newest = {}
    for path in sorted(glob.glob(os.path.join(folder, "samples_*.jsonl"))):
        task = os.path.basename(path)[len("samples_"):].rsplit("_", 1)[0]
        with open(path, "rb") as file:
            newest[task] = file.read()
    return newest


def log_likelihoods(samples):
    """All log-likelihoods of samples bytes, in order, with their flags."""
    found = []
    for line in samples.decode().splitlines():
        for responses in json.loads(line)["resps"]:
            if isinstance(responses[0], list):
                found.append((float(responses[0][0]), responses[0][1]))
    return found


def status(folder):
    with open(os.path.join(folder, "status.json"), encoding="utf-8") as file:
        return json.load(file)


def table_bytes(folder):
    """The part of results.h5 that may not depend on how the run went, as h5dump prints it."""
    dump = subprocess.run(["h5dump", "-g", "/tasks", os.path.join(folder, "results.h5")], capture_output=True, check=True)
    return dump.stdout.split(b"\n", 1)[1]  # the first line names the file
