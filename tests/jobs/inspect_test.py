"""evalmpi inspect: its figures are those that the model's sizes give, and it says what cannot be run."""
import json
import os
import shutil
import subprocess
import unittest

import support

DEMO = os.path.join(support.SOURCE, "configs/demo/model")
FAMILIES = os.path.join(support.SOURCE, "tests/fixtures/families")


class Inspect(support.JobTest):
    def inspect(self, *arguments, code=0):
        return self.run_program(["inspect", *arguments], code=code)

    def facts(self, *arguments, code=0):
        return json.loads(self.inspect(*arguments, "--json", code=code).stdout)

    def copy(self, source=DEMO):
        copy = self.path("model")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy)
        return copy

    def refuse(self, words, *arguments, code=65):
        done = self.inspect(*arguments, code=code)
        lines = [line for line in done.stderr.splitlines() if "error: " in line]
        self.assertEqual(len(lines), 1, done.stderr)
        for word in words:
            self.assertIn(word, lines[0])
        return done.stdout

    def test_parameters_by_part(self):
        parameters = self.facts(DEMO)["parameters"]
        parts = {name: count for name, count in parameters["parts"].items() if count}
        self.assertEqual(parts, {"embedding": 401 * 128, "attention": 3 * (2 * 128 * 128 + 2 * 64 * 128),
                                 "mlp": 3 * 3 * 128 * 256, "norms": 7 * 128})
        self.assertEqual(parameters["total"], sum(parts.values()))
        self.assertEqual(parameters["active_per_token"], parameters["total"])

    def test_experts_count_as_active_by_those_that_a_token_takes(self):
        # No tokenizer lies there: that is missing input, said after the facts.
        parameters = self.facts(os.path.join(FAMILIES, "mixtral"), code=66)["parameters"]
        self.assertEqual(parameters["parts"]["experts"], 2 * 5 * 3 * 22 * 40)
        self.assertEqual(parameters["parts"]["routers"], 2 * 5 * 40)
        self.assertEqual(parameters["total"] - parameters["active_per_token"], 2 * 3 * 3 * 22 * 40)

    def test_layer_kinds(self):
        layers = self.facts(os.path.join(FAMILIES, "gemma3"), code=66)["layers"]
        self.assertEqual([(kind["layers"], kind["window"], kind["rotary"]["kind"], kind["rotary"]["theta"]) for kind in layers],
                         [("0-1", 23, "default", 10000.0), ("2", None, "linear", 1000000.0)])
        experts = {kind["layers"]: kind["experts"] for kind in self.facts(os.path.join(FAMILIES, "qwen2_moe"), code=66)["layers"]}
        self.assertEqual(experts, {"0, 2": True, "1": False})

    def test_shards_cover_the_model(self):
        facts = self.facts(DEMO, "--tp", "1,3", "--tp", "11")
        self.assertEqual([tp["tp"] for tp in facts["tp"]], [1, 3, 11])
        for tp in facts["tp"]:
            self.assertEqual(len(tp["ranks"]), tp["tp"])
            for key, whole in [("query_heads", 8), ("mlp", 256), ("vocabulary", 401)]:
                self.assertEqual(sum(rank[key] for rank in tp["ranks"]), whole)
            counts = [rank["parameters"] for rank in tp["ranks"]]
            self.assertEqual((min(counts), max(counts)), (tp["parameters_least"], tp["parameters_most"]))
            self.assertAlmostEqual(tp["balance"], sum(counts) / len(counts) / max(counts))
            for rank in tp["ranks"]:
                # Keys and values of 16 elements, float32, in panels of 16 positions; bfloat16 in the file.
                self.assertEqual(rank["key_value_bytes_per_1000_tokens"], 3 * rank["kv_heads"] * (16 + 16) * 4 * 1008)
                self.assertEqual(rank["bytes_read"], 2 * rank["parameters"])
        self.assertEqual(facts["tp"][0]["ranks"][0]["parameters"], facts["parameters"]["total"])

    def test_tokenizer_and_generation(self):
        facts = self.facts(DEMO)
        tokenizer = facts["tokenizer"]
        self.assertEqual((tokenizer["kind"], tokenizer["class"], tokenizer["tokens"], tokenizer["model_rows"]),
                         ("BPE", "PreTrainedTokenizerFast", 401, 401))
        self.assertEqual(tokenizer["pre_tokenizer"], "Sequence(Split, ByteLevel)")
        self.assertEqual(tokenizer["bos"], {"text": "<|endoftext|>", "id": 0})
        self.assertEqual(tokenizer["chat_templates"], [])
        self.assertEqual(facts["generation"]["eos_ids"], [0])
        copy = self.copy()
        with open(os.path.join(copy, "chat_template.jinja"), "w", encoding="utf-8") as file:
            file.write("{{ messages }}")
        self.assertEqual(self.facts(copy)["tokenizer"]["chat_templates"], ["default"])

    def test_adapter_targets(self):
        modules = {module["module"]: (module["out"], module["in"], module["count"]) for module in self.facts(DEMO)["adapters"]}
        self.assertEqual(modules, {"q_proj": (128, 128, 3), "k_proj": (64, 128, 3), "v_proj": (64, 128, 3), "o_proj": (128, 128, 3),
                                   "gate_proj": (256, 128, 3), "up_proj": (256, 128, 3), "down_proj": (128, 256, 3)})
        fused = {module["module"]: (module["out"], module["in"], module["count"])
                 for module in self.facts(os.path.join(FAMILIES, "gpt2"), code=66)["adapters"]}
        self.assertEqual(fused["c_attn"][:2], (120, 40))

    def test_every_tensor(self):
        tensors = self.facts(DEMO, "--tensors")["tensors"]
        self.assertEqual(len(tensors), 2 + 3 * 9)
        self.assertEqual(tensors[0], {"name": "embedding.weight", "shape": [401, 128], "source": "model.embed_tokens.weight",
                                      "source_shape": [401, 128], "dtype": "BF16", "file": "model.safetensors",
                                      "shard_rule": "vocabulary rows"})

    def test_text(self):
        text = self.inspect(DEMO, "--tp", "1,3", "--tensors").stdout
        for words in ["LlamaForCausalLM", "3 layers, hidden 128", "494,592", "BPE", "no chat template", "q_proj [128, 128] x 3",
                      "layers.2.mlp.down.weight", "MLP columns", "BF16"]:
            self.assertIn(words, text)

    def test_families(self):
        for family in sorted(os.listdir(FAMILIES)):
            facts = self.facts(os.path.join(FAMILIES, family), "--tp", "3", code=66)
            self.assertEqual(sum(facts["parameters"]["parts"].values()), facts["parameters"]["total"], family)
            self.assertEqual(sum(kind["count"] for kind in facts["layers"]), facts["sizes"]["layers"])
            self.assertEqual(facts["files"]["left_out"], [], family)
            self.assertIn("tokenizer", facts["problem"])
            self.assertTrue(facts["adapters"], family)
            self.inspect(os.path.join(FAMILIES, family), code=66)

    def test_what_cannot_be_run(self):
        copy = self.copy()
        config = os.path.join(copy, "config.json")
        with open(config, encoding="utf-8") as file:
            text = file.read()
        for before, after, words in [("LlamaForCausalLM", "MambaForCausalLM", ["MambaForCausalLM", "LlamaForCausalLM"]),
                                     ('"hidden_act"', '"quantization_config": {"quant_method": "gptq"}, "hidden_act"', ["GPTQ"]),
                                     ('"num_hidden_layers": 3', '"num_hidden_layers": 4096, "num_local_experts": 4096', ["missing"])]:
            with open(config, "w", encoding="utf-8") as file:
                file.write(text.replace(before, after))
            self.refuse(words, copy)
        with open(config, "w", encoding="utf-8") as file:
            file.write(text.replace('"intermediate_size": 256', '"intermediate_size": 250'))
        self.assertIn("LlamaForCausalLM", self.refuse(["[256, 128]", "[250, 128]"], copy))

    def test_other_formats(self):
        copy = self.copy()
        weights = os.path.join(copy, "model.safetensors")
        os.remove(weights)
        self.refuse(["no model.safetensors"], copy, code=66)
        for name, words in [("pytorch_model.bin", ["pickle", "save_pretrained"]), ("model-q4.gguf", ["GGUF", "llama.cpp"])]:
            path = os.path.join(copy, name)
            with open(path, "wb") as file:
                file.write(b"GGUF")
            self.refuse([name, *words], copy)
            if name.endswith(".gguf"):
                self.refuse(["GGUF"], path)
            os.remove(path)

    def test_usage(self):
        self.refuse(["1 argument, MODEL"], code=2)
        self.refuse(["--tp 0"], DEMO, "--tp", "0", code=2)
        self.refuse(["--tp x"], DEMO, "--tp", "2,x", code=2)
        self.refuse(["--tensor", "--tensors"], DEMO, "--tensor", code=2)
        self.refuse(["no such folder"], "nobody/none", code=66)
        help_text = self.inspect("--help").stdout
        for words in ["--tensors", "--json", "adapters", "65"]:
            self.assertIn(words, help_text)

    def test_hub_id(self):
        snapshot = self.path("hub/models--org--demo/snapshots/abc")
        shutil.copytree(DEMO, snapshot)
        os.makedirs(self.path("hub/models--org--demo/refs"))
        with open(self.path("hub/models--org--demo/refs/main"), "w", encoding="utf-8") as file:
            file.write("abc")
        environment = dict(os.environ, HF_HUB_CACHE=self.path("hub"))
        done = subprocess.run(self.command(["inspect", "org/demo", "--json"]), env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["folder"], snapshot)


if __name__ == "__main__":
    unittest.main()
