"""evalmpi report: the table of a run from its files, and the files from its logs."""
import csv
import glob
import io
import json
import os
import shutil
import unittest

import support

KEYS = ("results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "task_hashes", "max_length", "config")


def table_of(text):
    return [line for line in text.splitlines() if line.startswith("|")]


class Report(support.JobTest):
    def setUp(self):
        super().setUp()
        self.model = self.path("model")
        shutil.copytree(support.DEMO[1], self.model)
        self.printed = self.run_eval("run").stdout

    def run_eval(self, output, *extra, limit=12, **options):
        arguments = ["--model", "model", *support.DEMO[2:], "--tasks", support.ALL_TASKS, "--limit", str(limit), "--quiet"]
        return self.run_program(["eval", *arguments, "-o", self.path(output), *extra], **options)

    def report(self, *arguments, **options):
        return self.run_program(["report", *arguments], **options)

    def published(self, folder):
        results = support.newest_results(folder)
        return {key: results[key] for key in KEYS}, support.newest_samples(folder), support.table_bytes(folder)

    def delete_results(self, folder):
        for pattern in ("results*", "samples_*"):
            for path in glob.glob(os.path.join(folder, pattern)):
                os.remove(path)

    def test_formats(self):
        folder = self.path("run")
        self.assertGreater(len(table_of(self.printed)), 5)
        shown = self.report(folder).stdout
        self.assertEqual(table_of(shown), table_of(self.printed))
        self.assertIn(shown.splitlines()[0], self.printed.splitlines(), "the heading")
        self.assertEqual(self.report(folder, "--format", "markdown").stdout.splitlines(), table_of(self.printed))
        published = support.newest_results(folder)["results"]
        self.assertEqual(json.loads(self.report(folder, "--format", "json").stdout)["results"], published)
        rows = list(csv.DictReader(io.StringIO(self.report(folder, "--format", "csv").stdout)))
        for row in rows:
            self.assertEqual(float(row["value"]), published[row["task"]][f"{row['metric']},{row['filter']}"])
        self.assertEqual({row["task"] for row in rows}, set(published))
        self.assertIn("--format xml", self.report(folder, "--format", "xml", code=2).stderr)

    def test_files_are_made_again_from_the_logs_without_weights(self):
        folder = self.path("run")
        before = self.published(folder)
        self.delete_results(folder)
        self.assertIn("--rebuild", self.report(folder, code=66).stderr)
        for weights in glob.glob(os.path.join(self.model, "*.safetensors")):
            os.remove(weights)
        elsewhere = self.path("elsewhere")
        os.mkdir(elsewhere)
        rebuilt = self.run_program(["report", folder, "--rebuild"]).stdout
        self.assertEqual(table_of(rebuilt), table_of(self.printed))
        self.assertIn(rebuilt.splitlines()[0], self.printed.splitlines(), "the heading")
        self.assertEqual(self.published(folder), before)
        self.assertEqual(support.status(folder)["state"], "complete")
        self.assertEqual(support.temporary_files(folder), [])
        os.rename(os.path.join(self.model, "tokenizer.json"), self.path("tokenizer.json"))
        self.assertIn("tokenizer.json", self.report(folder, "--rebuild", code=66).stderr)

    def test_the_last_attempt_s_options_count(self):
        folder = self.path("run")
        printed = self.run_eval("run", "--num-fewshot", "1", limit=5).stdout
        before = self.published(folder)
        self.delete_results(folder)
        self.assertEqual(table_of(self.report(folder, "--rebuild").stdout), table_of(printed))
        self.assertEqual(self.published(folder), before)

    def test_an_incomplete_run_says_what_is_missing(self):
        folder = self.path("run")
        for path in glob.glob(os.path.join(folder, "log", "*.log")):
            os.truncate(path, os.path.getsize(path) - 40)
        os.remove(os.path.join(folder, "results.h5"))
        error = self.report(folder, "--rebuild", code=66).stderr
        self.assertRegex(error, r"not complete: .*demo_\w+ lacks \d+ of \d+ answers")
        self.assertFalse(os.path.exists(os.path.join(folder, "results.h5")))
        with open(os.path.join(folder, "status.json"), encoding="utf-8") as file:
            status = json.load(file)
        with open(os.path.join(folder, "status.json"), "w", encoding="utf-8") as file:
            json.dump({**status, "state": "stopped"}, file)
        self.assertIn('"stopped"', self.report(folder, code=66).stderr)
        self.run_eval("run")
        self.assertEqual(table_of(self.report(folder).stdout), table_of(self.printed))

    def test_a_flipped_bit_is_named_and_undone(self):
        folder = self.path("run")
        before = self.published(folder)
        path = os.path.join(folder, "results.h5")
        with open(path, "r+b") as file:
            data = bytearray(file.read())
            data[len(data) // 2] ^= 4
            file.seek(0)
            file.write(data)
        self.assertIn("results.h5: damaged", self.report(folder, code=65).stderr)
        self.report(folder, "--rebuild")
        self.assertEqual(self.published(folder), before)

    def test_several_combinations(self):
        folder = self.path("both")
        self.run_eval("both", "--num-fewshot", "0,1")
        with open(os.path.join(folder, "comparison.md"), encoding="utf-8") as file:
            markdown = file.read()
        with open(os.path.join(folder, "comparison.csv"), encoding="utf-8") as file:
            table = file.read()
        self.assertEqual(self.report(folder, "--format", "markdown").stdout, markdown)
        self.assertEqual(self.report(folder, "--format", "csv").stdout, table)
        self.assertEqual(list(json.loads(self.report(folder, "--format", "json").stdout)), ["model_0shot", "model_1shot"])
        for name in ("comparison.csv", "comparison.md", "model_0shot/results.h5"):
            os.remove(os.path.join(folder, name))
        self.assertIn("model_0shot: no results.h5", self.report(folder, code=66).stderr)
        self.assertEqual(self.report(folder, "--rebuild", "--format", "csv").stdout, table)
        with open(os.path.join(folder, "comparison.md"), encoding="utf-8") as file:
            self.assertEqual(file.read(), markdown)

    def test_what_is_no_run(self):
        self.assertIn("no such folder", self.report(self.path("absent"), code=66).stderr)
        self.assertIn("not the folder of a run", self.report(self.model, code=66).stderr)
        self.assertIn("no manifest.json", self.report(self.model, "--rebuild", code=66).stderr)


if __name__ == "__main__":
    unittest.main()
