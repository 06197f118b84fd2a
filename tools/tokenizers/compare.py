#!/usr/bin/env python3
"""Compares evalmpi's tokenizers with Hugging Face's on hostile strings, for every kind in tools/fixtures/tokenizer_kinds.py and
for the folders named: ids with and without special tokens, decoded text with and without them. Prints one line per tokenizer.

  python compare.py --program BUILD/tools/evalmpi_encode_texts [--texts 20000] [--kinds llama3_like,t5] [--folder DIR]...
  python compare.py --program ... --time FEW_SHOT_TEXT_FILE      also MB per second of processor time, both on one thread
  python compare.py --program ... --train TEXT_FILE --vocabulary 20000    the kinds trained on that text, as large as in use

Needs transformers 4.57.6 and tokenizers 0.22; make the program with `ninja evalmpi_encode_texts`."""

import argparse
import functools
import os
import pathlib
import random
import resource
import struct
import subprocess
import sys
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fixtures"))

import make_tokenizer_fixtures  # noqa: E402
import tokenizer_kinds  # noqa: E402
from tokenizers import trainers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

CODE = ["def f(x):\n    return x**2\n", "for(int i=0;i<n;++i){a[i]+=b->c;}", "SELECT * FROM t WHERE a<>'b';", "#include <vector>\n", "fn main() -> Result<(), E> {",
        "\\frac{a}{b} \\sum_{i=0}^{n}", "<div class=\"a\">&nbsp;</div>", "let x = `${a}`;", "// -*- c++ -*-", "$ rm -rf /tmp/*", "{\"a\": [1, 2.5e-3]}",
        "x = y if z else ~w @ v", "\tif (a && b || !c)\r\n", "%s %d\\n", "::<T>()", "|> |- [| |]", "\u03bbx.\u2200y\u2203z", "(a->b)<=>c", "/* */", "'''\"\"\""]
EMOJI = ["\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea", "1\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e007f",
         "\u263a", "\U0001f600"]
RIGHT_TO_LEFT = ["\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd", "\u202eabc\u202c", "\u0627\u0644\u0633\u0651\u064e\u0644\u0627\u0645\u064f", "\u200f\u200e"]
MARKS = ["e\u0301", "a\u0308\u0323", "\u0301", "o\u0302\u0301", "n\u0303", "\u0b95\u0bcd\u0bb7", "\u0e01\u0e33", "\u1100\u1161\u11a8", "Z\u0351\u036b\u0343", "\u0915\u094d\u0937"]
SPACES = [" ", "  ", "   ", " " * 8, " " * 40, "\n", "\n\n", "\r\n", "\t", "\t\t", "\u00a0", "\u3000", "\u2028", "\u200b", "\x0b", "\x85", "\ufeff", "\u1680", "\u2009"]
DIGITS = ["1", "12", "123", "1234567890" * 3, "3.14", "1,000", "\u0661\u0662\u0663", "\u00b2\u00bd", "\u2167", "\u0967", "0x1F", "1e-5", "\U0001d7d8", "\u3007"]
ODD = ["\ufffd", "\x00", "\x7f", "\x1f", "\u2581", "\u2581\u2581", "<0x41>", "<0xE2>", "\u0120", "\u0130", "\u00df", "\ufb01", "\u212b", "\u01c5", "\u03c2\u03a3", "\U0010ffff", "\ue000",
       "''", "``", "I'm", "don't", "we'll", "IT'S", "'\u017f", "...", "a.b", "don't do not", " .", " ,", " n't", "##ing", "</w>", "[UNK]", "--", "_"]
LETTERS = ["\u4f60\u597d", "\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f", "\u30ab\u30bf\u30ab\u30ca\u30fc", "\uc548\ub155", "\u043f\u0440\u0438\u0432\u0435\u0442", "\u1e9e", "caf\u00e9", "na\u00efve",
           "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e44\u0e17\u0e22", "\U00020000", "\U0001d400", "\U00010437", "\ua4d0", "\u16a0"]


def hostile_texts(count, tokens, seed=1):
    """`tokens`: the tokenizer's own special and added tokens, which appear inside the texts."""
    draw = random.Random(seed)
    words = make_tokenizer_fixtures.WORDS
    pools = [words, words, words, CODE, EMOJI, RIGHT_TO_LEFT, MARKS, SPACES, SPACES, DIGITS, ODD, LETTERS] + ([tokens, tokens] if tokens else [])
    texts = list(make_tokenizer_fixtures.strings()) + [t for pool in pools for t in pool]
    texts += [a + b for a in SPACES + ["a", ""] for b in tokens] + [b + a for a in SPACES + ["a", "\u0301"] for b in tokens]

    def scalar():
        plane = draw.choice([0, 0, 0, 0, 1, 1, 2, 3, 14, 15, 16])
        code = plane * 0x10000 + draw.randrange(0x10000)
        return chr(code) if not 0xD800 <= code < 0xE000 else "\ufffd"

    while len(texts) < count:
        kind = draw.randrange(10)
        if kind == 0:
            texts.append("".join(scalar() for _ in range(draw.randint(1, 12))))
        elif kind == 1:
            base = draw.randrange(0x0, 0x3300)
            texts.append("".join(draw.choice([chr(base + draw.randrange(64)), " "]) for _ in range(draw.randint(1, 20))))
        elif kind == 2:
            raw = bytes(draw.randrange(256) for _ in range(draw.randint(1, 16)))
            texts.append(raw.decode("utf-8", errors="replace"))
        elif kind == 3:
            texts.append(draw.choice(draw.choice(pools)) * draw.randint(2, 40))
        else:
            parts = [draw.choice(draw.choice(pools)) + draw.choice(["", "", " "]) for _ in range(draw.randint(1, 14))]
            texts.append("".join(parts))
    return [text.encode("utf-8", errors="replace").decode() for text in texts[:max(count, 1)]]


