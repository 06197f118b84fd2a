"""evalmpi score: the answers of a run, scored again without the model, give what the run gave, or what a changed task asks."""
import glob
import json
import os
import re
import shutil
import unittest

import support

TASKS = os.path.join(support.SOURCE, "configs/demo/tasks")


class Score(support.JobTest):
    def setUp(self):
        super().setUp()
        self.evaluate("run", extra=["--limit", "20"])

    def score(self, *arguments, tasks=TASKS, **options):
        return self.run_program(["score", self.path("run"), "--include-path", tasks, *arguments], **options)

    def test_gives_the_run_s_own_scores_and_samples(self):
        self.score("-o", self.path("again"))
        self.assertEqual(support.newest_samples(self.path("run")), support.newest_samples(self.path("again")))
        old, new = (support.newest_results(self.path(name)) for name in ("run", "again"))
        for key in ("results", "configs", "versions", "n-shot", "higher_is_better", "task_hashes"):
            self.assertEqual(old[key], new[key], key)

    def test_a_changed_filter_changes_the_score(self):
        tasks = self.path("tasks")
        shutil.copytree(TASKS, tasks)
        changed = 0
        for path in glob.glob(os.path.join(tasks, "*.yaml")):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            replaced = re.sub(r"regex_pattern: .*", 'regex_pattern: "(nothing like it)"', text)
            changed += replaced != text
            with open(path, "w", encoding="utf-8") as file:
                file.write(replaced)
        self.assertEqual(changed, 1)
        table = self.score("--tasks", "demo_sums", tasks=tasks).stdout
        self.assertRegex(table, r"exact_match\|↑  \| +0\|")
        self.assertRegex(self.score("--tasks", "demo_sums").stdout, r"exact_match\|↑  \| +1\|")

    def test_numbers_that_json_has_no_name_for(self):
        before = self.score("--tasks", "demo_sums").stdout
        for path in glob.glob(self.path("run/results_*.json")) + glob.glob(self.path("run/samples_demo_sums*")):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            with open(path, "w", encoding="utf-8") as file:
                if path.endswith(".jsonl"):
                    text = "".join(json.dumps({**json.loads(line), "extra": [float("nan"), "NaN \\", float("-inf")]}) + "\n" for line in text.splitlines())
                file.write(text.replace("{", '{"extra": NaN, ', 1))
        self.assertEqual(self.score("--tasks", "demo_sums").stdout, before)

    def test_what_is_no_sample_is_named(self):
        path = glob.glob(self.path("run/samples_demo_tavi*"))[0]
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        for damage, words in ((lambda line: line[: len(line) // 2], "demo_tavi"), (lambda line: '{"doc_id": 1}', ":3: not a sample"),
                              (lambda line: re.sub(r'"-?\d+\.\d+", "(True|False)"', '"x", "True"', line), ":3")):
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join([*lines[:2], damage(lines[2]), *lines[3:]]) + "\n")
            self.assertIn(words, self.score("--tasks", "demo_tavi", code=65).stderr)
        os.remove(path)
        self.assertIn("no samples of task demo_tavi", self.score("--tasks", "demo_tavi", code=66).stderr)


if __name__ == "__main__":
    unittest.main()
