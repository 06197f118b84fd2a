"""Bad input: the documented exit code, one message on one rank, nothing half-written."""
import os
import shutil
import subprocess
import time
import unittest

import support

MODEL = os.path.join(support.SOURCE, "configs/demo/model")
TASKS = os.path.join(support.SOURCE, "configs/demo/tasks")


class BadInput(support.JobTest):
    def refuse(self, code, words, arguments, ranks=None):
        done = subprocess.run(self.command(arguments, ranks), cwd=self.folder, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        errors = [line for line in done.stderr.splitlines() if "evalmpi:" in line and "error: " in line]
        self.assertEqual(len(errors), 1, done.stderr)
        for word in words:
            self.assertIn(word, errors[0])
        self.assertEqual(self.published(), [])
        return errors[0]

    def published(self):
        names = [os.path.join(where, name) for where, _, files in os.walk(self.folder) for name in files]
        return [name for name in names if os.path.basename(name).startswith(("results", "samples", "."))]

    def evaluate_badly(self, code, words, ranks=None, model=MODEL, tasks="demo_tavi", extra=(), include=TASKS):
        arguments = ["eval", "--model", model, "--include-path", include, "--tasks", tasks, "-o", self.path("run"), *extra]
        return self.refuse(code, words, arguments, ranks)

    def model_copy(self):
        copy = self.path("model")
        shutil.copytree(MODEL, copy)
        return copy

    def test_usage(self):
        self.refuse(2, ["unknown option --limt", "--limit"], ["eval", "--limt", "3"])
        self.refuse(2, ["unknown command evil", "eval"], ["evil"])
        self.refuse(2, ["--model is missing"], ["eval", "--tasks", "x"])
        self.evaluate_badly(2, ["--tp 0"], extra=["--tp", "0"])
        self.evaluate_badly(2, ["--tp x"], extra=["--tp", "x"])
        self.evaluate_badly(2, ["--pp 2", "not built yet"], extra=["--pp", "2"])
        self.evaluate_badly(2, ["--dtype bfloat16"], extra=["--device", "cpu", "--dtype", "bfloat16"])
        self.evaluate_badly(2, ["--limit"], extra=["--limit", "0"])
        self.evaluate_badly(2, ["--token-budget"], extra=["--token-budget", "none"])

    def test_layout_that_does_not_fit_says_what_does(self):
        self.evaluate_badly(2, ["tp 9"], extra=["--tp", "9", "--dp", "9"], ranks=2)

    def test_job_file(self):
        job = self.path("job.yaml")
        for text, words in [("model: x\ntaks: y\n", [":2", "taks", "tasks"]), ("model: [\n", [":"]), ("- a\n", ["mapping"]),
                            ("tp: {a: 1}\n", [":1", "tp"])]:
            with open(job, "w", encoding="utf-8") as file:
                file.write(text)
            self.refuse(2, ["job.yaml", *words], ["eval", job])
        self.refuse(66, ["none.yaml"], ["eval", self.path("none.yaml")])

    def test_tasks(self):
        self.evaluate_badly(65, ["demo_tawi", "demo_tavi"], tasks="demo_tawi")
        include = self.path("tasks")
        os.mkdir(include)
        with open(os.path.join(include, "bad.yaml"), "w", encoding="utf-8") as file:
            file.write("task: bad\ndataset_path: json\n  oops: [\n")
        self.evaluate_badly(65, ["bad.yaml", ":3"], tasks="bad", include=include)
        with open(os.path.join(include, "bad.yaml"), "w", encoding="utf-8") as file:
            file.write("task: bad\ndataset_path: json\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text: q\n"
                       "doc_to_target: a\ndoc_to_choice: [a, b]\nprocess_docs: !function utils.process\n")
        self.evaluate_badly(65, ["bad", "utils.process"], tasks="bad", include=include)

    def test_data(self):
        include = self.path("tasks")
        shutil.copytree(TASKS, include)
        self.evaluate_badly(66, ["tavi_"], include=include)
        data = os.path.join(self.folder, "data")
        shutil.copytree(os.path.join(support.SOURCE, "configs/demo/data"), data)
        with open(os.path.join(data, "tavi_test.jsonl"), "a", encoding="utf-8") as file:
            file.write('{"tavi": \n')
        self.evaluate_badly(65, ["tavi_test.jsonl", "201"], include=include)
        with open(os.path.join(include, "csv.yaml"), "w", encoding="utf-8") as file:
            file.write("task: long_row\ndataset_path: csv\ndataset_kwargs: {data_files: {test: rows.csv}}\ntest_split: test\n"
                       "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_target: a\ndoc_to_choice: [a, b]\n")
        with open(os.path.join(include, "rows.csv"), "w", encoding="utf-8") as file:
            file.write("q,a\nwhat,0\nlong,1,2\n")
        self.evaluate_badly(65, ["rows.csv", "3"], tasks="long_row", include=include)

    def test_model_folder(self):
        self.evaluate_badly(66, ["none"], model=self.path("none"))
        copy = self.model_copy()
        os.remove(os.path.join(copy, "config.json"))
        self.evaluate_badly(66, ["config.json"], model=copy)

    def test_model_files(self):
        for ranks in (None, 2):
            copy = self.model_copy()
            weights = os.path.join(copy, "model.safetensors")
            size = os.path.getsize(weights)
            os.truncate(weights, size - 1000)
            self.evaluate_badly(65, ["model.safetensors"], model=copy, ranks=ranks)
            os.truncate(weights, 0)
            self.evaluate_badly(65, ["model.safetensors"], model=copy, ranks=ranks)
            os.remove(weights)
            self.evaluate_badly(66, ["model.safetensors"], model=copy, ranks=ranks)
            shutil.rmtree(copy)

    def test_tensors_that_do_not_fit(self):
        copy = self.model_copy()
        config = os.path.join(copy, "config.json")
        with open(config, encoding="utf-8") as file:
            text = file.read()
        for before, after, words in [('"num_hidden_layers": 3', '"num_hidden_layers": 4', ["layers.3"]),
                                     ('"intermediate_size": 256', '"intermediate_size": 257', ["257", "256"]),
                                     ('"LlamaForCausalLM"', '"MambaForCausalLM"', ["MambaForCausalLM", "LlamaForCausalLM"])]:
            self.assertIn(before, text)
            with open(config, "w", encoding="utf-8") as file:
                file.write(text.replace(before, after))
            self.evaluate_badly(65, words, model=copy)

    def test_output(self):
        with open(self.path("run"), "w", encoding="utf-8") as file:
            file.write("a file")
        self.evaluate_badly(73, ["run"])

    def test_another_model_in_the_same_folder(self):
        self.evaluate("run", tasks="demo_sums", extra=["--limit", "2"])
        copy = self.model_copy()
        with open(os.path.join(copy, "config.json"), "a", encoding="utf-8") as file:
            file.write("\n")
        done = self.run_program(["eval", "--model", copy, "--include-path", TASKS, "--tasks", "demo_sums", "-o", self.path("run")],
                                code=78)
        self.assertIn("model_digest", done.stderr)

    def test_two_runs_in_one_folder(self):
        first = subprocess.Popen(self.command(["eval", *support.DEMO, "--tasks", support.ALL_TASKS, "-o", self.path("run"),
                                               "--token-budget", "8"]),
                                 cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while first.poll() is None and not os.path.exists(self.path("run/output.lock")):
            time.sleep(0.005)  # the run needs the cores
        self.evaluate_badly(73, [str(first.pid)])
        first.communicate(timeout=100)
        self.assertEqual(first.returncode, 0)

    @unittest.skipIf(os.geteuid() != 0, "mounting a small tmpfs needs root")
    def test_full_disk(self):
        os.mkdir(self.path("small"))
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", self.path("small")], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("mount is not allowed here: " + mounted.stderr.decode().strip())
        try:
            output = self.path("small/run")
            arguments = ["eval", *support.DEMO, "--tasks", support.ALL_TASKS, "-o", output]
            self.refuse(74, ["No space left"], arguments)
            subprocess.run(["mount", "-o", "remount,size=64m", self.path("small")], check=True)
            self.run_program(arguments)
            self.evaluate("plain")
            self.assertEqual(support.newest_samples(output), support.newest_samples(self.path("plain")))
        finally:
            subprocess.run(["umount", "-l", self.path("small")], check=True)


if __name__ == "__main__":
    unittest.main()