def pack(texts):
    encoded = [text.encode() for text in texts]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def user_seconds():
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def reference_rows(tokenizer, texts):
    """None where the reference panics."""
    backend = tokenizer._tokenizer
    backend.no_truncation()
    backend.no_padding()
    rows = []
    for text in texts:
        try:
            plain = backend.encode(text, add_special_tokens=False).ids
            ids = backend.encode(text, add_special_tokens=True).ids
        except BaseException as error:
            if type(error).__name__ != "PanicException" and not isinstance(error, Exception):
                raise
            rows.append(None)
            continue
        rows.append((plain, ids, tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True)))
    return rows


def read_rows(data):
    rows, at = [], 0

    def take(width):
        nonlocal at
        count = struct.unpack_from("<I", data, at)[0]
        chunk = data[at + 4:at + 4 + count * width]
        at += 4 + count * width
        return chunk

    while at < len(data):
        plain, ids = (list(struct.unpack("<%di" % (len(c) // 4), c)) for c in (take(4), take(4)))
        rows.append((plain, ids, take(1).decode(), take(1).decode(), take(1).decode()))
    return rows


def compare(name, folder, program, count, show):
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    texts = hostile_texts(count, sorted(tokenizer.get_added_vocab())[:40])
    expected = reference_rows(tokenizer, texts)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "texts").write_bytes(pack(texts))
        done = subprocess.run([program, str(folder), str(scratch / "texts"), str(scratch / "out")], capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name:16} exit code {done.returncode}: {done.stderr.strip()[:300]}", flush=True)
            return
        got = read_rows((scratch / "out").read_bytes())
    assert len(got) == len(texts)
    equal = [0] * 5
    panics = different = 0
    for text, want, have in zip(texts, expected, got):
        if want is None:
            panics += 1
            continue
        same = [want[i] == have[i] for i in range(4)] + [have[3].startswith(have[4])]
        equal = [a + b for a, b in zip(equal, same)]
        if not all(same) and different < show:
            different += 1
            print("  ", repr(text), same)
            for i in range(4):
                if not same[i]:
                    print("     want", repr(want[i])[:300], "\n     have", repr(have[i])[:300])
            if not same[4]:
                print("     decoded", repr(have[3])[:200], "\n     stream ", repr(have[4])[:200])
    total = len(texts) - panics
    print(f"{name:16} of {total}: ids {equal[0]}, with special tokens {equal[1]}, decoded {equal[2]}, skipping special {equal[3]}, "
          f"stream {equal[4]}" + (f"; the reference panics on {panics}" if panics else ""), flush=True)


def time_both(name, folder, program, path, rounds=5):
    prompts = [p for p in pathlib.Path(path).read_text().split("\x1e") if p]
    size = sum(len(p.encode()) for p in prompts) / 1e6
    backend = AutoTokenizer.from_pretrained(str(folder))._tokenizer
    theirs = []
    for _ in range(rounds):
        start = user_seconds()
        ids = sum(len(backend.encode(p).ids) for p in prompts)
        theirs.append(user_seconds() - start)
    with tempfile.TemporaryDirectory() as scratch:
        packed = pathlib.Path(scratch) / "texts"
        packed.write_bytes(pack(prompts))
        done = subprocess.run([program, "--time", str(folder), str(packed), str(rounds)], capture_output=True, text=True, check=True)
    ours = [line.split() for line in done.stdout.splitlines()]
    same = "equal" if int(ours[0][1]) == ids else "DIFFERENT"
    best = min(float(seconds) for seconds, _ in ours[1:])
    print(f"{name:16} {size:.2f} MB, {ids} ids ({same} count): evalmpi {size / best:.1f} MB/s warm, {size / float(ours[0][0]):.1f} cold; "
          f"tokenizers {size / min(theirs):.1f} MB/s", flush=True)


def train_on(path, vocabulary):
    """The kinds are made from the lines of this text and with so many tokens."""
    lines = pathlib.Path(path).read_text().replace("\x1e", "\n").splitlines(keepends=True)
    make_tokenizer_fixtures.corpus = tokenizer_kinds.corpus = lambda: iter(lines)
    for name in ("BpeTrainer", "WordPieceTrainer", "WordLevelTrainer", "UnigramTrainer"):
        make = functools.partial(lambda trainer, **keys: trainer(**{**keys, "vocab_size": vocabulary}), getattr(trainers, name))
        setattr(trainers, name, make)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--texts", type=int, default=20000)
    parser.add_argument("--kinds", default="all")
    parser.add_argument("--folder", action="append", default=[])
    parser.add_argument("--time")
    parser.add_argument("--train", help="train the kinds on this text")
    parser.add_argument("--vocabulary", type=int, default=20000, help="with --train")
    parser.add_argument("--show", type=int, default=3, help="how many differences to print for each tokenizer")
    parser.add_argument("--keep", help="write the tokenizers of the kinds here and reuse those that are there")
    given = parser.parse_args()
    if given.train:
        train_on(given.train, given.vocabulary)
    kinds = [make for make in tokenizer_kinds.KINDS if given.kinds == "all" or make.__name__ in given.kinds.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(given.keep or scratch)
        jobs = [(pathlib.Path(folder).name, folder) for folder in given.folder]
        for make in kinds:
            folder = root / make.__name__
            if not (folder / "tokenizer.json").exists():
                make_tokenizer_fixtures.write(folder, *make())
            jobs.append((make.__name__, folder))
        for name, folder in jobs:
            if given.texts > 0:
                compare(name, folder, given.program, given.texts, given.show)
            if given.time:
                time_both(name, folder, given.program, given.time)


if __name__ == "__main__":
    main()
