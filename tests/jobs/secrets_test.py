"""Secrets of the environment reach no file and no message, and files are the user's own, however a run ends."""
import os
import signal
import stat
import subprocess
import time
import unittest

import support

CANARY = "hf_CanaryThatMustNotSing0123456789"
VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "EVALMPI_UNRELATED_SECRET")


class Secrets(support.JobTest):
    def setUp(self):
        super().setUp()
        self.environment = dict(os.environ, **{name: CANARY for name in VARIABLES})

    def assert_silent(self, *outputs):
        """No file below the test's folder holds the canary, nor any text that was printed."""
        for text in outputs:
            self.assertNotIn(CANARY, text)
        searched = 0
        for folder, _, files in os.walk(self.folder):
            for name in files:
                with open(os.path.join(folder, name), "rb") as file:
                    self.assertNotIn(CANARY.encode(), file.read(), os.path.join(folder, name))
                searched += 1
        self.assertGreater(searched, 0)

    def test_a_complete_run_and_its_status(self):
        done = self.evaluate("done", extra=["--limit", "5", "--dp", "2"], ranks=2, env=self.environment)
        status = self.run_program(["status", self.path("done"), "--json"], env=self.environment)
        self.assert_silent(done.stdout, done.stderr, status.stdout)
        for name in ("results.h5", "status.json", "manifest.json"):
            self.assertTrue(os.path.exists(self.path(f"done/{name}")))

    def test_failures(self):
        def outputs(arguments, code, ranks=None, **environment):
            done = self.run_program(arguments, ranks=ranks, code=code, env=dict(self.environment, EVALMPI_LOG_LEVEL="debug", **environment))
            return done.stdout, done.stderr
        texts = [*outputs(["eval", *support.DEMO, "--tasks", "demo_tavi,none", "-o", self.path("task")], 65),
                 *outputs(["eval", "--model", self.path("none"), "--tasks", "demo_tavi", "-o", self.path("model")], 66, ranks=2),
                 *outputs(["fetch", "org/model"], 69, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=self.path("hub")),
                 *outputs(["plan", *support.DEMO, "--tasks", "demo_tavi"], 0)]
        with open(self.path("a file"), "w", encoding="utf-8"):
            pass
        texts += outputs(["eval", *support.DEMO, "--tasks", "demo_tavi", "-o", self.path("a file")], 73)
        self.assert_silent(*texts)

    def test_a_stopped_and_a_killed_run(self):
        support.long_task(self.path("tasks"), 24)
        for how in (signal.SIGTERM, signal.SIGKILL):
            output = self.path(how.name)
            with open(output + ".out", "w", encoding="utf-8") as out:
                run = subprocess.Popen(self.command(["eval", "--model", os.path.join(support.SOURCE, "configs/demo/model"), "--include-path",
                                                     self.path("tasks"), "--tasks", "long_reverse", "-o", output]),
                                       cwd=self.folder, stdout=out, stderr=subprocess.STDOUT, env=self.environment)
            while run.poll() is None and support.bytes_in(os.path.join(output, "log")) < 20_000:
                time.sleep(0.005)
            run.send_signal(how)
            self.assertNotEqual(run.wait(timeout=60), 0)
        self.assert_silent()

    def test_nobody_else_may_read_logs_and_status(self):
        self.evaluate("private", tasks="demo_tavi", extra=["--limit", "5"], umask=0)
        found = []
        for folder, _, files in os.walk(self.path("private")):
            for name in files:
                path = os.path.join(folder, name)
                found.append(name)
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o077, 0, path)
        self.assertIn("status.json", found)
        self.assertTrue(any(name.endswith(".log") for name in found))


if __name__ == "__main__":
    unittest.main()
