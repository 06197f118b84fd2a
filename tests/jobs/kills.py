"""Kills ranks of a run with SIGKILL at random moments, starts it again until it is done, and compares what it gives.

    python3 tests/jobs/kills.py [--seeds 0:100] [--ranks 4] [--jobs J]

A seed draws for each start whether (the first one always) and when it is killed (up to four times; by time, by the length of
the logs, or while results are published) and whether one rank dies or all of them with mpirun. For every seed: samples and tables equal an undisturbed run's, byte
for byte; no request that a record answered durably is computed again; at no time a file looks complete and is not; nothing is
left running or half written. Prints the seeds that fail, then the counts. EVALMPI names the program.
"""
import argparse
import concurrent.futures
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import faults
import record_logs
import support

MAX_STARTS = 12
MAX_KILLS = 4


@dataclasses.dataclass
class Result:
    seed: int
    starts: int = 0
    kills: int = 0
    problems: list = dataclasses.field(default_factory=list)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False


@dataclasses.dataclass
class Moment:
    """When to kill: so many seconds after the logs have grown to so many bytes; victim: a rank's number among the living, or
    None for all of them and mpirun."""
    log_bytes: float
    seconds: float
    victim: int | None

    @staticmethod
    def draw(numbers, bench, output, usual_seconds):
        before = support.bytes_in(os.path.join(output, "log"))
        kind = numbers.random()
        share, wait = numbers.random(), numbers.random()
        victim = numbers.randrange(bench.ranks) if numbers.random() < 0.6 else None
        if kind < 0.25:  # before its first record, or wherever it is then
            return Moment(0, share * usual_seconds, victim)
        if kind < 0.45:  # while it publishes
            return Moment(bench.log_bytes, wait * 0.3, victim)
        return Moment(before + share * max(0, bench.log_bytes - before), wait * 0.02, victim)

    def has_come(self, output, since):
        """since: where the waiting time begins, once the logs are long enough."""
        if self.log_bytes > 0 and support.bytes_in(os.path.join(output, "log")) < self.log_bytes:
            return False
        since.append(time.monotonic())
        return since[-1] - since[0] >= self.seconds


def start_and_kill(bench, output, moment):
    """One start, killed at `moment` (None: not at all). Returns its exit code, whether it was killed, and what it said."""
    command = [support.MPI_RUN, str(bench.ranks), support.EVALMPI, *bench.arguments, "-o", output]
    started = subprocess.Popen(command, cwd=bench.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               start_new_session=True)
    was_killed, since = False, []
    while moment and not was_killed and started.poll() is None:
        if not moment.has_come(output, since):
            time.sleep(0.003)  # the ranks need the cores
            continue
        ranks = support.processes_of(support.EVALMPI, output)
        if moment.victim is None:
            os.killpg(started.pid, signal.SIGKILL)  # mpirun and its wrapper
            was_killed = True
            for pid in ranks:
                kill(pid)
        elif ranks:
            was_killed = kill(ranks[moment.victim % len(ranks)])
    try:
        text = started.communicate(timeout=120)[0]
    except subprocess.TimeoutExpired:
        text = "still running after 120 s"
        os.killpg(started.pid, signal.SIGKILL)
        for pid in support.processes_of(support.EVALMPI, output):
            kill(pid)
        started.communicate()
        return None, was_killed, text
    return started.returncode, was_killed, text


def wait_until_gone(output, seconds=30):
    end = time.monotonic() + seconds
    while support.processes_of(support.EVALMPI, output):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def run_seed(bench, seed, usual_seconds):
    numbers = random.Random(seed)
    output = os.path.join(bench.folder, f"seed{seed}")
    result = Result(seed)
    while result.starts < MAX_STARTS:
        wanted = result.starts == 0 or (result.kills < MAX_KILLS and numbers.random() < 0.8)
        moment = Moment.draw(numbers, bench, output, usual_seconds) if wanted else None
        code, was_killed, text = start_and_kill(bench, output, moment)
        result.starts += 1
        result.kills += was_killed
        if not wait_until_gone(output):
            result.problems.append("processes outlive the job by 30 s")
        if wrong := bench.wrong_files(output):
            result.problems.append(f"start {result.starts}: {wrong}")
        if code is None or (code != 0 and not was_killed):
            result.problems.append(f"start {result.starts}: exit {code}: {text[-800:]}")
        if code == 0 or result.problems:
            break
    if not result.problems:
        if not bench.is_complete(output) or support.newest_samples(output) != bench.samples or support.table_bytes(output) != bench.table:
            result.problems.append("not complete, or other tables than undisturbed")
        if twice := record_logs.computed_twice(output):
            result.problems.append(f"{twice} requests computed again after they were durable")
        if left := support.temporary_files(output):
            result.problems.append(f"left {left}")
    shutil.rmtree(output, ignore_errors=True)
    return result


def loop(bench, seeds, jobs=1):
    """Runs the seeds; prints those that fail. Returns all results."""
    start = time.monotonic()
    bench.run(os.path.join(bench.folder, "timed"), None)
    usual_seconds = time.monotonic() - start
    results = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(lambda seed: run_seed(bench, seed, usual_seconds), seeds):
            results.append(result)
            if result.problems:
                print(f"seed {result.seed} after {result.starts} starts and {result.kills} kills:\n    " + "\n    ".join(result.problems),
                      flush=True)
    return results


def bench_of(folder, ranks, extra=()):
    arguments = ["eval", *support.DEMO, "--tasks", support.ALL_TASKS, "--quiet", "--dp", str(ranks), "--token-budget", "48", *extra]
    bench = faults.Bench(folder, arguments, ranks)
    bench.log_bytes = support.bytes_in(os.path.join(bench.reference, "log"))
    return bench


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:100", help="first:end")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time")
    options = parser.parse_args()
    first, end = (int(number) for number in options.seeds.split(":"))
    with tempfile.TemporaryDirectory(prefix="evalmpi kills ") as folder:
        begin = time.monotonic()
        results = loop(bench_of(folder, options.ranks), range(first, end), options.jobs)
    bad = sum(bool(result.problems) for result in results)
    print(f"{len(results)} seeds, {sum(result.starts for result in results)} starts, {sum(result.kills for result in results)} kills, "
          f"{bad} bad, {time.monotonic() - begin:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
