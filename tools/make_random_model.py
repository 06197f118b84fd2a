#!/usr/bin/env python3
"""Makes a random-weight model folder for comparisons and benchmarks.

    tools/make_random_model.py llama DIR --tokenizer FOLDER --hidden 80 --heads 10 --kv-heads 5 --mlp 200

Needs transformers==4.57.6 and torch. The weights are wider than a fresh model's, so that answers differ clearly.
"""
import argparse
import os
import shutil

import torch
import transformers

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("family", choices=["llama", "gpt_neox"])
parser.add_argument("folder")
parser.add_argument("--tokenizer", required=True, help="folder whose tokenizer files are copied")
parser.add_argument("--hidden", type=int, default=80)
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--heads", type=int, default=10)
parser.add_argument("--kv-heads", type=int, default=5)
parser.add_argument("--mlp", type=int, default=200)
parser.add_argument("--vocab", type=int, default=50304)
parser.add_argument("--positions", type=int, default=2048)
parser.add_argument("--dtype", default="float32")
parser.add_argument("--tied", action="store_true")
parser.add_argument("--llama3-rope", action="store_true")
parser.add_argument("--shard-size", default="5GB")
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()

torch.manual_seed(args.seed)
sizes = dict(hidden_size=args.hidden, num_hidden_layers=args.layers, num_attention_heads=args.heads,
             intermediate_size=args.mlp, vocab_size=args.vocab, max_position_embeddings=args.positions,
             initializer_range=0.08, tie_word_embeddings=args.tied, bos_token_id=0, eos_token_id=0)
if args.family == "llama":
    if args.llama3_rope:
        sizes["rope_scaling"] = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                     original_max_position_embeddings=args.positions // 8)
    config = transformers.LlamaConfig(num_key_value_heads=args.kv_heads, **sizes)
    model = transformers.LlamaForCausalLM(config)
else:
    config = transformers.GPTNeoXConfig(**sizes)
    model = transformers.GPTNeoXForCausalLM(config)
model.to(getattr(torch, args.dtype)).save_pretrained(args.folder, max_shard_size=args.shard_size)
for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model"):
    path = os.path.join(args.tokenizer, name)
    if os.path.exists(path):
        shutil.copyfile(path, os.path.join(args.folder, name))
print(f"{args.folder}: {sum(p.numel() for p in model.parameters())} parameters")
