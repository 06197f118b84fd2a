"""Several models, adapters and shot counts in one job: each as if it ran alone, compared, resumed as a whole."""
import csv
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import time
import unittest

import support

TASKS = "demo_tavi,demo_sums"
FEW = ["--limit", "12"]
NAMES = ["model_0shot", "model_2shot", "model+first_0shot", "model+first_2shot"]


class Combinations(support.JobTest):
    def setUp(self):
        super().setUp()
        support.write_adapter(self.path("first"), seed=1)

    def evaluate_all(self, output, *extra, **options):
        return self.evaluate(output, tasks=TASKS, extra=["--adapter", f"none,{self.path('first')}", "--num-fewshot", "0,2", *FEW, *extra],
                             **options)

    def rows(self, output):
        with open(self.path(f"{output}/comparison.csv"), encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def tables(self, output, names=tuple(NAMES)):
        return {name: support.table_bytes(self.path(f"{output}/{name}")) for name in names}

    def computed(self, output, name):
        return support.newest_results(self.path(f"{output}/{name}"))["evalmpi"]["tokens_computed"]

    def test_each_is_what_it_is_alone(self):
        done = self.evaluate_all("all")
        self.assertEqual(sorted(name for name in os.listdir(self.path("all")) if os.path.isdir(self.path(f"all/{name}"))), sorted(NAMES))
        for name in NAMES:
            adapter = ["--adapter", self.path("first")] if "first" in name else []
            self.evaluate("alone", tasks=TASKS, extra=[*FEW, *adapter, "--num-fewshot", name[-len("0shot")]])
            self.assertEqual(support.table_bytes(self.path(f"all/{name}")), support.table_bytes(self.path("alone")), name)
            shutil.rmtree(self.path("alone"))
        tables = self.tables("all")
        self.assertEqual(len(set(tables.values())), 4, "two combinations gave the same results")
        self.check_comparison("all", done.stdout)
        self.check_weights_are_read_once("all")

    def check_comparison(self, output, printed):
        rows = self.rows(output)
        self.assertEqual([row["combination"] for row in rows], NAMES * (len(rows) // 4))
        keys = {(row["task"], row["metric"]) for row in rows}
        self.assertIn(("demo_tavi", "acc"), keys)
        self.assertIn(("demo_sums", "exact_match"), keys)
        for row in rows:
            results = support.newest_results(self.path(f"{output}/{row['combination']}"))["results"][row["task"]]
            self.assertEqual(float(row["value"]), results[f"{row['metric']},{row['filter']}"])
            self.assertEqual(float(row["stderr"]), results[f"{row['metric']}_stderr,{row['filter']}"])
            self.assertIn(f"|{row['combination']}", printed)
            ours, first = self.values(output, row), self.values(output, {**row, "combination": NAMES[0]})
            if row["combination"] == NAMES[0]:
                self.assertEqual((row["compared_with"], row["difference"], row["paired_stderr"]), ("", "", ""))
                continue
            differences = [a - b for a, b in zip(ours, first)]
            self.assertEqual(row["compared_with"], NAMES[0])
            self.assertAlmostEqual(float(row["difference"]), statistics.mean(differences), places=12)
            self.assertAlmostEqual(float(row["paired_stderr"]), statistics.stdev(differences) / math.sqrt(len(differences)), places=12)
        with open(self.path(f"{output}/comparison.md"), encoding="utf-8") as file:
            self.assertIn(file.read(), printed)

    def values(self, output, row):
        samples = support.newest_samples(self.path(f"{output}/{row['combination']}"))[row["task"]].decode().splitlines()
        return [json.loads(line)[row["metric"]] for line in samples if json.loads(line)["filter"] == row["filter"]]

    def check_weights_are_read_once(self, output):
        read = {}
        for name in NAMES:
            dump = subprocess.run(["h5dump", "-a", "/run/weight_bytes_read_by_rank_0", self.path(f"{output}/{name}/results.h5")],
                                  capture_output=True, text=True, check=True).stdout
            read[name] = int(dump.split("(0): ")[1].split()[0].strip('"'))
        self.assertGreater(read[NAMES[0]], 900_000)
        self.assertEqual((read[NAMES[1]], read[NAMES[3]]), (0, 0))
        self.assertGreater(read[NAMES[2]], 0)
        self.assertLess(read[NAMES[2]], read[NAMES[0]] / 10)

    def test_ranks_give_the_same(self):
        self.evaluate_all("all")
        self.evaluate_all("two", "--dp", "2", ranks=2)
        self.assertEqual(self.tables("two"), self.tables("all"))
        self.evaluate_all("three", "--tp", "3", ranks=3)
        for ours, others in zip(self.rows("three"), self.rows("all")):
            self.assertEqual(ours["combination"], others["combination"])
            self.assertEqual(ours["value"], others["value"])

    def test_a_restart_computes_what_is_missing(self):
        self.evaluate_all("all")
        tables = self.tables("all")
        self.evaluate_all("all")
        self.assertEqual([self.computed("all", name) for name in NAMES], [0, 0, 0, 0])
        shutil.rmtree(self.path(f"all/{NAMES[2]}"))
        self.evaluate_all("all")
        self.assertEqual([self.computed("all", name) > 0 for name in NAMES], [False, False, True, False])
        self.assertEqual(self.tables("all"), tables)
        # One of them alone stays where it is; one more is added beside them.
        self.evaluate("all", tasks=TASKS, extra=[*FEW, "--num-fewshot", "0"])
        self.assertEqual(self.computed("all", NAMES[0]), 0)
        self.evaluate("all", tasks=TASKS, extra=[*FEW, "--prompts", "zero_shot,one_shot"])
        self.assertEqual(self.computed("all", NAMES[0]), 0)
        self.assertGreater(self.computed("all", "model_1shot"), 0)

    def test_a_stopped_job_goes_on(self):
        self.evaluate_all("all")
        arguments = ["eval", *support.DEMO, "--tasks", TASKS, *FEW, "--adapter", f"none,{self.path('first')}", "--num-fewshot", "0,2",
                     "-o", self.path("stopped"), "--token-budget", "32"]
        started = subprocess.Popen(self.command(arguments), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while started.poll() is None and not os.path.exists(self.path(f"stopped/{NAMES[1]}/status.json")):
            time.sleep(0.002)  # the program needs the cores
        started.send_signal(signal.SIGTERM)
        text = started.communicate(timeout=60)[0]
        self.assertEqual(started.returncode, 75, text)
        status = support.status(self.path("stopped"))
        self.assertEqual((status["state"], status["combinations"], status["exit_code"]), ("stopped", 4, 75))
        self.assertLess(status["combinations_done"], 4)
        self.assertFalse(os.path.exists(self.path("stopped/comparison.csv")))
        self.evaluate_all("stopped")
        self.assertEqual(self.tables("stopped"), self.tables("all"))
        status = support.status(self.path("stopped"))
        self.assertEqual((status["state"], status["combinations_done"], status["exit_code"]), ("complete", 4, 0))

    def test_a_slip_is_known_before_anything_is_computed(self):
        model = support.DEMO[1]
        done = self.run_program(["eval", *support.DEMO, "--models", f"{model},{self.path('none')}", "--tasks", TASKS, "-o", self.path("x")],
                                code=66)
        self.assertIn(self.path("none"), done.stderr)
        self.assertFalse(os.path.exists(self.path("x")))
        self.assertIn("many", self.evaluate("x", extra=["--num-fewshot", "0,many"], code=2).stderr)
        self.assertFalse(os.path.exists(self.path("x")))

    def test_a_folder_of_one_run_is_not_mixed_with_those_of_several(self):
        self.evaluate("one", tasks="demo_sums", extra=FEW)
        done = self.evaluate("one", tasks="demo_sums", extra=[*FEW, "--num-fewshot", "0,1"], code=78)
        self.assertIn("a folder for each combination", done.stderr)

    def test_plan_shows_them(self):
        done = self.run_program(["plan", *support.DEMO, "--tasks", TASKS, *FEW, "--num-fewshot", "0,2"])
        self.assertIn("combination 1 of 2: model_0shot", done.stdout)
        self.assertIn("combination 2 of 2: model_2shot", done.stdout)

    def test_models_by_both_names(self):
        os.symlink(support.DEMO[1], self.path("other"))
        with open(self.path("job.yaml"), "w", encoding="utf-8") as file:
            file.write(f"model: nothing/here\ninclude_path: {support.DEMO[3]}\ntasks: [demo_sums]\nlimit: 3\nmax_hours: 1\n")
        self.run_program(["eval", self.path("job.yaml"), "--models", f"{support.DEMO[1]},{self.path('other')}", "-o", self.path("two")])
        rows = self.rows("two")
        self.assertEqual([row["combination"] for row in rows[:2]], ["model", "other"])
        self.assertEqual([float(row["difference"]) for row in rows if row["difference"]], [0.0] * (len(rows) // 2))


if __name__ == "__main__":
    unittest.main()
