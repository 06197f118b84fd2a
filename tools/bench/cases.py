"""What the comparison runs: tasks, shots, limits and the ratio that evalmpi is to reach."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    tasks: str
    num_fewshot: int | None  # None: what the task says
    limits: dict             # documents of each task, by the size of the model ("llama", "pythia")
    bar: float
    gen_kwargs: str = ""
    harness_tasks: str = ""  # a folder of the installed harness's own tasks, for --include-path of both


# The limits make the harness work for one to two minutes on two cores (MMLU: what the bar is set for).
CASES = [
    Case("mmlu 5-shot", "mmlu_anatomy,mmlu_formal_logic,mmlu_astronomy", 5, {"llama": 50, "pythia": 50}, 10),
    Case("hellaswag 10-shot", "hellaswag", 10, {"llama": 16, "pythia": 32}, 6),
    Case("hellaswag 0-shot", "hellaswag", 0, {"llama": 160, "pythia": 400}, 3.3),
    Case("arc_easy 25-shot", "arc_easy", 25, {"llama": 20, "pythia": 40}, 6),
    Case("gsm8k_cot", "gsm8k_cot", None, {"llama": 48, "pythia": 96}, 5, "max_gen_toks=64", "gsm8k"),
    Case("gsm8k 5-shot", "gsm8k", 5, {"llama": 48, "pythia": 96}, 1.5, "max_gen_toks=64"),
]
