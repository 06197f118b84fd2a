"""Chat templates in a run: prompts as conversations, what the results say about them, and options that contradict."""
import hashlib
import json
import os
import shutil
import unittest

import support

TEMPLATE = """{{ bos_token }}{% for message in messages %}
[{{ message.role }}]{{ message.content }}[/]
{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}
"""


class Chat(support.JobTest):
    def setUp(self):
        super().setUp()
        self.model = self.path("model")
        shutil.copytree(os.path.join(support.SOURCE, "configs/demo/model"), self.model)

    def write_template(self, name, text):
        path = os.path.join(self.model, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def chat(self, *extra, code=0, tasks="demo_reverse", shots="2", **options):
        return self.run_program(["eval", "--model", self.model, *support.DEMO[2:], "--tasks", tasks, "--num-fewshot", shots, "--limit", "3",
                                 "-o", self.path("out"), *extra], code=code, **options)

    def prompts(self):
        lines = support.newest_samples(self.path("out"))["demo_reverse"].decode().splitlines()
        return [json.loads(line)["arguments"]["gen_args_0"]["arg_0"] for line in lines]

    def test_prompts_and_results(self):
        self.write_template("chat_template.jinja", TEMPLATE)
        self.chat("--apply_chat_template", "--system_instruction", "Be exact.")
        results = support.newest_results(self.path("out"))
        self.assertEqual(results["chat_template"], TEMPLATE)
        self.assertEqual(results["chat_template_sha"], hashlib.sha256(TEMPLATE.encode()).hexdigest())
        self.assertEqual(results["system_instruction_sha"], hashlib.sha256(b"Be exact.").hexdigest())
        self.assertIs(results["fewshot_as_multiturn"], True)
        turns = self.prompts()
        for prompt in turns:
            self.assertTrue(prompt.startswith("<|endoftext|>[system]Be exact.[/]\n[user]"), prompt)
            self.assertEqual((prompt.count("[user]"), prompt.count("[assistant]")), (3, 3))
            self.assertTrue(prompt.endswith("[assistant]"))
        self.chat("--apply_chat_template", "--fewshot_as_multiturn", "false", "--system_instruction", "Be exact.")
        self.assertIs(support.newest_results(self.path("out"))["fewshot_as_multiturn"], False)
        for prompt in self.prompts():
            self.assertEqual((prompt.count("[user]"), prompt.count("[assistant]")), (1, 1))

    def test_without_a_template_nothing_changes(self):
        self.chat("--system-instruction", "Be exact.")
        self.assertIsNone(support.newest_results(self.path("out"))["chat_template"])
        for prompt in self.prompts():
            self.assertTrue(prompt.startswith("Be exact."), prompt)

    def test_names(self):
        self.write_template("chat_template.jinja", TEMPLATE)
        self.write_template("additional_chat_templates/short.jinja", "{{ messages[-1].content }}")
        self.chat("--apply-chat-template=short", shots="0")
        self.assertEqual(support.newest_results(self.path("out"))["chat_template"], "{{ messages[-1].content }}")
        self.assertIn("these are: default, short", self.chat("--apply-chat-template", "long", code=2).stderr)

    def test_contradictions_are_refused(self):
        self.assertIn("no chat template", self.chat("--apply-chat-template", code=2).stderr)
        self.assertIn("add --apply-chat-template", self.chat("--fewshot-as-multiturn", code=2).stderr)
        self.assertIn("add --apply-chat-template", self.chat("--chat-template-args", "a=1", code=2).stderr)

    def test_a_resume_keeps_the_day(self):
        self.write_template("chat_template.jinja", "{{ strftime_now('%Y-%m-%d %H:%M:%S') }}" + TEMPLATE)
        self.chat("--apply_chat_template")
        manifest_path = os.path.join(self.path("out"), "manifest.json")
        with open(manifest_path, encoding="utf-8") as file:
            manifest = json.load(file)
        manifest["created"] = "2001-02-03T04:05:06Z"
        with open(manifest_path, "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        self.chat("--apply_chat_template", env={**os.environ, "TZ": "UTC"})
        for prompt in self.prompts():
            self.assertTrue(prompt.startswith("2001-02-03 04:05:06"), prompt)

    def test_thinking(self):
        self.write_template("chat_template.jinja", TEMPLATE + "{% if enable_thinking %}<think>{% endif %}")
        thinks = ["--apply-chat-template", "--enable-thinking", "true"]
        self.assertIn("--think-end-token", self.chat(*thinks, code=2).stderr)
        self.assertIn("add --apply-chat-template", self.chat("--enable-thinking", "true", "--think-end-token", "x", code=2).stderr)
        self.assertIn("demo_reverse: --enable-thinking", self.chat(*thinks, "--think-end-token", "x", code=2).stderr)
        self.chat(*thinks, "--think-end-token", "</think>", tasks="demo_sums")
        samples = support.newest_samples(self.path("out"))["demo_sums"].decode().splitlines()
        for line in samples:
            self.assertTrue(json.loads(line)["arguments"]["gen_args_0"]["arg_0"].endswith("<think>"))

    def test_a_template_that_refuses_says_so(self):
        self.write_template("chat_template.jinja", "{{ raise_exception('Never.') }}")
        self.assertIn("Never.", self.chat("--apply-chat-template", code=65).stderr)


if __name__ == "__main__":
    unittest.main()
