"""evalmpi generate and logprobs: transformers' answers and log-probabilities for the lines of a file, in any form, layout and
number of attempts, and what is wrong with a line said at its place."""
import gzip
import json
import os
import shutil
import signal
import subprocess
import time
import unittest

import support

with open(os.path.join(support.SOURCE, "tests/fixtures/jobs/files.json"), encoding="utf-8") as file:
    FIXTURE = json.load(file)
PLAIN = [case for case in FIXTURE["generate"] if "messages" not in case["input"]]


class FileTest(support.JobTest):
    def setUp(self):
        super().setUp()
        self.model = os.path.join(support.SOURCE, "configs/demo/model")

    def use_chat_template(self):
        self.model = self.path("model")
        shutil.copytree(os.path.join(support.SOURCE, "configs/demo/model"), self.model)
        with open(os.path.join(self.model, "chat_template.jinja"), "w", encoding="utf-8") as file:
            file.write(FIXTURE["chat_template"])

    def write(self, lines, name="input.jsonl"):
        with open(self.path(name), "w", encoding="utf-8") as file:
            for line in lines:
                file.write((line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)) + "\n")
        return self.path(name)

    def call(self, command, output, lines, *extra, name="input.jsonl", **options):
        path = self.write(lines, name) if lines is not None else self.path(name)
        return self.run_program([command, "--model", self.model, "--input", path, "-o", self.path(output), *extra], **options)

    def outputs(self, output):
        with open(os.path.join(self.path(output), "outputs.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def output_bytes(self, output):
        with open(os.path.join(self.path(output), "outputs.jsonl"), "rb") as file:
            return file.read()

    def generate(self, output, lines, *extra, **options):
        self.call("generate", output, lines, *extra, **options)
        return self.outputs(output)

    def assert_close(self, found, expected):
        for key, value in expected.items():
            if isinstance(value, float):
                self.assertAlmostEqual(found[key], value, delta=2e-5 * max(1, abs(value)), msg=key)
            elif key == "token_logprobs":
                for a, b in zip(found[key], value, strict=True):
                    self.assertAlmostEqual(a, b, delta=1e-4)
            elif key == "continuations":
                for a, b in zip(found[key], value, strict=True):
                    self.assert_close(a, b)
            else:
                self.assertEqual(found[key], value, key)


class Answers(FileTest):
    def test_plain_lines_and_conversations_as_transformers_generates(self):
        self.use_chat_template()
        lines = [{**case["input"], "id": f"line {i}"} for i, case in enumerate(FIXTURE["generate"])]
        found = self.generate("out", lines, "--tokens")
        for i, (line, case) in enumerate(zip(found, FIXTURE["generate"], strict=True)):
            with self.subTest(case["input"]):
                self.assertEqual((line["line"], line["id"]), (i + 1, f"line {i}"))
                expected = dict(case["expected"], completion_tokens=len(case["expected"]["token_ids"]))
                self.assertEqual({key: line[key] for key in expected}, expected)

    def test_openai_batch(self):
        self.use_chat_template()
        lines, expected = [], []
        for i, case in enumerate(FIXTURE["generate"]):
            body = {"model": "demo", "temperature": 0, "max_tokens": len(case["expected"]["token_ids"])}
            is_chat = "messages" in case["input"]
            body.update({"messages": case["input"]["messages"]} if is_chat else {"prompt": case["input"].get("prompt", case["input"].get("text"))})
            lines.append({"custom_id": f"request {i}", "method": "POST", "url": "/v1/chat/completions" if is_chat else "/v1/completions", "body": body})
            expected.append(case["expected"])
        lines.append({"custom_id": "two", "method": "POST", "url": "/v1/completions",
                      "body": {"prompt": [line["body"]["prompt"] for line in lines[:2]], "temperature": 0, "stop": "####", "max_tokens": 4}})
        found = self.generate("out", lines, "--output-file", self.path("copy.jsonl"))
        for i, (line, wanted) in enumerate(zip(found, expected)):
            body = line["response"]["body"]
            self.assertEqual((line["id"], line["custom_id"], line["error"]), (f"evalmpi-{i + 1}", f"request {i}", None))
            self.assertEqual((line["response"]["status_code"], body["created"], body["model"]), (200, 0, "demo"))
            choice, = body["choices"]
            if "messages" in lines[i]["body"]:
                self.assertEqual((body["object"], choice["message"]["role"]), ("chat.completion", "assistant"))
                text = choice["message"]["content"]
            else:
                self.assertEqual(body["object"], "text_completion")
                text = choice["text"]
            self.assertTrue(text.startswith(wanted["text"]), (text, wanted["text"]))
            count = len(wanted["token_ids"])
            self.assertEqual(body["usage"], {"prompt_tokens": wanted["prompt_tokens"], "total_tokens": wanted["prompt_tokens"] + count,
                                             "completion_tokens": count})
        both = found[-1]["response"]["body"]
        self.assertEqual([choice["index"] for choice in both["choices"]], [0, 1])
        self.assertEqual(both["usage"]["prompt_tokens"], sum(line["response"]["body"]["usage"]["prompt_tokens"] for line in found[:2]))
        with open(self.path("copy.jsonl"), "rb") as file:
            self.assertEqual(file.read(), self.output_bytes("out"))

    def test_what_is_not_built_is_said_in_the_line_s_result(self):
        def line(name, **body):
            return {"custom_id": name, "method": "POST", "url": "/v1/completions", "body": {"prompt": "a", "max_tokens": 2, "temperature": 0, **body}}
        bad = {"logit_bias": {"5": 1}, "response_format": {"type": "json_object"}, "stream": True, "logprobs": 3, "echo": True,
               "temperature": "hot", "n": 0, "surprise": 1, "presence_penalty": 0.5, "prompt": [[1], "x", {}], "max_tokens": 0}
        lines = [line("fine", stream=False, logit_bias={}, user="me", presence_penalty=0, n=1)]
        lines += [line(key, **{key: value}) for key, value in bad.items()]
        lines.append({"custom_id": "embed", "method": "POST", "url": "/v1/embeddings", "body": {"input": "a"}})
        lines.append({"custom_id": "long", "method": "POST", "url": "/v1/completions", "body": {"prompt": "a b " * 400}})
        lines.append({"custom_id": "many", "method": "POST", "url": "/v1/completions", "body": {"prompt": "a", "n": 2, "temperature": 0}})
        lines.append({"custom_id": "picture", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}})
        found = self.generate("out", lines)
        self.assertIsNone(found[0]["error"])
        for asked, line in zip(lines[1:], found[1:], strict=True):
            self.assertEqual((line["custom_id"], line["response"]["status_code"], line["response"]["body"]), (asked["custom_id"], 400, None))
            self.assertEqual(line["error"]["error"]["code"], 400)
        for key, line in zip(bad, found[1:]):
            self.assertEqual(line["error"]["error"]["param"], key)
            self.assertIn(key, line["error"]["error"]["message"])
        self.assertIn("512 positions", found[-3]["error"]["error"]["message"])
        self.assertEqual(support.status(self.path("out"))["state"], "complete")

    def test_draws_belong_to_the_line_and_its_seed(self):
        prompt = PLAIN[0]["input"]["prompt"]
        drawn = {"prompt": prompt, "temperature": 3.0, "max_tokens": 12}
        found = self.generate("out", [drawn, drawn, {**drawn, "seed": 5}, {**drawn, "seed": 5}, {**drawn, "seed": 6}, {**drawn, "n": 3}, {**drawn, "top_k": 1}])
        texts = [line.get("text") for line in found]
        self.assertNotEqual(texts[0], texts[1], "equal lines are draws of their own")
        self.assertEqual(texts[2], texts[3], "unless they have a seed")
        self.assertNotEqual(texts[2], texts[4])
        self.assertEqual(len({choice["text"] for choice in found[5]["choices"]}), 3)
        self.assertEqual(texts[6], self.generate("greedy", [{**drawn, "temperature": 0}])[0]["text"])
        other = self.generate("seed", [drawn, {**drawn, "seed": 5}], "--seed", "9")
        self.assertNotEqual(other[0]["text"], texts[0])
        self.assertEqual(other[1]["text"], texts[2])
        command = self.generate("command", [{"prompt": prompt}] * 2, "--temperature", "3", "--max-tokens", "12")
        self.assertEqual([line["text"] for line in command], texts[:2])

    def test_files_of_other_kinds(self):
        prompts = [case["input"] for case in PLAIN if "until" in case["input"]]
        expected = [line["text"] for line in self.generate("plain", prompts)]
        with gzip.open(self.path("input.jsonl.gz"), "wt", encoding="utf-8") as file:
            file.write("\n\n".join(json.dumps(prompt) for prompt in prompts))
        self.assertEqual([line["text"] for line in self.generate("gzip", None, name="input.jsonl.gz")], expected)
        with open(self.path("input.jsonl"), encoding="utf-8") as file:
            self.run_program(["generate", "--model", self.model, "-i", "-", "-o", self.path("stdin")], stdin=file)
        self.assertEqual(self.output_bytes("stdin"), self.output_bytes("plain"))
        one = self.generate("text", ["Words: river paper lamp", "", "Words: a b"], "--stop", "\n", "--max-tokens", "5", name="input.txt")
        self.assertEqual([line["line"] for line in one], [1, 3])
        self.assertEqual(len(self.generate("some", prompts, "--limit", "2")), 2)
        self.run_program(["generate", "--model", self.model, "-i", self.path("input.jsonl"), "-o", self.path("answers.jsonl"), "--limit", "2"])
        with open(self.path("answers.jsonl"), "rb") as file:
            self.assertEqual(file.read(), self.output_bytes("some"))
        self.assertEqual(support.status(self.path("answers.jsonl.run"))["state"], "complete")

    def test_report_says_where_the_results_are(self):
        self.generate("run", [PLAIN[0]["input"]])
        for extra in ([], ["--rebuild"]):
            self.assertIn("not a run of tasks", self.run_program(["report", self.path("run"), *extra], code=2 if extra else 66).stderr)

    def test_dry_run_writes_nothing(self):
        done = self.call("generate", "out", [case["input"] for case in PLAIN], "--dry-run")
        self.assertIn("chunks", done.stdout)
        self.assertFalse(os.path.exists(self.path("out")))


class TooLong(FileTest):
    LONG = {"prompt": "river" + " river" * 599, "max_tokens": 4}

    def test_skip_truncate_error(self):
        short = {"prompt": "Words: a b", "max_tokens": 4}
        found = self.generate("skip", [short, self.LONG])
        self.assertIn("no room", found[1]["error"])
        self.assertEqual(found[0], self.generate("truncate", [short, self.LONG], "--too-long", "truncate")[0])
        self.assertEqual(self.outputs("truncate")[1]["prompt_tokens"], 508)
        done = self.call("generate", "error", [short, self.LONG], "--too-long", "error", code=65)
        self.assertIn("input.jsonl:2: the prompt has", done.stderr)
        self.assertIn("--too-long truncate", done.stderr)

    def test_an_answer_ends_where_the_positions_do(self):
        line, = self.generate("out", [{"prompt": [5] * 509, "max_tokens": 100, "ignore_eos": True}])
        self.assertEqual((line["completion_tokens"], line["finish_reason"]), (3, "length"))

    def test_of_a_continuation(self):
        self.call("logprobs", "out", [{"prompt": self.LONG["prompt"], "continuation": " x"}])
        self.assertIn("512", self.outputs("out")[0]["error"])
        self.call("logprobs", "cut", [{"prompt": self.LONG["prompt"], "continuation": " x"}], "--too-long", "truncate")
        self.assertEqual(self.outputs("cut")[0]["token_count"], 2)


class Scores(FileTest):
    def test_as_transformers_and_lm_eval(self):
        self.call("logprobs", "out", [case["input"] for case in FIXTURE["logprobs"]], "--tokens")
        for line, case in zip(self.outputs("out"), FIXTURE["logprobs"], strict=True):
            with self.subTest(case["input"]):
                self.assert_close(line, case["expected"])

    def test_token_ids_and_empty_texts(self):
        case = next(case for case in FIXTURE["logprobs"] if "text" in case["input"])
        ids = case["expected"]["token_ids"]
        self.call("logprobs", "out", [{"text": ids}, {"prompt": [0, *ids[:3]], "continuation": ids[3:]}, {"text": ""}], "--tokens")
        text, pair, nothing = self.outputs("out")
        self.assert_close(text, {key: case["expected"][key] for key in ("logprob", "token_count", "perplexity", "token_logprobs")})
        self.assertIsNone(text["bits_per_byte"])
        self.assert_close(pair, {"token_logprobs": case["expected"]["token_logprobs"][3:]})
        self.assertEqual((nothing["token_count"], nothing["perplexity"]), (0, None))


class SameBytes(FileTest):
    LINES = [case["input"] for case in PLAIN] + [{"prompt": "Words: a b", "temperature": 2.0, "n": 2, "max_tokens": 9}, {"prompt": "x", "max_tokens": 600}]

    def test_layouts(self):
        self.call("generate", "one", self.LINES)
        texts = [case["input"] for case in FIXTURE["logprobs"]]
        self.call("logprobs", "scores", texts, "--tokens", name="texts.jsonl")
        for name, extra, ranks in (("lanes", ["--threads-per-lane", "2"], None), ("budget", ["--token-budget", "37"], None), ("two", ["--dp", "2"], 2)):
            self.call("generate", name, None, *extra, ranks=ranks)
            self.assertEqual(self.output_bytes(name), self.output_bytes("one"), name)
            self.call("logprobs", "scores " + name, None, "--tokens", *extra, name="texts.jsonl", ranks=ranks)
            self.assertEqual(self.output_bytes("scores " + name), self.output_bytes("scores"), name)
        self.call("generate", "split", None, "--tp", "3", ranks=3)
        self.assertEqual([line.get("text") for line in self.outputs("split")], [line.get("text") for line in self.outputs("one")])

    def test_a_longer_file_computes_the_new_lines_only(self):
        self.call("generate", "out", self.LINES[:4])
        self.call("generate", "direct", self.LINES)
        self.call("generate", "out", self.LINES)
        self.assertEqual(self.output_bytes("out"), self.output_bytes("direct"))
        computed = [self.summary(name)["tokens_computed"] for name in ("out", "direct")]
        self.assertLess(computed[0], computed[1])
        self.call("generate", "out", self.LINES)
        self.assertEqual(self.summary("out")["tokens_computed"], 0)

    def test_killed_and_started_again(self):
        lines = [{"prompt": f"Words: river paper lamp {i}\nReversed:", "max_tokens": 200, "ignore_eos": True} for i in range(120)]
        self.call("generate", "whole", lines)
        arguments = ["generate", "--model", self.model, "--input", self.path("input.jsonl"), "-o", self.path("killed")]
        process = subprocess.Popen(self.command(arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        # Of some 100,000 bytes in eight records: one is there for certain.
        while self.logged("killed") < 30_000 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assertFalse(os.path.exists(self.path("killed/outputs.jsonl")))
        self.run_program([*arguments, "--dp", "2"], ranks=2)
        self.assertEqual(self.output_bytes("killed"), self.output_bytes("whole"))
        self.assertGreater(self.logged("killed", "attempt1"), 0)
        self.assertLess(self.logged("killed", "attempt1"), self.logged("whole") - 10_000, "what was there was not computed again")

    def logged(self, output, part=""):
        folder = self.path(output + "/log")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return sum(os.path.getsize(os.path.join(folder, name)) for name in names if part in name)

    def summary(self, output):
        with open(self.path(output + "/summary.json"), encoding="utf-8") as file:
            return json.load(file)


class BadInput(FileTest):
    def test_names_file_line_and_remedy(self):
        good = '{"prompt": "a"}'
        for command, line, words in (
                ("generate", "{", "input.jsonl:2"), ("generate", "[1]", "expected {\"prompt\""), ("generate", '{"id": 1}', "expected {\"prompt\""),
                ("generate", '{"prompt": 5}', "a text or a list of token ids"), ("generate", '{"prompt": "a", "text": "b"}', "both \"prompt\" and \"text\""),
                ("generate", '{"prompt": "a", "max_token": 5}', "did you mean max_tokens"), ("generate", '{"prompt": "a", "temperature": -1}', "temperature -1"),
                ("generate", '{"prompt": "a", "logit_bias": {"1": 2}}', "logit_bias"), ("generate", '{"prompt": "a", "n": 2}', "temperature above 0"),
                ("generate", '{"prompt": [99999]}', "vocabulary"), ("generate", '{"custom_id": 1, "url": "/v1/completions", "body": {}}', "custom_id"),
                ("generate", '{"messages": [{"content": "x"}]}', "message 0"), ("generate", '{"prompt": []}', "a text or a list of token ids"),
                ("logprobs", good, "continuation"), ("logprobs", '{"text": "a", "continuation": "b"}', "scored whole"),
                ("logprobs", '{"prompt": "a", "continuation": ""}', "no token of its own"), ("logprobs", '{"prompt": "a", "continuations": []}', "continuations"),
                ("logprobs", '{"prompt": [5], "continuation": "b"}', "token ids")):
            with self.subTest(line):
                first = good if command == "generate" else '{"text": "a"}'
                done = self.call(command, "out", [first, line], code=65)
                self.assertIn("input.jsonl:2", done.stderr)
                self.assertIn(words, done.stderr)
                self.assertFalse(os.path.exists(self.path("out/outputs.jsonl")))

    def test_options_and_files(self):
        self.assertIn("--input is missing", self.run_program(["generate", "--model", self.model], code=2).stderr)
        self.assertIn("no lines", self.call("generate", "out", [], code=65).stderr)
        self.call("generate", "out", None, name="missing.jsonl", code=66)
        self.assertIn("--too-long", self.call("generate", "out", ["x"], "--too-long", "maybe", name="a.txt", code=2).stderr)
        self.assertIn("--temperature", self.call("generate", "out", None, "--temperature", "-2", name="a.txt", code=2).stderr)
        self.assertIn("chat template", self.call("generate", "out", [{"messages": [{"role": "user", "content": "x"}]}], code=2).stderr)
        self.evaluate("eval", tasks="demo_sums", extra=["--limit", "2"])
        self.call("generate", "eval", None, name="a.txt", code=78)

    def test_on_two_ranks_one_message(self):
        done = self.call("generate", "out", ['{"prompt": "a"}', "{"], ranks=2, code=65)
        self.assertEqual(done.stderr.count("input.jsonl:2"), 1)
        done = self.call("generate", "out", ['{"prompt": "a"}', '{"prompt": [99999]}'], ranks=2, code=65)
        self.assertEqual(done.stderr.count("input.jsonl:2"), 1)


if __name__ == "__main__":
    unittest.main()
