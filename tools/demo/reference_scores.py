#!/usr/bin/env python3
"""Condenses what lm-evaluation-harness said of the demo into tests/fixtures/jobs/demo_lm_eval.json.

    cd configs/demo/tasks
    lm_eval --model hf --model_args pretrained=../model,dtype=float32 --include_path . --device cpu --batch_size 8 \\
        --tasks demo_reverse,demo_tavi,demo_sums --output_path DIR --log_samples
    python ../../../tools/demo/reference_scores.py DIR

The file holds, per task, the metrics with standard errors and, per document and request, the hash of the prompt and
continuation, and the log-likelihood with its greedy flag or the generated text.
"""

import hashlib
import json
import pathlib
import sys

FIXTURE = pathlib.Path(__file__).parents[2] / "tests" / "fixtures" / "jobs" / "demo_lm_eval.json"


def answer(response):
    """lm-eval writes log-likelihoods as text: ["-0.5", "True"]."""
    if isinstance(response, list):
        return [round(float(response[0]), 6), str(response[1]) == "True"]
    return response


def sample(row):
    requests = []
    for name, response in zip(sorted(row["arguments"], key=lambda key: int(key.rsplit("_", 1)[1])), row["resps"]):
        prompt, second = row["arguments"][name]["arg_0"], row["arguments"][name]["arg_1"]
        text = prompt + "\0" + (second if isinstance(second, str) else "")
        requests.append([hashlib.sha256(text.encode()).hexdigest()[:16], answer(response[0])])
    return requests


def main():
    folder = pathlib.Path(sys.argv[1])
    results = json.loads(next(folder.rglob("results_*.json")).read_text(encoding="utf-8"))
    tasks = {}
    for task, metrics in sorted(results["results"].items()):
        rows = [json.loads(line) for line in
                next(folder.rglob(f"samples_{task}_*.jsonl")).read_text(encoding="utf-8").splitlines()]
        rows.sort(key=lambda row: row["doc_id"])
        tasks[task] = {"metrics": {name: value for name, value in metrics.items() if isinstance(value, float)},
                       "documents": [sample(row) for row in rows]}
    made_with = {name: results.get(name) for name in ("lm_eval_version", "transformers_version")}
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'"made_with": {json.dumps(made_with)}']
    for task, content in tasks.items():
        documents = ",\n  ".join(json.dumps(document) for document in content["documents"])
        lines.append(f'"{task}": {{"metrics": {json.dumps(content["metrics"])}, "documents": [\n  {documents}]}}')
    FIXTURE.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
