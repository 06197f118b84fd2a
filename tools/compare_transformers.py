#!/usr/bin/env python3
"""Loads what `evalmpi convert` writes with transformers, and compares the logits.

    compare_transformers.py EVALMPI [NAME...]

For every model of tests/fixtures/families: the folder converted to float32 against the original (and the last hidden states of
its bare spelling, where the head is tied); for every adapter of tests/fixtures/adapters: the folder that it is merged into against PEFT's
merge_and_unload() and against PEFT's model with the adapter beside it. Exit code 1 where a difference is above 1e-4 of the
largest value. Needs transformers, peft and torch.
"""

import pathlib
import subprocess
import sys
import tempfile
import warnings

import torch
import transformers
from peft import PeftModel

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "tests/fixtures"
TOKENS = 24
LIMIT = 1e-4


def load(folder, kind=transformers.AutoModelForCausalLM):
    model, facts = kind.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    strangers = facts["missing_keys"] or facts["mismatched_keys"]
    assert not strangers, f"{folder}: {strangers}"
    return model.eval()


def outputs(model):
    """Logits, or the last hidden states of a model without a head."""
    ids = torch.arange(TOKENS)[None] * 7 % model.config.vocab_size
    with torch.no_grad():
        return model(ids)[0][0].float()


def convert(evalmpi, source, output, *options):
    subprocess.run([evalmpi, "convert", source, output, "--dtype", "float32", *options], check=True, capture_output=True)
    return outputs(load(output))


def compare(name, expected, found):
    largest = (found - expected).abs().max().item()
    is_close = largest <= LIMIT * max(1.0, expected.abs().max().item())
    print(f"{name:<44} largest difference {largest:.2e} {'equal bits' if torch.equal(expected, found) else ''}"
          f"{'' if is_close else 'TOO LARGE'}")
    return is_close


def check_family(evalmpi, folder, work):
    expected = outputs(load(folder))
    yield compare(folder.name, expected, convert(evalmpi, folder, work / "full"))
    bare = subprocess.run([evalmpi, "convert", folder, work / "bare", "--names", "bare"], capture_output=True, check=False)
    if bare.returncode == 0:
        hidden = outputs(next(load(folder).children()))
        yield compare(folder.name + ", bare names", hidden, outputs(load(work / "bare", transformers.AutoModel)))


def check_adapter(evalmpi, folder, work):
    base = FIXTURES / (folder / "base.txt").read_text().strip()
    found = convert(evalmpi, base, work / "merged", "--adapter", folder)
    adapted = PeftModel.from_pretrained(load(base), folder).eval()
    beside = outputs(adapted)
    yield compare(folder.name + ", beside", beside, found)
    merged = outputs(adapted.merge_and_unload())
    if (merged - beside).abs().max() > 0.01:
        print(f"{folder.name}: PEFT's merged model is not its own: a table that embedding and head share was changed for both")
    else:
        yield compare(folder.name + ", merged", merged, found)


def main():
    evalmpi, names = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    good = []
    for kind, check in [("families", check_family), ("adapters", check_adapter)]:
        for folder in sorted((FIXTURES / kind).iterdir()):
            if not names or folder.name in names:
                with tempfile.TemporaryDirectory() as work:
                    good += check(evalmpi, folder, pathlib.Path(work))
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
