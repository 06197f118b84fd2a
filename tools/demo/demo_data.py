"""The three demo tasks: documents, and how each is written as text.

reverse  loglikelihood     the words of a list in the opposite order
tavi     multiple_choice   English for a sentence of Tavi, an invented language: verb first, adjective after its
                           noun, plural by -en, no article
sums     generate_until    a one-line story with two numbers up to 99, answered digit by digit

A document is identified by key(); the documents of the test split never occur in training.
The texts below must stay equal to doc_to_text and doc_to_target in configs/demo/tasks/*.yaml.
"""

WORDS = """apple bread candle desk engine forest garden hammer island jacket kettle ladder mirror needle ocean paper
quill river saddle table umbrella valley window yard zebra anchor basket copper dragon feather glove harbor iron jungle
lamp marble north orange pepper queen rabbit silver tower uncle velvet winter""".split()

NOUNS = {"bird": "mirak", "fox": "selu", "tree": "dorim", "stone": "kapan", "child": "nolu", "king": "tervash",
         "seal": "ulip", "house": "bekor", "star": "vinsa", "dog": "ramo", "boat": "shelik", "wolf": "gurat"}
PLURALS = {"fox": "foxes", "child": "children", "wolf": "wolves"}  # the others take an s
VERBS = {"saw": "teth", "found": "olva", "liked": "mipu", "followed": "zarn", "heard": "hesh", "carried": "dul"}
ADJECTIVES = {"red": "ika", "old": "umbo", "small": "pirri", "quiet": "saal", "wild": "roko", "bright": "lenta"}

NAMES = ["Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo"]
THINGS = ["coins", "books", "shells", "stamps", "cards", "beads"]


def reverse_document(rng):
    words = rng.sample(WORDS, rng.randint(3, 6))
    return {"words": " ".join(words), "reversed": " ".join(reversed(words))}


def random_phrase(rng):
    return {"noun": rng.choice(sorted(NOUNS)), "plural": rng.random() < 0.5,
            "adjective": rng.choice(sorted(ADJECTIVES)) if rng.random() < 0.6 else None}


def tavi_phrase(phrase):
    noun = NOUNS[phrase["noun"]] + ("en" if phrase["plural"] else "")
    return noun + (" " + ADJECTIVES[phrase["adjective"]] if phrase["adjective"] else "")


def english_phrase(phrase):
    noun = PLURALS.get(phrase["noun"], phrase["noun"] + "s") if phrase["plural"] else phrase["noun"]
    return " ".join(word for word in ("the", phrase["adjective"], noun) if word)


def english(verb, subject, thing):
    return f"{english_phrase(subject)} {verb} {english_phrase(thing)}"


def changed_phrase(rng, phrase):
    other = dict(phrase)
    what = rng.choice(["noun", "plural", "adjective"] if phrase["adjective"] else ["noun", "plural"])
    if what == "noun":
        other["noun"] = rng.choice([noun for noun in sorted(NOUNS) if noun != phrase["noun"]])
    elif what == "plural":
        other["plural"] = not phrase["plural"]
    else:
        other["adjective"] = rng.choice([word for word in sorted(ADJECTIVES) if word != phrase["adjective"]])
    return other


def tavi_document(rng):
    verb, subject, thing = rng.choice(sorted(VERBS)), random_phrase(rng), random_phrase(rng)
    right = english(verb, subject, thing)
    wrong = [english(verb, thing, subject), english(verb, changed_phrase(rng, subject), thing),
             english(verb, subject, changed_phrase(rng, thing)),
             english(rng.choice([word for word in sorted(VERBS) if word != verb]), subject, thing)]
    wrong = sorted({text for text in wrong if text != right})
    choices = [right] + rng.sample(wrong, 3)
    rng.shuffle(choices)
    return {"tavi": f"{VERBS[verb]} {tavi_phrase(subject)} {tavi_phrase(thing)}", "choices": choices,
            "answer": choices.index(right)}


def sums_document(rng):
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    if rng.random() < 0.5:
        a, b = max(a, b), min(a, b)
        borrow = int(a % 10 < b % 10)
        ones, tens = a % 10 + 10 * borrow - b % 10, a // 10 - borrow - b // 10
        story = f"{name} has {a} {things} and gives away {b}."
        steps = f"{a % 10 + 10 * borrow} - {b % 10} = {ones}, {a // 10} - {borrow} - {b // 10} = {tens}."
        result = a - b
    else:
        ones = a % 10 + b % 10
        tens = a // 10 + b // 10 + ones // 10
        story = f"{name} has {a} {things} and finds {b} more."
        steps = f"{a % 10} + {b % 10} = {ones}, {ones // 10} + {a // 10} + {b // 10} = {tens}."
        result = a + b
    return {"question": f"{story} How many {things} now?", "answer": f"{steps} #### {result}"}


MAKERS = {"reverse": reverse_document, "tavi": tavi_document, "sums": sums_document}


def text_and_target(task, document):
    if task == "reverse":
        return f"Words: {document['words']}\nReversed:", f" {document['reversed']}"
    if task == "tavi":
        return f"Tavi: {document['tavi']}\nEnglish:", f" {document['choices'][document['answer']]}"
    return f"Question: {document['question']}\nAnswer:", f" {document['answer']}"


def key(task, document):
    """What must not occur both in training and in the test split; for sums the numbers, whoever owns what."""
    if task == "sums":
        return tuple(word for word in document["question"].replace(".", "").split() if word.isdigit() or word == "gives")
    return document["words"] if task == "reverse" else document["tavi"]
