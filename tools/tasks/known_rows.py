"""Made-up rows for tasks that call Python functions: from the fixtures of the functions (make_native_fixtures.py,
make_filter_fixtures.py, make_class_fixtures.py, make_ifeval_fixtures.py), and for a few folders whose columns neither functions nor templates
tell.
"""

import json
import os
import re
from pathlib import Path

from synthetic import text

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "task"


def read(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def keys_of(row):
    return sorted((name, *sorted(value)) if isinstance(value, dict) else (name,) for name, value in row.items())


def fixtures():
    found = {}
    for case in read("native") + read("ifeval"):
        if case["role"] == "aggregation":
            continue
        rows = found.setdefault(case["function"], (case["role"], []))[1]
        if not rows or keys_of(rows[0]) == keys_of(case["rows"][0]):  # one data set
            rows.extend(case["rows"])
    for case in read("filters"):
        documents = found.setdefault(case["function"], ("filter", []))[1]
        documents += [row[0] for row in case["rows"] if row[0] not in documents]
    found.update({case["class"]: ("class", case["rows"]) for case in read("classes")})
    return found


FIXTURES = fixtures()
KINDS = {"process_docs": "process_docs", "function": "filter", "class": "class"}


def kind_of(function):
    """Functions made for each subject of a set (process_law, filter_age) are of one kind."""
    return re.sub(r"^(process_docs|process|filter|process_results|doc_to_text)_.+", r"\1", function)


def with_replaced(value, old, new):
    if isinstance(value, str):
        return value.replace(old, new).replace(old.replace("_", " "), new.replace("_", " "))
    if isinstance(value, dict):
        return {key: with_replaced(inner, old, new) for key, inner in value.items()}
    return [with_replaced(inner, old, new) for inner in value] if isinstance(value, list) else value


def words(rng):
    return text(rng) or "plain words"


def bigbench(rng, _):
    targets = [f"{words(rng)} {k}" for k in range(rng.randrange(2, 5))]
    right = rng.randrange(len(targets))
    if rng.random() < 0.2:
        targets, right = [], None
    return {"inputs": words(rng), "multiple_choice_targets": targets, "multiple_choice_scores": [int(k == right) for k in range(len(targets))],
            "targets": [targets[right] if targets else "x"]}


def mmlu_prox(rng, subject):
    n = rng.randrange(3, 11)
    return {"question": words(rng), "category": rng.choice([subject, subject, subject, "none"]), "cot_content": words(rng),
            "answer": rng.choice("ABCJ"), **{f"option_{k}": words(rng) if k < n else None for k in range(10)}}


def true_first(rng, _):
    n = rng.randrange(2, 5)
    return {"question": words(rng), "mc1_targets": {"choices": [f"{words(rng)} {k}" for k in range(n)], "labels": [1] + [0] * (n - 1)}}


def winogender(rng, gender):
    people = [words(rng) + " a", words(rng) + " b"]
    return {"sentence": words(rng), "pronoun": rng.choice(["he", "she", "they"]), "gender": rng.choice([gender, gender, "none"]), "occupation": people[0],
            "participant": people[1], "label": rng.randrange(2)}


def indicparam(rng, language):
    subject = {"sanskrit_mix": "Sanskrit Mix", "gujarati": "Gujarati_surya"}.get(language, language.capitalize())
    return {"subject": rng.choice([subject, subject, "None"]), "question_text": words(rng), "correct_answer": rng.choice("abcd"),
            **{f"option_{k}": words(rng) for k in "abcd"}}


def open_book(rng, _):
    labels = list("ABCD")
    return {"id": words(rng), "question_stem": words(rng), "fact": rng.choice(["", words(rng), words(rng)]), "answer": rng.choice(labels),
            "choices": {"label": labels, "text": [words(rng) for _ in labels]}}


def passage(rng, _):
    return {"context": f"{words(rng)}\n{words(rng)}\n{words(rng)}", "question": words(rng), "answers": {"text": [words(rng)], "answer_start": [3]}}


def glianorex(rng, language):
    return {"question": words(rng), "options": {letter: words(rng) for letter in "ABCD"}, "answer_idx": rng.choice("ABCD"),
            "language": rng.choice([language[:2], language[:2], "de"])}


def click(rng, subject):
    options = [f"{words(rng)} {k}" for k in range(4)]
    names = {"history": ["KHB_1_2", "History_3"], "law": ["Law_7", "PSAT_4"], "kpop": ["Popular_1"]}.get(subject, [f"{subject.capitalize()}_3"])
    names = 4 * names + ["CSAT_korean_22_33", "CSAT_korean_20_11", "CSAT_korean_20_8", "TK_1_3", "TK_1_7", "Kedu_16_2", "PSE_korean_3"]
    return {"id": rng.choice(names), "paragraph": rng.choice(["", words(rng)]), "question": words(rng), "choices": options, "answer": rng.choice(options)}


def agieval(rng, _):
    marks = ["(A)", "B ", "C? ", "", "x "]
    return {"query": f"Q: {words(rng)} Answer Choices: (A)x", "choices": [mark + words(rng) for mark in marks], "gold": [rng.randrange(4)]}


def mmlu_pro(rng, _):
    right = rng.randrange(3)
    return {"question_id": rng.randrange(9999), "question": words(rng), "options": [f"{words(rng)} {k}" for k in range(rng.randrange(3, 11))],
            "answer": "ABC"[right], "answer_index": right, "cot_content": words(rng), "category": rng.choice(["law", "math"]), "src": "x"}


def quiz(rng, _):
    letters = list("ABCD")[:rng.randrange(2, 5)]
    return {"question": words(rng), "choices": {"label": letters, "text": [words(rng) for _ in letters]}, "answer": rng.choice(letters)}


# By the beginning of a function's path below the folder of tasks: a row, from the end of process_docs's name.
MADE = {
    "aradice/truthfulqa_mcq/": true_first, "bigbench/": bigbench, "click/": click, "glianorex/": glianorex,
    "indicparam/": indicparam, "mmlu_prox/": mmlu_prox, "noreval/noropenbookqa/": open_book, "noreval/norquad/": passage, "noreval/nrk_quiz_qa/": quiz,
    "score/agi_eval/": agieval, "score/mmlu_pro/": mmlu_pro, "winogender/": winogender}


def made_rows(names, rng, count):
    for key, path in names:
        make = next((make for start, make in MADE.items() if path.startswith(start)), None)
        if make is not None:
            processed = next((other.rpartition(".")[2] for name, other in names if name == "process_docs"), "")
            subject = re.sub(r"^(process_docs|process|filter|extract)_", "", processed).replace("_", " " if make is mmlu_prox else "_")
            return [make(rng, subject) for _ in range(count)]
    return []


def related(folder, other):
    """Folders of one data set: below one folder, or with one name but for an ending."""
    return folder.split("/")[0] == other.split("/")[0] or folder.split("/")[-1].startswith(other.split("/")[-1])


def closeness(below, name, folder, other):
    return len(os.path.commonprefix([name, below])), len(os.path.commonprefix([folder.split("/")[-1], other.split("/")[-1]]))


def of_one_type(rows):
    """Numbers and texts in one column become texts, as a file has them."""
    for column in {name for row in rows for name in row}:
        values = [row.get(column) for row in rows]
        if any(isinstance(value, str) for value in values) and any(isinstance(value, (int, float)) for value in values):
            rows = [row | {column: str(row[column])} if isinstance(row.get(column), (int, float)) else row for row in rows]
    return rows


def known_rows(names, rng, count):
    """Rows that functions can read; names: [key, path of the function below the folder of tasks] of a task. Rows of
    functions of one kind serve as well, with their subject in the place of the fixture's. Besides, whether the rows have
    all columns that a task reads."""
    made = made_rows(names, rng, count)
    if made:
        return made, True
    has_process_docs = any(key == "process_docs" for key, _ in names)
    parts = []
    for key, below in names:
        folder, _, last = below.rpartition("/")
        module, _, function = last.partition(".")
        if (has_process_docs and key not in ("process_docs", "function")) or key == "aggregation":
            continue  # what it reads has gone through process_docs
        best = None
        for name, (role, rows) in FIXTURES.items():
            other_folder, _, other_last = name.rpartition("/")
            other_module, _, other_function = other_last.partition(".")
            if KINDS.get(key, "other") != (role if role in KINDS.values() else "other"):
                continue
            # Beside process_docs any function of the module knows the columns.
            same_kind = kind_of(other_function) == kind_of(function) or (key != "process_docs" and other_folder == folder)
            if other_module == module and same_kind and related(folder, other_folder):
                near = (other_function == function, *closeness(below, name, folder, other_folder))
                if best is None or near > best[0]:
                    best = (near, rows, other_function, other_folder)
        if best is None:
            continue
        rows = best[1]
        kind = kind_of(function) + "_"
        if best[2] != function and best[2].startswith(kind) and function.startswith(kind):
            rows = with_replaced(rows, best[2][len(kind):], function[len(kind):])
        old_folder, new_folder = best[3].split("/")[-1], folder.split("/")[-1]
        parts.append(with_replaced(rows, old_folder, new_folder) if old_folder != new_folder and len(old_folder) > 3 else rows)
    longest = max(map(len, parts), default=0)
    return of_one_type([{name: value for part in parts for name, value in part[i % len(part)].items()} for i in range(longest)]), False
