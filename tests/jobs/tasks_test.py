"""`evalmpi tasks`: list, show and validate say what there is, what a task comes to, and what cannot run and why."""
import json
import os
import subprocess
import unittest

import support

TASKS = os.path.join(support.SOURCE, "configs/demo/tasks")
BODY = "dataset_path: json\ntest_split: test\ndoc_to_text: '{{q}}'\ndoc_to_target: a\n"


class Tasks(support.JobTest):
    def tasks(self, *arguments, code=0):
        return self.say("tasks", *arguments, code=code)

    def say(self, *arguments, code=0):
        done = subprocess.run(self.command(list(arguments)), cwd=self.folder, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done.stdout if code in (0, 1) else done.stderr

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def test_list(self):
        lines = self.tasks("list", "demo_*", "--include-path", TASKS).splitlines()
        self.assertGreaterEqual(len(lines), 3)
        sums = next(line for line in lines if line.startswith("demo_sums "))
        self.assertIn("generate_until", sums)
        self.assertIn("demo_sums.yaml", sums)
        listed = json.loads(self.tasks("list", "arc_easy", "--json"))
        self.assertEqual(listed[0]["output_type"], "multiple_choice")
        self.assertIn("ai2_arc", listed[0]["tags"])

    def test_lm_eval_spellings(self):
        groups = self.say("ls", "groups").splitlines()
        self.assertTrue(any(line.startswith("mmlu ") for line in groups))
        self.assertFalse(any(line.startswith(("arc_easy ", "ai2_arc ")) for line in groups))
        self.assertTrue(any(line.startswith("arc_easy ") for line in self.say("ls", "subtasks").splitlines()))
        self.assertTrue(any(line.startswith("ai2_arc ") for line in self.say("ls", "tags", "--include_path", TASKS).splitlines()))
        self.assertIn("expected tasks", self.say("ls", "models", code=2))
        checked = self.say("validate", "--tasks", "arc_easy,demo_sums,mmlu", "--include_path", TASKS)
        self.assertIn("(57 of 57 tasks)", checked)
        self.assertEqual([line.split()[0] for line in checked.splitlines()], ["arc_easy", "demo_sums", "mmlu"])
        self.assertIn("did you mean arc_easy", self.say("validate", "--tasks", "arc_esy", code=66))

    def test_show(self):
        shown = self.tasks("show", "demo_tavi", "--num-fewshot", "2", "--row", "1", "--include-path", TASKS)
        self.assertIn('"doc_to_text"', shown)
        self.assertIn("document 1 of", shown)
        self.assertIn("with 2 examples", shown)
        described = json.loads(self.tasks("show", "demo_tavi", "--num-fewshot", "2", "--json", "--include-path", TASKS))
        requests = described[0]["first_document"]["requests"]
        self.assertGreater(len(requests), 0)
        self.assertIn(requests[0]["context"], self.tasks("show", "demo_tavi", "--num-fewshot", "2", "--include-path", TASKS))
        # Without data the configuration is shown all the same, and a group shows its members.
        self.assertIn("no document", self.tasks("show", "arc_easy", "--data-root", self.folder))
        self.assertIn('"group": "mmlu"', self.tasks("show", "mmlu"))
        self.assertIn("nearest: arc_easy", self.tasks("show", "arc_esy", code=65))
        self.assertIn("there are list, show and validate", self.tasks("shw", code=2))

    def test_validate(self):
        self.write("tasks/good.yaml", "task: good\n" + BODY)
        self.assertIn("ready", self.tasks("validate", self.path("tasks/good.yaml")))
        self.assertIn("1", self.tasks("validate", self.path("tasks")))
        self.write("tasks/needs.yaml", "task: needs\nprocess_docs: !function tools.clean\n" + BODY)
        self.write("tasks/typo.yaml", "task: typo\ndoc_to_txt: x\n" + BODY)
        self.write("tasks/broken.yaml", "task: broken\nmetric_list: [\n")
        self.assertIn("tools.clean", self.tasks("validate", self.path("tasks/needs.yaml"), code=1))
        self.assertIn("unknown key doc_to_txt", self.tasks("validate", self.path("tasks/typo.yaml"), code=1))
        self.assertIn("broken.yaml:", self.tasks("validate", self.path("tasks/broken.yaml"), code=1))
        summary = self.tasks("validate", self.path("tasks"), "--report", self.path("report.json"), code=1)
        self.assertIn("tasks/tools.clean", summary)
        with open(self.path("report.json"), encoding="utf-8") as file:
            report = json.load(file)
        self.assertEqual(report["totals"]["tasks"], {"ready": 1, "needs functions": 1, "unsupported": 2})
        self.assertIn("no such file", self.tasks("validate", self.path("nothing.yaml"), code=66))


if __name__ == "__main__":
    unittest.main()
