"""evalmpi compare: two models, two layouts of one, two runs."""
import json
import os
import shutil
import struct
import unittest

import support

MODEL = support.DEMO[1]


class Compare(support.JobTest):
    def compare(self, *arguments, code):
        return self.run_program(["compare", *arguments], code=code)

    def facts(self, *arguments, code):
        return json.loads(self.compare(*arguments, "--json", code=code).stdout)

    def with_changed_weight(self):
        """A copy of the demo model in which one weight of the last norm is doubled."""
        copy = self.path("changed")
        shutil.copytree(MODEL, copy)
        path = os.path.join(copy, "model.safetensors")
        with open(path, "rb") as file:
            data = bytearray(file.read())
        length = struct.unpack("<Q", data[:8])[0]
        begin = 8 + length + json.loads(data[8:8 + length])["model.norm.weight"]["data_offsets"][0]
        bits = struct.unpack("<H", data[begin:begin + 2])[0]
        data[begin:begin + 2] = struct.pack("<H", bits + 0x80)  # bfloat16: the exponent's last bit
        with open(path, "wb") as file:
            file.write(data)
        return copy

    def test_two_models(self):
        changed = self.with_changed_weight()
        facts = self.facts(MODEL, changed, code=1)
        self.assertTrue(facts["differs"])
        self.assertEqual([tensor["name"] for tensor in facts["weights"] if tensor["differs"]], ["model.norm.weight"])
        self.assertEqual([layer["beyond_tolerance"] for layer in facts["outputs"]["hidden"]], [0, 0, 0, 0])
        self.assertGreater(facts["outputs"]["logits"]["max_absolute"], 0)
        self.assertGreater(facts["outputs"]["max_kl"], 0)
        text = self.compare(MODEL, changed, code=1).stdout
        for words in ["1 of other values", "model.norm.weight", "logits", "they differ"]:
            self.assertIn(words, text)
        shutil.copytree(MODEL, self.path("copy"))
        self.assertIn("equal within the tolerance", self.compare(MODEL, self.path("copy"), code=0).stdout)

    def test_prompts(self):
        changed = self.with_changed_weight()
        with open(self.path("prompts.txt"), "w", encoding="utf-8") as file:
            file.write("Tavi: mi lo\n\nreverse: abc\r\n")
        with open(self.path("same.jsonl"), "w", encoding="utf-8") as file:
            file.write('"Tavi: mi lo"\n{"prompt": "reverse: abc"}\n')
        with open(self.path("ids.jsonl"), "w", encoding="utf-8") as file:
            file.write('[5, 6, 7]\n{"ids": [8, 9]}\n{"text": "x"}\n')
        texts = self.facts(MODEL, changed, "--prompts", self.path("prompts.txt"), code=1)["outputs"]
        self.assertEqual(self.facts(MODEL, changed, "--prompts", self.path("same.jsonl"), code=1)["outputs"], texts)
        ids = self.facts(MODEL, changed, "--prompts", self.path("ids.jsonl"), code=1)["outputs"]
        self.assertGreater(texts["positions"], 4)
        self.assertGreaterEqual(ids["positions"], 6)
        self.assertNotEqual(ids["logits"], texts["logits"])
        for line, words in [("{}", ["prompt", ":1"]), ("[5, -1]", ["token id"]), ("[99999]", ["99999"]), ("", ["no prompts"])]:
            with open(self.path("bad.jsonl"), "w", encoding="utf-8") as file:
                file.write(line)
            error = self.compare(MODEL, changed, "--prompts", self.path("bad.jsonl"), code=65).stderr
            for word in words:
                self.assertIn(word, error)
        self.compare(MODEL, changed, "--prompts", self.path("missing.txt"), code=66)

    def test_two_layouts_of_a_model(self):
        self.assertIn("equal", self.compare(MODEL, MODEL, "--tp", "1", "--vs-tp", "1", code=0).stdout)
        facts = self.facts(MODEL, MODEL, "--tp", "1", "--vs-tp", "3", "--atol", "1e-4", code=0)
        self.assertNotIn("weights", facts)
        self.assertGreater(facts["outputs"]["logits"]["max_absolute"], 0, "another order of sums gives other bits")
        self.assertLess(facts["outputs"]["logits"]["max_absolute"], 1e-4)
        self.assertEqual(facts["outputs"]["argmax_flips"], 0)

    def test_two_runs(self):
        support.write_adapter(self.path("adapter"), seed=3)
        self.evaluate("before", tasks="demo_tavi,demo_sums", extra=["--limit", "20"])
        self.evaluate("after", tasks="demo_tavi,demo_sums", extra=["--limit", "20", "--adapter", self.path("adapter")])
        facts = self.facts(self.path("before"), self.path("after"), "--show", "20", code=1)
        self.assertEqual([task["task"] for task in facts["tasks"]], ["demo_sums", "demo_tavi"])
        metric = next(metric for metric in facts["tasks"][1]["metrics"] if metric["metric"] == "acc")
        values = [{row["doc_id"]: row["acc"] for row in map(json.loads, support.newest_samples(self.path(run))["demo_tavi"].splitlines())}
                  for run in ("before", "after")]
        only_before = sum(values[0][i] > values[1][i] for i in values[0])
        only_after = sum(values[0][i] < values[1][i] for i in values[0])
        self.assertGreater(only_before + only_after, 0, "the adapter changes no answer")
        self.assertEqual((metric["only_a"], metric["only_b"]), (only_before, only_after))
        self.assertAlmostEqual(metric["difference"], (only_before - only_after) / 20)
        self.assertEqual({flip["doc_id"] for flip in metric["flipped"]}, {i for i in values[0] if values[0][i] != values[1][i]})
        self.assertGreater(metric["mcnemar_p"], 0)
        text = self.compare(self.path("before"), self.path("after"), "--show", "1", code=1).stdout
        for words in ["McNemar p", "demo_tavi, none", "document", "they differ"]:
            self.assertIn(words, text)
        self.assertIn("equal", self.compare(self.path("before"), self.path("before"), code=0).stdout)

    def test_usage(self):
        for arguments, words in [([MODEL], ["A and B", "1 given"]), ([MODEL, MODEL, "--tp", "0"], ["--tp 0"])]:
            error = self.compare(*arguments, code=2).stderr
            for word in words:
                self.assertIn(word, error)
        os.mkdir(self.path("empty"))
        self.assertIn("neither a model", self.compare(self.path("empty"), MODEL, code=66).stderr)
        self.assertIn("--vs-tp", self.compare("--help", code=0).stdout)


if __name__ == "__main__":
    unittest.main()
