"""The same scores, bit for bit, for any layout, limit, budget, kill and resume of one numerics class."""
import json
import os
import signal
import subprocess
import time
import unittest

import support
from support import ALL_TASKS


class Invariance(support.JobTest):
    def setUp(self):
        super().setUp()
        self.evaluate("plain")
        self.samples = support.newest_samples(self.path("plain"))
        self.table = support.table_bytes(self.path("plain"))

    def assert_equal_to_plain(self, output):
        self.assertEqual(support.newest_samples(self.path(output)), self.samples)
        self.assertEqual(support.table_bytes(self.path(output)), self.table)

    def test_layouts_lanes_and_budgets(self):
        self.evaluate("again")
        self.assert_equal_to_plain("again")
        self.evaluate("budget", extra=["--token-budget", "37"])
        self.assert_equal_to_plain("budget")
        self.evaluate("threads", extra=["--threads-per-lane", "2"])
        self.assert_equal_to_plain("threads")
        self.evaluate("places", extra=["--dp", "2"])
        self.assert_equal_to_plain("places")
        self.evaluate("two", extra=["--dp", "2"], ranks=2)
        self.assert_equal_to_plain("two")
        self.evaluate("four", extra=["--dp", "4"], ranks=4)
        self.assert_equal_to_plain("four")

    def test_verification_computes_chunks_twice(self):
        for output, layout, ranks in (("alone", [], None), ("two", ["--dp", "2"], 2)):
            done = self.evaluate(output, extra=["--verify", "0.5", "--token-budget", "37", *layout], ranks=ranks)
            self.assert_equal_to_plain(output)
            chunks = support.newest_results(self.path(output))["evalmpi"]["chunks_verified"]
            self.assertGreater(chunks, 3)
            self.assertIn(f"verified: {chunks} chunks computed twice, equal bit by bit\n", done.stdout)

    def test_tensor_parallel_agrees_and_places_equal_ranks(self):
        self.evaluate("ranks", extra=["--tp", "3"], ranks=3)
        self.evaluate("places", extra=["--tp", "3"])
        self.evaluate("mixed", extra=["--tp", "3"], ranks=2)
        in_ranks = support.newest_samples(self.path("ranks"))
        self.assertEqual(support.newest_samples(self.path("places")), in_ranks)
        self.assertEqual(support.newest_samples(self.path("mixed")), in_ranks)
        for task, samples in self.samples.items():
            ours, others = support.log_likelihoods(samples), support.log_likelihoods(in_ranks[task])
            self.assertEqual(len(ours), len(others))
            for (a, _), (b, _) in zip(ours, others):
                self.assertLess(abs(a - b), 1e-4)

    def test_a_higher_limit_computes_only_what_is_new(self):
        self.evaluate("limit", extra=["--limit", "20"])
        first = support.newest_results(self.path("limit"))["evalmpi"]["tokens_computed"]
        done = self.evaluate("limit", extra=["--limit", "40"])
        second = support.newest_results(self.path("limit"))["evalmpi"]["tokens_computed"]
        self.evaluate("direct", extra=["--limit", "40"])
        direct = support.newest_results(self.path("direct"))["evalmpi"]["tokens_computed"]
        self.assertGreater(first, 0)
        self.assertLess(second, 0.8 * direct, done.stdout)
        self.assertEqual(support.newest_samples(self.path("limit")), support.newest_samples(self.path("direct")))
        for task, samples in support.newest_samples(self.path("limit")).items():
            self.assertEqual(self.samples[task].splitlines()[:40], samples.splitlines())
        self.evaluate("limit", extra=["--limit", "40"])
        self.assertEqual(support.newest_results(self.path("limit"))["evalmpi"]["tokens_computed"], 0)

    def test_drawn_texts_and_repeats(self):
        drawn = ["--gen-kwargs", "temperature=1.5,top_k=0,top_p=0.95", "--include-path", os.path.join(support.SOURCE, "tests/fixtures/jobs")]
        tasks = "sums_three_times"
        self.evaluate("drawn", tasks=tasks, extra=drawn)
        samples = support.newest_samples(self.path("drawn"))
        table = support.table_bytes(self.path("drawn"))
        responses = [json.loads(line)["resps"][0] for line in samples[tasks].decode().splitlines()]
        self.assertEqual({len(of_document) for of_document in responses}, {3})
        self.assertTrue(any(len(set(of_document)) > 1 for of_document in responses), "all repeats are equal")
        for name, extra, ranks in (("lane", ["--threads-per-lane", "2"], None), ("budget", ["--token-budget", "23"], None),
                                   ("two", ["--dp", "2"], 2)):
            self.evaluate(name, tasks=tasks, extra=[*drawn, *extra], ranks=ranks)
            self.assertEqual(support.newest_samples(self.path(name)), samples, name)
            self.assertEqual(support.table_bytes(self.path(name)), table, name)
        self.evaluate("limit", tasks=tasks, extra=[*drawn, "--limit", "7"])
        few = support.newest_samples(self.path("limit"))[tasks].splitlines()
        self.assertEqual(few, samples[tasks].splitlines()[:7])
        self.evaluate("limit", tasks=tasks, extra=drawn)
        self.assertEqual(support.newest_samples(self.path("limit")), samples)
        self.evaluate("seed", tasks=tasks, extra=[*drawn, "--seed", "5"])
        self.assertNotEqual(support.newest_samples(self.path("seed")), samples)

    def test_greedy_repeats_are_computed_once(self):
        include = ["--include-path", os.path.join(support.SOURCE, "tests/fixtures/jobs")]
        self.evaluate("greedy", tasks="sums_three_times", extra=include)
        repeated = [json.loads(line)["resps"] for line in support.newest_samples(self.path("greedy"))["sums_three_times"].decode().splitlines()]
        single = [json.loads(line)["resps"] for line in self.samples["demo_sums"].decode().splitlines()]
        self.assertEqual(repeated, [[3 * responses[0]] for responses in single])
        computed = support.newest_results(self.path("greedy"))["evalmpi"]
        self.assertLess(computed["tokens_computed"], 1.1 * computed["tokens_distinct"])
        self.evaluate("greedy", tasks="demo_sums")
        self.assertEqual(support.newest_results(self.path("greedy"))["evalmpi"]["tokens_computed"], 0, "equal answers have equal keys")

    def kill_after_records(self, arguments, ranks):
        """Starts the program and kills one rank with SIGKILL when the first records are in the logs."""
        output = arguments[arguments.index("-o") + 1]
        started = subprocess.Popen(self.command(arguments, ranks), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True)
        while started.poll() is None and support.bytes_in(os.path.join(output, "log")) < 20_000:
            time.sleep(0.005)  # the ranks need the cores
        for pid in support.processes_of(support.EVALMPI, output):
            os.kill(pid, signal.SIGKILL)
            break
        text = started.communicate(timeout=60)[0]
        self.assertNotEqual(started.returncode, 0, "it was to be killed, but ended: " + text)

    def test_a_killed_run_resumes_to_equal_tables(self):
        arguments = ["eval", *support.DEMO, "--tasks", ALL_TASKS, "-o", self.path("killed"), "--token-budget", "48"]
        self.kill_after_records(arguments + ["--dp", "2"], ranks=2)
        self.assertNotEqual(support.status(self.path("killed"))["state"], "complete")
        self.evaluate("killed", extra=["--dp", "1"])
        self.assert_equal_to_plain("killed")
        self.assertEqual(support.status(self.path("killed"))["state"], "complete")
        computed = support.newest_results(self.path("killed"))["evalmpi"]
        self.assertLess(computed["tokens_computed"], support.newest_results(self.path("plain"))["evalmpi"]["tokens_computed"])

    def test_a_resume_in_another_class_is_said_and_strict_undoes_it(self):
        arguments = ["eval", *support.DEMO, "--tasks", ALL_TASKS, "-o", self.path("classes"), "--token-budget", "48"]
        self.kill_after_records(arguments + ["--tp", "3", "--dp", "1"], ranks=3)
        done = self.evaluate("classes", extra=["--tp", "1", "--dp", "2"])
        self.assertRegex(done.stdout, r"mixed: \d+ chunks")
        for task, samples in support.newest_samples(self.path("classes")).items():
            for (a, _), (b, _) in zip(support.log_likelihoods(samples), support.log_likelihoods(self.samples[task])):
                self.assertLess(abs(a - b), 1e-4)
        done = self.evaluate("classes", extra=["--strict"])
        self.assertNotIn("mixed", done.stdout)
        self.assert_equal_to_plain("classes")


if __name__ == "__main__":
    unittest.main()
