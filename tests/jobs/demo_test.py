"""The demo against lm-evaluation-harness's own run of it (tests/fixtures/jobs/demo_lm_eval.json)."""
import hashlib
import json
import os
import unittest

import support


def expected():
    with open(os.path.join(support.SOURCE, "tests/fixtures/jobs/demo_lm_eval.json"), encoding="utf-8") as file:
        return json.load(file)


class Demo(support.JobTest):
    def check_against_harness(self, folder):
        results = support.newest_results(folder)["results"]
        for task, reference in expected().items():
            if task == "made_with":
                continue
            for name, value in reference["metrics"].items():
                self.assertAlmostEqual(results[task][name], value, delta=1e-5, msg=f"{task} {name}")
            rows = sorted((json.loads(line) for line in support.newest_samples(folder)[task].decode().splitlines()),
                          key=lambda row: row["doc_id"])
            self.assertEqual(len(rows), len(reference["documents"]))
            for row, document in zip(rows, reference["documents"]):
                self.check_document(row, document)

    def check_document(self, row, document):
        self.assertEqual(len(row["arguments"]), len(document))
        for i, (prompt_hash, answer) in enumerate(document):
            arguments = row["arguments"][f"gen_args_{i}"]
            second = arguments["arg_1"] if isinstance(arguments["arg_1"], str) else ""
            self.assertEqual(hashlib.sha256((arguments["arg_0"] + "\0" + second).encode()).hexdigest()[:16], prompt_hash)
            response = row["resps"][i][0]
            if isinstance(answer, str):
                self.assertEqual(response, answer)
            else:
                self.assertAlmostEqual(float(response[0]), answer[0], delta=1e-4 + 1e-5 * abs(answer[0]))
                self.assertEqual(response[1] == "True", answer[1])

    def test_without_a_command(self):
        done = self.run_program([])
        with open(os.path.join(support.SOURCE, "README.md"), encoding="utf-8") as file:
            table = "".join(line.removeprefix("    ") for line in file if line.startswith("    |"))
        self.assertIn("|demo_tavi", table)
        self.assertIn(table, done.stdout)
        self.assertRegex(done.stdout, r"tokens: \d+ computed / \d+ distinct / \d+ naive")
        folder = os.path.join(self.folder, "runs", os.listdir(self.path("runs"))[0])
        self.check_against_harness(folder)
        self.assertEqual(support.status(folder)["state"], "complete")

    def test_on_three_ranks(self):
        self.run_program(["--tp", "3", "--dp", "1", "-o", self.path("run")], ranks=3)
        self.check_against_harness(self.path("run"))

    def test_other_job_by_environment(self):
        with open(self.path("job.yaml"), "w", encoding="utf-8") as file:
            file.write(f"model: {support.DEMO[1]}\ninclude_path: {support.DEMO[3]}\ntasks: [demo_sums]\nlimit: 3\n")
        done = self.run_program(["--quiet"], env={**os.environ, "EVALMPI_JOB": self.path("job.yaml")})
        self.assertNotIn("demo_tavi", done.stdout)
        self.assertTrue(os.listdir(self.path("runs"))[0].startswith("job-"))

    def test_help_and_plan(self):
        self.assertIn("--num-fewshot", self.run_program(["eval", "--help"]).stdout)
        self.assertIn("eval", self.run_program(["--help"]).stdout)
        done = self.run_program(["plan", *support.DEMO, "--tasks", support.ALL_TASKS, "--tp", "3"])
        self.assertRegex(done.stdout, r"demo_tavi +200 +800 ")

    def test_numbers_in_hdf5_are_those_of_the_samples(self):
        try:
            import h5py
        except ImportError:
            self.skipTest("h5py is not installed")
        self.evaluate("run")
        with h5py.File(self.path("run/results.h5")) as file:
            for task, samples in support.newest_samples(self.path("run")).items():
                logprobs = [value for value in file[f"tasks/{task}/requests/logprob"][:] if value == value]
                self.assertEqual(logprobs, [value for value, _ in support.log_likelihoods(samples)])


if __name__ == "__main__":
    unittest.main()
