"""Runs the program as a user would, for the end-to-end tests in this folder.

EVALMPI names the program (CTest sets it). Every test works in a folder of its own.
"""
import glob
import json
import os
import random
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVALMPI = os.environ.get("EVALMPI", os.path.join(SOURCE, "build", "bin", "evalmpi"))
MPI_RUN = os.environ.get("EVALMPI_MPI_RUN", os.path.join(SOURCE, "tests", "support", "mpi_run"))
DEMO = ["--model", os.path.join(SOURCE, "configs/demo/model"), "--include-path", os.path.join(SOURCE, "configs/demo/tasks")]
ALL_TASKS = "demo_reverse,demo_tavi,demo_sums"


class JobTest(unittest.TestCase):
    root = None  # where the folder is made; None: where temporary files are

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="evalmpi job ", dir=self.root)  # with a space, as users have them
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def command(self, arguments, ranks=None):
        return ([MPI_RUN, str(ranks)] if ranks else []) + [EVALMPI] + arguments

    def run_program(self, arguments, ranks=None, code=0, **options):
        done = subprocess.run(self.command(arguments, ranks), cwd=self.folder, capture_output=True, text=True, timeout=100, **options)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def evaluate(self, output, tasks=ALL_TASKS, extra=(), **options):
        return self.run_program(["eval", *DEMO, "--tasks", tasks, "-o", self.path(output), *extra], **options)


def newest_results(folder):
    with open(sorted(glob.glob(os.path.join(folder, "results_*.json")))[-1], encoding="utf-8") as file:
        return json.load(file)


def newest_samples(folder):
    """Bytes of the newest samples file of each task."""
    newest = {}
    for path in sorted(glob.glob(os.path.join(folder, "samples_*.jsonl"))):
        task = os.path.basename(path)[len("samples_"):].rsplit("_", 1)[0]
        with open(path, "rb") as file:
            newest[task] = file.read()
    return newest


def log_likelihoods(samples):
    """All log-likelihoods of samples bytes, in order, with their flags."""
    found = []
    for line in samples.decode().splitlines():
        for responses in json.loads(line)["resps"]:
            if isinstance(responses[0], list):
                found.append((float(responses[0][0]), responses[0][1]))
    return found


def status(folder):
    with open(os.path.join(folder, "status.json"), encoding="utf-8") as file:
        return json.load(file)


def table_bytes(folder):
    """The part of results.h5 that may not depend on how the run went, as h5dump prints it."""
    dump = subprocess.run(["h5dump", "-g", "/tasks", os.path.join(folder, "results.h5")], capture_output=True, check=True)
    return dump.stdout.split(b"\n", 1)[1]  # the first line names the file


def bytes_in(folder, pattern="*.log"):
    """Size of a folder's files, which may come and go meanwhile."""
    total = 0
    for path in glob.glob(os.path.join(folder, pattern)):
        try:
            total += os.path.getsize(path)
        except FileNotFoundError:
            pass
    return total


def processes_of(program, output):
    """Process ids of ranks that write to `output`."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                command = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if command[0] == program and output in command:
            found.append(int(entry))
    return sorted(found)


def temporary_files(folder):
    """What a killed run may have left there or below that the next one takes away."""
    return sorted(glob.glob(os.path.join(glob.escape(folder), "**", ".*"), recursive=True))


def long_task(folder, copies):
    """A task of `copies` times the demo's documents, whose prompts share nothing."""
    data, tasks = os.path.join(SOURCE, "configs/demo/data"), os.path.join(SOURCE, "configs/demo/tasks")
    os.makedirs(folder)
    with open(os.path.join(data, "reverse_test.jsonl"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    with open(os.path.join(folder, "test.jsonl"), "w", encoding="utf-8") as file:
        for copy in range(copies):
            file.writelines(f'{{"copy": {copy + 1}, {line[1:]}\n' for line in lines)
    with open(os.path.join(data, "reverse_train.jsonl"), encoding="utf-8") as file:
        train = [f'{{"copy": 0, {line[1:]}\n' for line in file]
    with open(os.path.join(folder, "train.jsonl"), "w", encoding="utf-8") as file:
        file.writelines(train)
    with open(os.path.join(tasks, "demo_reverse.yaml"), encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"^task: .*", "task: long_reverse", text, flags=re.MULTILINE)
    text = re.sub(r"^num_fewshot: .*", "num_fewshot: 5", text, flags=re.MULTILINE)
    text = text.replace("../data/reverse_", "").replace('doc_to_text: "', 'doc_to_text: "List {{copy}}\\n')
    with open(os.path.join(folder, "long_reverse.yaml"), "w", encoding="utf-8") as file:
        file.write(text)


def write_adapter(folder, seed, rank=4, scale=0.5):
    """A PEFT LoRA adapter of random weights on the demo model's query projections."""
    random_numbers = random.Random(seed)
    tensors = {}
    for layer in range(3):
        module = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        for name, shape in (("lora_A", (rank, 128)), ("lora_B", (128, rank))):
            values = [random_numbers.gauss(0, scale) for _ in range(shape[0] * shape[1])]
            tensors[f"{module}.{name}.weight"] = (shape, struct.pack(f"<{len(values)}f", *values))
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    os.makedirs(folder)
    with open(os.path.join(folder, "adapter_model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
    with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as file:
        json.dump({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "target_modules": ["q_proj"]}, file)
