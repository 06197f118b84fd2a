"""evalmpi fetch against a hub on this machine: layout, faults of every kind, what it says, and that eval reads the result."""
import json
import os
import stat
import subprocess
import unittest

import hub_server
import support

DEMO_MODEL = os.path.join(support.SOURCE, "configs/demo/model")
DEMO_DATA = os.path.join(support.SOURCE, "configs/demo/data")
DEMO_TASK = os.path.join(support.SOURCE, "configs/demo/tasks/demo_tavi.yaml")


def read(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return file.read()


def model_files():
    files = {name: read(DEMO_MODEL, name) for name in os.listdir(DEMO_MODEL)}
    return {**files, "pytorch_model.bin": b"\0" * 5000, "onnx/model.onnx": b"\0" * 2000, ".gitattributes": b"*\n", "README.md": b"# Demo\n"}


class Fetch(support.JobTest):
    def setUp(self):
        super().setUp()
        self.hub = hub_server.Hub()
        self.addCleanup(self.hub.close)
        self.hub.add("models", "made/demo", model_files())
        self.home = self.path("home")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        self.environment.update(HF_HOME=self.home, HF_ENDPOINT=self.hub.url, no_proxy="*")

    def fetch(self, *arguments, code=0):
        return self.run_program(["fetch", *arguments, "--retry-wait", "0"], code=code, env=self.environment)

    def repository(self, kind, name):
        return os.path.join(self.home, "hub", f"{kind}--" + name.replace("/", "--"))

    def snapshot(self, kind, name, revision="main"):
        return os.path.join(self.repository(kind, name), "snapshots", self.hub.commit(kind, name, revision))

    def check_layout(self, kind, name, files, paths, revision="main"):
        """As huggingface_hub lays a repository out: blobs by hash, relative links, a ref."""
        root, snapshot = self.repository(kind, name), self.snapshot(kind, name, revision)
        found = sorted(os.path.relpath(os.path.join(where, file), snapshot) for where, _, names in os.walk(snapshot) for file in names)
        self.assertEqual(found, sorted(paths))
        for path in paths:
            link = os.path.join(snapshot, path)
            self.assertEqual(os.readlink(link), "../" * path.count("/") + "../../blobs/" + hub_server.etag_of(files[path]))
            self.assertEqual(read(link), files[path])
        self.assertEqual(read(root, "refs", revision).decode(), self.hub.commit(kind, name, revision))
        self.assertEqual(sorted(os.listdir(os.path.join(root, "blobs"))), sorted({hub_server.etag_of(files[path]) for path in paths}))

    def test_model(self):
        files = model_files()
        done = self.fetch("made/demo")
        self.assertIn(self.snapshot("models", "made/demo"), done.stdout)
        wanted = os.listdir(DEMO_MODEL)
        self.check_layout("models", "made/demo", files, wanted)
        requests = len(self.hub.ranges)
        self.fetch("made/demo")
        self.assertEqual(len(self.hub.ranges), requests)  # nothing is fetched twice

    def test_shards_of_the_index(self):
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        files = {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode(), "consolidated.safetensors": b"c" * 3000,
                 "model-00001-of-00002.safetensors": b"1" * 3000, "model-00002-of-00002.safetensors": b"2" * 3001, "merges.txt": b"a b\n"}
        self.hub.add("models", "made/shards", files)
        self.hub.add("models", "made/shards", {**files, "config.json": b'{"v": 2}'}, revision="v2")
        self.fetch("made/shards", "--revision", "v2")
        wanted = [name for name in files if name != "consolidated.safetensors"]
        self.check_layout("models", "made/shards", {**files, "config.json": b'{"v": 2}'}, wanted, revision="v2")
        self.hub.add("models", "made/bin", {"config.json": b"{}", "pytorch_model.bin": b"x"})
        self.assertIn("safetensors", self.fetch("made/bin", code=66).stderr)

    def test_faults_are_overcome(self):
        for faults in (["drop"], ["drop", "drop", "503", "drop"], ["503", "429", "503"], ["short", "norange"], ["corrupt"], ["long"],
                       ["drop", "416"], ["drop", "norange"], ["drop", "corrupt"]):
            with self.subTest(faults=faults):
                subprocess.run(["rm", "-rf", self.home], check=True)
                self.hub.faults = {"model.safetensors": list(faults), "config.json": list(faults), "made/demo": ["503", "429"]}
                self.fetch("made/demo")
                self.assertEqual(self.hub.faults["model.safetensors"], [])
                self.check_layout("models", "made/demo", model_files(), os.listdir(DEMO_MODEL))

    def test_continues_where_it_ended(self):
        files = model_files()
        self.hub.faults = {"model.safetensors": ["drop"] + ["503"] * 99}
        self.assertIn("503", self.fetch("made/demo", code=69).stderr)
        self.assertFalse(os.path.exists(os.path.join(self.repository("models", "made/demo"), "refs")))  # not complete, so not named
        part = os.path.join(self.repository("models", "made/demo"), "blobs", hub_server.etag_of(files["model.safetensors"]) + ".incomplete")
        half = len(files["model.safetensors"]) // 2
        self.assertEqual(read(part), files["model.safetensors"][:half])
        self.assertIn(str(len(files["model.safetensors"]) - half), self.fetch("made/demo", "--dry-run").stdout)
        self.hub.faults, self.hub.ranges = {}, []
        self.fetch("made/demo")
        self.assertIn(("model.safetensors", f"bytes={half}-"), self.hub.ranges)
        self.check_layout("models", "made/demo", files, os.listdir(DEMO_MODEL))

    def test_what_stays_wrong_is_said(self):
        for fault, code, words in (("corrupt", 65, "hash"), ("503", 69, "503"), ("commit", 69, "commit"), ("429", 69, "limits")):
            with self.subTest(fault=fault):
                subprocess.run(["rm", "-rf", self.home], check=True)
                self.hub.faults = {"config.json": [fault] * 99}
                self.assertIn(words, self.fetch("made/demo", code=code).stderr)
                blobs = os.listdir(os.path.join(self.repository("models", "made/demo"), "blobs"))
                self.assertNotIn(hub_server.etag_of(model_files()["config.json"]), blobs)

    def test_tokens(self):
        self.hub.gated.add("made/demo")
        for message in (self.fetch("made/demo", code=69).stderr,):
            for word in ("gated", "licence", "HF_TOKEN", self.hub.url + "/made/demo", "401"):
                self.assertIn(word, message)
        os.makedirs(self.home, exist_ok=True)
        with open(os.path.join(self.home, "token"), "w", encoding="utf-8") as file:
            file.write("hf_wrongToken\n")
        message = self.fetch("made/demo", code=69).stderr
        self.assertIn("403", message)
        self.environment.update(HF_TOKEN=self.hub.token, EVALMPI_LOG_LEVEL="debug")
        self.hub.faults = {"model.safetensors": ["drop"]}
        done = self.fetch("made/demo")
        for text in (message, done.stdout, done.stderr):
            self.assertNotIn("Token", text.replace("HF_TOKEN", ""))
            self.assertNotIn("secret", text)
        self.assertEqual(self.hub.leaked, [])  # the storage is another server
        self.assertTrue(all(token == "Bearer " + self.hub.token for path, token in self.hub.requests if "/resolve/" in path))
        self.environment["HF_TOKEN"] = "a b"
        self.fetch("made/demo", code=2)

    def test_what_is_not_there(self):
        self.assertIn("does not exist, or is private", self.fetch("made/none", code=69).stderr)
        self.environment["HF_TOKEN"] = self.hub.token
        self.assertIn("made/none", self.fetch("made/none", code=66).stderr)
        self.assertIn("v9", self.fetch("made/demo", "--revision", "v9", code=66).stderr)
        self.fetch("../etc", code=2)
        self.fetch("made/demo", "--revision", "../x", code=2)
        self.fetch(code=2)
        self.fetch(self.folder, code=2)
        self.environment["HF_HUB_OFFLINE"] = "1"
        self.assertIn("HF_HUB_OFFLINE", self.fetch("made/demo", code=69).stderr)
        self.environment["HF_HUB_OFFLINE"] = "0"
        self.environment["HF_ENDPOINT"] = "http://127.0.0.1:1"
        self.assertIn("HF_ENDPOINT", self.fetch("made/demo", code=69).stderr)

    def test_hostile_lists(self):
        self.hub.add("models", "made/evil", {"../../evil.json": b"{}", "model.safetensors": b"x"})
        self.fetch("made/evil", code=65)
        self.hub.add("models", "made/evil", {"/etc/evil.json": b"{}", "model.safetensors": b"x"})
        self.fetch("made/evil", code=65)

    def test_dry_run_fetches_nothing(self):
        done = self.fetch("made/demo", "--dry-run")
        self.assertIn(f"{os.path.getsize(os.path.join(DEMO_MODEL, 'model.safetensors'))}  model.safetensors", done.stdout)
        self.assertEqual(self.hub.ranges, [])
        self.assertFalse(os.path.exists(os.path.join(self.home, "hub")))

    def test_datasets(self):
        readme = (b"---\nconfigs:\n- config_name: one\n  data_files:\n  - split: train\n    path: one/*.jsonl\n- config_name: two\n"
                  b"  data_files: two.jsonl\n---\n")
        files = {"README.md": readme, "one/a.jsonl": b'{"x": 1}\n', "one/b.jsonl": b'{"x": 2}\n' * 500, "two.jsonl": b'{"x": 3}\n', "big.bin": b"0" * 9999}
        self.hub.add("datasets", "made/data", files)
        self.fetch("--dataset", "made/data:one")
        self.check_layout("datasets", "made/data", files, ["README.md", "one/a.jsonl", "one/b.jsonl"])
        self.fetch("--dataset", "made/data")
        self.check_layout("datasets", "made/data", files, ["README.md", "one/a.jsonl", "one/b.jsonl", "two.jsonl"])
        self.assertIn("one, two", self.fetch("--dataset", "made/data:three", code=66).stderr)

    def test_parquet_copy_of_a_script(self):
        table = read(support.SOURCE, "tests/fixtures/data/hub/made/choices/Easy/test-00000-of-00001.parquet")
        self.hub.add("datasets", "made/scripted", {"scripted.py": b"raise SystemExit\n", "README.md": b"# x\n"})
        copy = {"Easy/test/0000.parquet": table, "Hard/test/0000.parquet": table + b" "}
        self.hub.add("datasets", "made/scripted", copy, revision="refs/convert/parquet")
        self.fetch("--dataset", "made/scripted:Easy")
        self.check_layout("datasets", "made/scripted", copy, ["Easy/test/0000.parquet"], revision="refs/convert/parquet")

    def test_files_are_as_open_as_the_umask_says(self):
        self.run_program(["fetch", "made/demo"], env=self.environment, umask=0o022)
        for name in ("config.json", "model.safetensors"):
            mode = os.stat(os.path.join(self.snapshot("models", "made/demo"), name)).st_mode
            self.assertEqual(stat.S_IMODE(mode), 0o644)

    def test_fetched_tasks_are_evaluated(self):
        """The demo's model and data from the hub give the demo's scores."""
        self.hub.add("datasets", "made/tavi", {"data/train.jsonl": read(DEMO_DATA, "tavi_train.jsonl"), "data/test.jsonl": read(DEMO_DATA, "tavi_test.jsonl")})
        with open(DEMO_TASK, encoding="utf-8") as file:
            task = file.read()
        start, end = task.index("dataset_path:"), task.index("output_type:")
        os.mkdir(self.path("tasks"))
        with open(self.path("tasks/hub_tavi.yaml"), "w", encoding="utf-8") as file:
            file.write((task[:start] + "dataset_path: made/tavi\n" + task[end:]).replace("task: demo_tavi", "task: hub_tavi"))
        include = ["--include-path", self.path("tasks")]
        arguments = ["eval", "--model", "made/demo", "--tasks", "hub_tavi", "--limit", "10", *include, "-o", self.path("run")]
        message = self.run_program(arguments, code=66, env=self.environment).stderr
        self.assertIn("evalmpi fetch made/demo", message)
        self.fetch("made/demo", "--tasks", "hub_tavi", *include)
        self.run_program(arguments, env=self.environment)
        self.evaluate("local", tasks="demo_tavi", extra=["--limit", "10"])
        scores = support.newest_results(self.path("run"))["results"]["hub_tavi"]
        expected = support.newest_results(self.path("local"))["results"]["demo_tavi"]
        self.assertEqual({key: value for key, value in scores.items() if key not in ("alias", "name")},
                         {key: value for key, value in expected.items() if key not in ("alias", "name")})


if __name__ == "__main__":
    unittest.main()
