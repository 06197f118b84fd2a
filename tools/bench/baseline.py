"""lm-evaluation-harness with transformers, in a process of its own: only the model's part is timed."""
import argparse
import gc
import multiprocessing
import os
import resource
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import compare_lm_eval  # noqa: E402
import flops  # noqa: E402

REFERENCE = "transformers==4.57.6 lm_eval==0.4.13 torch datasets"


class TookTooLong(Exception):
    pass


def _interrupt(number, frame):
    raise TookTooLong


def _limit_memory():
    """An allocation too large for the machine must fail, as `auto` expects, and not end some process."""
    with open("/proc/meminfo", encoding="utf-8") as file:
        available = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    resource.setrlimit(resource.RLIMIT_DATA, (int(available * 0.85), resource.RLIM_INFINITY))


class Harness:
    """One case on one model. seconds: of the calls of the model's loglikelihood or generate_until."""

    def __init__(self, args):
        _limit_memory()
        signal.signal(signal.SIGALRM, _interrupt)
        self.args = args
        self.model = compare_lm_eval.load_harness(args)
        self.calls = {}  # method name -> requests
        self.results = None
        self._methods = {name: getattr(self.model, name) for name in ("loglikelihood", "generate_until")}
        self._answer_with(self._note)
        compare_lm_eval.run_harness(args, self.model)

    def _answer_with(self, answer):
        for name in self._methods:
            setattr(self.model, name, lambda requests, name=name, **rest: answer(name, requests))

    def _note(self, name, requests):
        self.calls[name] = requests
        return [(0.0, False) if name == "loglikelihood" else "" for _ in requests]

    def _set(self, batch, threads):
        import torch
        torch.set_num_threads(threads)
        self.model.batch_size_per_gpu = batch if batch == "auto" else int(batch)
        self.model.batch_sizes = {}

    def _time(self, calls, batch, threads, limit_seconds=None):
        """Seconds of these calls, or None when they took longer than the limit."""
        self._set(batch, threads)
        gc.collect()
        if limit_seconds:
            signal.setitimer(signal.ITIMER_REAL, limit_seconds)
        start = time.monotonic()
        try:
            for name, requests in calls.items():
                self._methods[name](requests, disable_tqdm=True)
            return time.monotonic() - start
        except TookTooLong:
            return None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _some(self, sequences):
        """Whole documents, evenly spread, with about so many sequences for the model."""
        some = {}
        for name, requests in self.calls.items():
            documents = {}
            for request in requests:
                documents.setdefault((request.task_name, request.doc_id), []).append(request)
            # One-token answers to one context are one sequence for the harness; other answers one each.
            each = max(1, len({r.args[0] + r.args[1] for r in next(iter(documents.values()))}) if name == "loglikelihood" else 1)
            step = max(1, len(documents) * each // sequences)
            some[name] = [request for group in list(documents.values())[::step] for request in group]
        return some

    def choose(self, batches, thread_counts):
        """The best fixed batch size and number of threads on some of the requests; and what was tried."""
        few, some = self._some(4), self._some(32)
        self._time(few, 4, max(thread_counts))  # memory and caches warm
        tried, best = [], None
        taken = [(self._time(few, 4, n), n) for _ in range(2) for n in thread_counts]
        threads = min(taken)[1]
        for batch in [batch for batch in batches if batch != "auto"]:
            seconds = self._time(some, batch, threads, best[0] * 1.2 if best else None)
            tried.append(f"batch {batch}: " + (f"{seconds:.1f} s" if seconds else f"over {best[0] * 1.2:.1f} s"))
            if seconds and (best is None or seconds < best[0]):
                best = (seconds, batch)
        return best[1], threads, tried

    def run(self, batch, threads):
        """Everything, with scores; seconds of the model's part."""
        self._set(batch, threads)
        seconds = []

        def answer(name, requests):
            start = time.monotonic()
            answers = self._methods[name](requests, disable_tqdm=True)
            seconds.append(time.monotonic() - start)
            return answers

        self._answer_with(answer)
        self.results = compare_lm_eval.run_harness(self.args, self.model)
        return sum(seconds)

    def again(self, batch, threads, limit_seconds=None):
        return self._time(self.calls, batch, threads, limit_seconds)

    def compare(self, folder):
        """The number of differences; they are printed."""
        self._answer_with(lambda name, requests: self._methods[name](requests, disable_tqdm=True))
        self._set(1, len(os.sched_getaffinity(0)))
        return compare_lm_eval.compare(self.model, *compare_lm_eval.read_outputs(folder), self.results).differences

    def work(self):
        """The least work for all requests: prompts and, once they are known, the new tokens."""
        texts = {}
        if self.results:
            texts = {pair[0]: sample["resps"][i][0] for samples in self.results["samples"].values()
                     for sample in samples for i, pair in enumerate(sample["arguments"])}
        sequences = []
        for name, requests in self.calls.items():
            for request in requests:
                if name == "loglikelihood":
                    context, continuation = self.model._encode_pair(*request.args)
                    tokens = (context + continuation)[-(self.model.max_length + 1):]
                    sequences.append((tokens[:-1], min(len(continuation), len(tokens) - 1)))
                else:
                    prompt = self.model.tok_encode(request.args[0])
                    new = self.model.tok_encode(texts.get(request.args[0], ""), add_special_tokens=False)
                    sequences.append(((prompt + new[:-1])[-self.model.max_length:], max(1, len(new))))
        return flops.least_work(sequences)


def _serve(pipe, args):
    try:
        harness = Harness(args)
        pipe.send(("ready", None))
        while True:
            method, arguments = pipe.recv()
            pipe.send(("done", getattr(harness, method)(*arguments)))
    except EOFError:
        pass
    except BaseException as error:  # told to the parent, which ends
        import traceback
        traceback.print_exc()
        pipe.send(("failed", repr(error)))


class Baseline:
    """A Harness behind a pipe: baseline.run(4, 2) and so on."""

    def __init__(self, args):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, argparse.Namespace(**vars(args))), daemon=True)
        self._process.start()
        other.close()
        self._answer()

    def _answer(self):
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            kind, value = "failed", "its process ended (too little memory?)"
        if kind == "failed":
            sys.exit(f"bench: the harness: {value}")
        return value

    def __getattr__(self, method):
        def call(*arguments):
            self._pipe.send((method, arguments))
            return self._answer()
        return call

    def close(self):
        self._pipe.close()
        self._process.join()
