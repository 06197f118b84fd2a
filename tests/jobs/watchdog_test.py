"""Ranks that are stopped, hang or die, at any stage: named in time, the job ends everywhere, the next start completes it."""
import os
import re
import signal
import subprocess
import time
import unittest

import faults
import support

TIMEOUT = 2  # --hang-timeout; far above what a rank needs to say something on a busy machine


class Started:
    """A run on three ranks and what becomes of it. stop_at: rank 2 stops itself before its collective call of that number."""

    def __init__(self, test, output, arguments, stop_at=None):
        self.test, self.output = test, test.path(output)
        command = test.command(["eval", "--model", os.path.join(support.SOURCE, "configs/demo/model"), "--include-path", test.path("tasks"),
                                "--tasks", "long_reverse", "-o", self.output, "--hang-timeout", str(TIMEOUT), *arguments], 3)
        environment = dict(os.environ)
        if stop_at:
            environment |= {"LD_PRELOAD": faults.FAULTS, "FAULT_FOLDER": self.output, "FAULT_CALLS": "collectives", "FAULT_RANK": "2",
                            "FAULT_KIND": "stop-before", "FAULT_AT": str(stop_at)}
        with open(self.output + ".out", "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(command, cwd=test.folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        test.addCleanup(self.end)

    def end(self):
        for pid in self.ranks():
            os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def text(self):
        with open(self.output + ".out", encoding="utf-8") as file:
            return file.read()

    def ranks(self):
        return support.processes_of(support.EVALMPI, self.output)

    def wait_until(self, condition, what):
        end = time.monotonic() + 60
        while not condition():
            self.test.assertIsNone(self.process.poll(), f"ended before {what}: {self.text()}")
            self.test.assertLess(time.monotonic(), end, f"waited in vain for {what}: {self.text()}")
            time.sleep(0.005)  # the ranks need the cores

    def wait_for_end(self):
        self.process.wait(timeout=60)
        self.test.assertEqual(self.ranks(), [], "orphans")
        return self.process.returncode


class Watchdog(support.JobTest):
    # A disk that is slow to keep a record for TIMEOUT seconds is rightly called hung: these tests keep to memory.
    root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

    def start(self, output, *arguments, copies=48, stop_at=None):
        if not os.path.exists(self.path("tasks")):
            support.long_task(self.path("tasks"), copies)
        return Started(self, output, arguments, stop_at)

    def has_records(self, run):
        return lambda: support.bytes_in(os.path.join(run.output, "log")) > 20_000

    def has_said_that_it_computes(self, run, leader):
        """A second after the leader's first records: every rank has given a sign of life since."""
        seen = []

        def condition():
            if not seen and support.bytes_in(os.path.join(run.output, "log"), f"rank{leader}-*.log") > 5_000:
                seen.append(time.monotonic())
            return bool(seen) and time.monotonic() - seen[0] > 1

        return condition

    def stop_rank(self, run, rank):
        """Stops it, and returns the seconds that passed until the job was over everywhere."""
        start = time.monotonic()
        os.kill(run.ranks()[rank], signal.SIGSTOP)
        code = run.wait_for_end()
        self.assertEqual(code, 75, run.text())
        self.assertLess(time.monotonic() - start, TIMEOUT + 2 + 10)
        return run.text()

    def assert_named(self, run, text, rank):
        named = re.search(rf"rank {rank} on \S+ \(process \d+\): no sign of life for (\d+\.\d) s .*", text)
        self.assertTrue(named, text)
        self.assertLess(float(named[1]), TIMEOUT + 2)
        return named[0]

    def assert_stopped_by(self, run, rank):
        status = support.status(run.output)
        self.assertEqual((status["state"], status.get("exit_code")), ("stopped", 75))
        self.assertIn(f"rank {rank} on", status["error"])

    def test_a_stopped_rank_is_named_while_it_computes(self):
        for layout, rank, leader in ((["--tp", "3"], 1, 0), (["--dp", "3"], 2, 2)):
            run = self.start("computing" + layout[0], *layout)
            run.wait_until(self.has_said_that_it_computes(run, leader), "records")
            line = self.assert_named(run, self.stop_rank(run, rank), rank)
            self.assertRegex(line, r'phase "(computing", lane 0|writing a record", log), chunk \d+|phase "waiting for (a chunk", lane 0|records", log)')
            self.assert_stopped_by(run, rank)

    def test_a_stopped_rank_0_is_named_by_another(self):
        run = self.start("root", "--dp", "3")
        run.wait_until(self.has_records(run), "records")
        self.assert_named(run, self.stop_rank(run, 0), 0)
        self.assert_stopped_by(run, 0)

    def test_a_stopped_rank_is_named_before_the_first_chunk(self):
        # Before rank 0 opens the folder, while it does and after: its status never stays that of a run at work.
        have_folder = []
        for call in range(27, 31):
            with self.subTest(call=call):
                run = self.start(f"early{call}", "--dp", "3", stop_at=call)
                self.assertEqual(run.wait_for_end(), 75, run.text())
                self.assert_named(run, run.text(), 2)
                have_folder.append(os.path.exists(run.output))
                if have_folder[-1]:
                    self.assert_stopped_by(run, 2)
        self.assertIn(True, have_folder, "other calls than these are around the opening now")

    def test_the_next_start_completes_what_was_stopped(self):
        run = self.start("again", "--dp", "3", copies=6)
        run.wait_until(self.has_records(run), "records")
        self.stop_rank(run, 1)
        for output in ("again", "plain"):
            self.run_program(["eval", "--model", os.path.join(support.SOURCE, "configs/demo/model"), "--include-path", self.path("tasks"),
                              "--tasks", "long_reverse", "-o", self.path(output)])
        self.assertEqual(support.newest_samples(self.path("again")), support.newest_samples(self.path("plain")))
        self.assertEqual(support.table_bytes(self.path("again")), support.table_bytes(self.path("plain")))

    def test_a_dead_rank_ends_the_job(self):
        for rank in (1, 0):
            run = self.start(f"dead{rank}", "--dp", "3")
            run.wait_until(self.has_records(run), "records")
            start = time.monotonic()
            os.kill(run.ranks()[rank], signal.SIGKILL)
            self.assertNotEqual(run.wait_for_end(), 0)
            self.assertLess(time.monotonic() - start, 10)
            status = support.status(run.output)
            self.assertEqual((status["state"], status["exit_code"]), ("stopped", 75), run.text())
            self.assertIn("stopped by signal 15", status["error"])

    def test_a_short_stop_is_survived(self):
        run = self.start("short", "--dp", "3", copies=6)
        run.wait_until(self.has_records(run), "records")
        for pid in run.ranks():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.3)
            os.kill(pid, signal.SIGCONT)
        self.assertEqual(run.wait_for_end(), 0, run.text())


if __name__ == "__main__":
    unittest.main()
