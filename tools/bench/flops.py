"""The least work that answers a set of requests, counted as tools/bench/workload.cpp counts it."""
import json
import os


def model_sizes(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    return {"hidden": config["hidden_size"], "layers": config["num_hidden_layers"], "query": heads * head_dim,
            "key": (config.get("num_key_value_heads") or heads) * head_dim, "mlp": config["intermediate_size"],
            "mlp_matrices": 2 if config["model_type"] == "gpt_neox" else 3, "vocab": config["vocab_size"]}


def least_work(sequences):
    """sequences: (input tokens, target rows at their end). Every distinct prefix once, the head on distinct rows."""
    work = {"naive_tokens": 0, "distinct_tokens": 0, "attended_positions": 0, "target_rows": 0}
    before, is_target = [], []
    for inputs, targets in sorted((list(inputs), targets) for inputs, targets in sequences):
        shared = 0
        for mine, other in zip(inputs, before):
            if mine != other:
                break
            shared += 1
        length = len(inputs)
        work["naive_tokens"] += length
        work["distinct_tokens"] += length - shared
        work["attended_positions"] += (length * (length + 1) - shared * (shared + 1)) // 2
        is_target = is_target[:shared] + [False] * (length - shared)
        for row in range(length - targets, length):
            work["target_rows"] += not is_target[row]
            is_target[row] = True
        before = inputs
    return work


def flops(sizes, work):
    """Multiplications and additions of linears, attention's two products, and head."""
    parameters = 2 * sizes["hidden"] * (sizes["query"] + sizes["key"]) + sizes["mlp_matrices"] * sizes["hidden"] * sizes["mlp"]
    return (2 * parameters * sizes["layers"] * work["distinct_tokens"]
            + 4 * sizes["query"] * sizes["layers"] * work["attended_positions"]
            + 2 * sizes["hidden"] * sizes["vocab"] * work["target_rows"])
