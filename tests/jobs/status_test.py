"""`evalmpi status`: on runs that work, have ended, were killed, or never were."""
import json
import os
import signal
import subprocess
import time
import unittest

import support


class Status(support.JobTest):
    def status(self, output, *arguments, code=0):
        return self.run_program(["status", self.path(output), *arguments], code=code).stdout

    def status_json(self, output):
        return json.loads(self.status(output, "--json"))

    def edit(self, file, **values):
        with open(self.path(file), encoding="utf-8") as opened:
            content = json.load(opened)
        content.update(values)
        with open(self.path(file), "w", encoding="utf-8") as opened:
            json.dump(content, opened)

    def start(self, output):
        support.long_task(self.path("tasks"), 48)
        run = subprocess.Popen(self.command(["eval", "--model", os.path.join(support.SOURCE, "configs/demo/model"), "--include-path",
                                             self.path("tasks"), "--tasks", "long_reverse", "-o", self.path(output)]),
                               cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        return run

    def wait_until(self, condition, run):
        end = time.monotonic() + 60
        while not condition():
            self.assertIsNone(run.poll(), "the run ended early")
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def has_live_scores(self, output):
        def has():
            if not os.path.exists(self.path(output + "/status.json")):
                return False
            tasks = support.status(self.path(output)).get("tasks", {})
            return "scores" in tasks.get("long_reverse", {})
        return has

    def test_a_finished_run(self):
        self.evaluate("done")
        text = self.status("done")
        self.assertRegex(text, r"done  complete, attempt 0, last sign of life \d+ s ago")
        self.assertRegex(text, r"demo_tavi +100 %  acc 0\.\d{4} ± 0\.\d{4}, acc_norm")
        self.assertIn("results     results.h5", text)
        status = self.status_json("done")
        self.assertEqual((status["state"], status["exit_code"]), ("complete", 0))
        results = support.newest_results(self.path("done"))["results"]
        for task, of_task in status["tasks"].items():
            self.assertTrue(of_task["is_done"])
            for score in of_task["scores"]:
                self.assertEqual(score["value"], results[task][f"{score['metric']},{score['filter']}"])
                self.assertEqual(score["standard_error"], results[task][f"{score['metric']}_stderr,{score['filter']}"])
        self.assertRegex(self.status("done", "--watch"), r"^complete, attempt 0, 100 %, demo_reverse perplexity")

    def test_a_run_at_work_and_killed(self):
        run = self.start("work")
        self.wait_until(self.has_live_scores("work"), run)
        with open(self.path("work/output.lock"), encoding="utf-8") as file:
            holder = json.load(file)
        text = self.status("work")
        self.assertIn("  running, attempt 0", text)
        self.assertRegex(text, r"progress +\d+ % of \d+ tokens, \d+/\d+ chunks, \d+ tokens/s, \d+:\d\d(:\d\d)? left")
        self.assertRegex(text, r"long_reverse +\d+ %  perplexity \d\.\d{4} ± 0\.\d{4}, acc 0\.\d{4} ± 0\.\d{4}  \(\d+ of 9600 documents\)")
        with open(self.path("work/output.lock"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["nonce"], holder["nonce"], "it took the lock")
        watching = subprocess.Popen(self.command(["status", self.path("work"), "--watch"]), stdout=subprocess.PIPE, text=True)
        self.assertIn("running, attempt 0", watching.stdout.readline())
        run.send_signal(signal.SIGKILL)
        run.wait()
        lines = watching.communicate(timeout=30)[0]
        self.assertEqual(watching.returncode, 75)
        self.assertRegex(lines.splitlines()[-1], r"silent, .*process \d+ on \S+ is gone without a word")
        self.assertEqual(self.status_json("work")["state"], "silent")
        self.as_seen_from_another_host()

    def as_seen_from_another_host(self):
        self.edit("work/output.lock", host="elsewhere")
        os.utime(self.path("work/status.json"))
        self.assertEqual(self.status_json("work")["state"], "running")
        past = time.time() - 100
        os.utime(self.path("work/status.json"), (past, past))
        self.assertRegex(self.status("work"), r"has given no sign of life for 1:4\d: start it again with the same -o")

    def test_a_run_that_was_stopped_says_why(self):
        run = self.start("stopped")
        self.wait_until(self.has_live_scores("stopped"), run)
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(), 75)
        self.assertRegex(self.status("stopped"), r"stopped, attempt 0(.|\n)*error +stopped by signal 15")
        self.status("stopped", "--watch", code=75)

    def test_several_combinations(self):
        self.evaluate("several", tasks="demo_tavi", extra=["--num-fewshot", "0,1", "--limit", "5"])
        self.assertRegex(self.status("several"), r"complete, attempt 0(.|\n)*combination 2 of 2 done(.|\n)*results     comparison.csv")
        self.edit("several/status.json", state="stopped", combinations_done=1, combination="model_1shot",
                  run={"layout": "1 replica", "tasks": {"demo_tavi": {"requests": 4, "missing": 1}}})
        self.assertRegex(self.status("several"), r"combination 1 of 2 done, at work on model_1shot\nlayout +1 replica\n  demo_tavi +75 %")

    def test_what_is_no_run_is_said(self):
        os.mkdir(self.path("empty"))
        self.status("empty", code=66)
        os.mkdir(self.path("broken"))
        for text in ("{", "[]", '{"state": "asleep"}'):
            with open(self.path("broken/status.json"), "w", encoding="utf-8") as file:
                file.write(text)
            self.status("broken", code=65)
        with open(self.path("broken/status.json"), "w", encoding="utf-8") as file:
            file.write('{"state": "failed", "exit_code": 74, "tasks": [3], "ranks": 7, "progress": {"chunks": "x"}, "run": [1]}')
        self.status("broken", "--watch", code=74)
        self.assertIn("failed", self.status("broken"))
        self.run_program(["status"], code=2)


if __name__ == "__main__":
    unittest.main()
