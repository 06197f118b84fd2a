#!/usr/bin/env python3
"""Makes the demo: data, tokenizer and a tiny Llama that masters its tasks.

    python tools/demo/make_demo.py [--out configs/demo] [--steps N]

Needs torch, transformers and tokenizers; evalmpi itself needs none of them. One fixed seed and one thread, so that
a second run on the same machine gives the same files. About ten minutes on one core.
"""

import argparse
import json
import math
import pathlib
import random
import time

import tokenizers
import torch
import transformers
from demo_data import MAKERS, key, text_and_target

SEED = 20
TEST_DOCUMENTS = 200
FEWSHOT_DOCUMENTS = 40
SEQUENCE_TOKENS = 256
BATCH = 24
VOCABULARY = 401  # not divisible by 2 or 3: every sharded run splits it unevenly
END = "<|endoftext|>"
WORD_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def make_splits(folder):
    """Writes <task>_train.jsonl and <task>_test.jsonl; returns the keys of the test documents per task."""
    folder.mkdir(parents=True, exist_ok=True)
    test_keys = {}
    for task, make in MAKERS.items():
        rng = random.Random(f"{SEED}-{task}")
        documents = {}
        while len(documents) < TEST_DOCUMENTS + FEWSHOT_DOCUMENTS:
            document = make(rng)
            documents.setdefault(key(task, document), document)
        ordered = list(documents.values())
        for split, part in (("test", ordered[:TEST_DOCUMENTS]), ("train", ordered[TEST_DOCUMENTS:])):
            text = "".join(json.dumps(document) + "\n" for document in part)
            (folder / f"{task}_{split}.jsonl").write_text(text, encoding="utf-8")
        test_keys[task] = set(list(documents)[:TEST_DOCUMENTS])
    return test_keys


def training_document(rng, task, test_keys):
    while True:
        document = MAKERS[task](rng)
        if key(task, document) not in test_keys[task]:
            return text_and_target(task, document)


def make_tokenizer(folder, test_keys):
    rng = random.Random(f"{SEED}-tokenizer")
    corpus = ["".join(training_document(rng, task, test_keys)) for _ in range(3000) for task in MAKERS]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(WORD_PATTERN), behavior="isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END,
              "clean_up_tokenization_spaces": False, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    assert tokenizer.get_vocab_size() == VOCABULARY, tokenizer.get_vocab_size()
    return tokenizer


def training_row(rng, tokenizer, test_keys):
    """SEQUENCE_TOKENS + 1 token ids and the weight of each as a target: answers count fully, prompts little,
    because most of a prompt is random. Rows are few-shot prompts: documents of one task, a blank line between."""
    ids, weights = [], []
    while len(ids) <= SEQUENCE_TOKENS:
        task = rng.choice(list(MAKERS))
        ids.append(0)
        weights.append(0.0)
        for shot in range(rng.choice([1, 1, 2, 3, 4, 6])):
            prompt, target = training_document(rng, task, test_keys)
            pieces = [("\n\n" if shot else "") + prompt, target]
            # Tokenised as one text, as an evaluation does; the offsets tell which tokens belong to the answer.
            encoding = tokenizer.encode("".join(pieces))
            ids += encoding.ids
            weights += [1.0 if begin >= len(pieces[0]) else 0.05 for begin, _ in encoding.offsets]
        # The answer ends: a blank line follows.
        blank = tokenizer.encode("\n\n").ids
        ids += blank
        weights += [1.0] * len(blank)
    return ids[:SEQUENCE_TOKENS + 1], weights[:SEQUENCE_TOKENS + 1]


def learning_rate(step, steps):
    warm = min(1.0, (step + 1) / 60)
    return 3e-3 * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def train(tokenizer, test_keys, steps):
    torch.manual_seed(SEED)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=512, rope_theta=10000.0, rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=None, attention_bias=False)
    model = transformers.LlamaForCausalLM(config)
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05)
    rng = random.Random(f"{SEED}-training")
    start = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        rows = [training_row(rng, tokenizer, test_keys) for _ in range(BATCH)]
        ids = torch.tensor([row[0] for row in rows])
        weights = torch.tensor([row[1] for row in rows])[:, 1:]
        logits = model(ids[:, :-1]).logits
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        loss = (losses * weights.flatten()).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            answers = (weights == 1.0).flatten()
            print(f"step {step} loss on answers {losses[answers].mean().item():.4f} "
                  f"{time.monotonic() - start:.0f} s", flush=True)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parents[2] / "configs" / "demo")
    parser.add_argument("--steps", type=int, default=1200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    test_keys = make_splits(options.out / "data")
    tokenizer = make_tokenizer(options.out / "model", test_keys)
    model = train(tokenizer, test_keys, options.steps)
    # As released models: bfloat16 on disk, computed in float32.
    model.to(torch.bfloat16).save_pretrained(options.out / "model", safe_serialization=True)


if __name__ == "__main__":
    main()
