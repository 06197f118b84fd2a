"""The whole program on an NVIDIA GPU: the CPU's tables, and the same bits however it ran. Skipped where there is none."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

import support
from support import ALL_TASKS

FLOAT32 = ["--device", "cuda", "--dtype", "float32"]
HOG = """import sys, torch
free, total = torch.cuda.mem_get_info()
held = torch.empty(max(0, free - int(sys.argv[1])), dtype=torch.uint8, device="cuda")
print("holds", held.numel(), flush=True)
sys.stdin.read()
"""


class Gpu(support.JobTest):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run([support.EVALMPI, "plan", *support.DEMO, "--tasks", "demo_sums", "--device", "cuda"], capture_output=True, text=True)
        if done.returncode == 69:
            raise unittest.SkipTest("needs an NVIDIA GPU: " + done.stderr.strip())

    def metrics(self, output):
        results = support.newest_results(self.path(output))["results"]
        return {(task, name): value for task, values in results.items() for name, value in values.items() if isinstance(value, float)}

    def largest_difference(self, ours, others):
        largest = 0.0
        for task, samples in support.newest_samples(self.path(ours)).items():
            pairs = list(zip(support.log_likelihoods(samples), support.log_likelihoods(support.newest_samples(self.path(others))[task])))
            largest = max([largest] + [abs(a - b) for (a, _), (b, _) in pairs])
        return largest

    def test_tables_are_those_of_the_cpu(self):
        self.evaluate("cpu", extra=["--device", "cpu"])
        self.evaluate("cuda", extra=FLOAT32)
        on_cpu, on_gpu = self.metrics("cpu"), self.metrics("cuda")
        self.assertEqual(on_cpu.keys(), on_gpu.keys())
        for name, value in on_cpu.items():
            self.assertAlmostEqual(value, on_gpu[name], delta=1e-4, msg=name)
        difference = self.largest_difference("cuda", "cpu")
        print(f"float32: largest difference of a log-likelihood {difference:.2e}")
        self.assertLess(difference, 1e-3)
        said = support.newest_results(self.path("cuda"))["evalmpi"]
        self.assertIn("multiprocessors", said["numerics_class"])
        self.assertGreater(min(said["device_memory_peak_bytes"]), 0)

    def test_bfloat16_is_near(self):
        self.evaluate("cpu", extra=["--device", "cpu"])
        self.evaluate("cuda", extra=["--device", "cuda", "--dtype", "bfloat16"])
        on_cpu, on_gpu = self.metrics("cpu"), self.metrics("cuda")
        config = support.newest_results(self.path("cuda"))["config"]
        self.assertEqual((config["model_dtype"], config["device"]), ("bfloat16", "cuda"))
        self.assertIn("(dtype bfloat16, ", self.run_program(["report", self.path("cuda")]).stdout)
        print(f"bfloat16: largest difference of a log-likelihood {self.largest_difference('cuda', 'cpu'):.2e}")
        for name, value in on_cpu.items():
            if name[1].startswith(("acc,", "exact_match,")):
                self.assertAlmostEqual(value, on_gpu[name], delta=0.05, msg=name)

    def test_bits_do_not_depend_on_how_it_ran(self):
        for dtype in ("float32", "bfloat16"):
            device = ["--device", "cuda", "--dtype", dtype]
            self.evaluate(dtype, extra=device)
            samples = support.newest_samples(self.path(dtype))
            for name, extra in (("again", []), ("budget", ["--token-budget", "37"]), ("large", ["--token-budget", "2000"]),
                                ("graphs", ["--cuda-graphs"])):
                output = f"{dtype} {name}"
                self.evaluate(output, extra=device + extra)
                self.assertEqual(support.newest_samples(self.path(output)), samples, output)
            output = dtype + " limit"
            self.evaluate(output, extra=device + ["--limit", "9"])
            for task, few in support.newest_samples(self.path(output)).items():
                self.assertEqual(few.splitlines(), samples[task].splitlines()[:9], output)
            self.evaluate(output, extra=device)
            self.assertEqual(support.newest_samples(self.path(output)), samples, output + ", then the rest")
            output = dtype + " alone"
            for task, lines in samples.items():
                self.evaluate(output + task, tasks=task, extra=device + ["--samples", json.dumps({task: [5]})])
                alone = support.newest_samples(self.path(output + task))[task].splitlines()
                ours, others = json.loads(alone[0])["resps"], json.loads(lines.splitlines()[5])["resps"]
                self.assertEqual(ours, others, f"{output}, {task}")

    def test_a_killed_run_resumes_to_equal_samples(self):
        self.evaluate("plain", extra=FLOAT32)
        arguments = ["eval", *support.DEMO, "--tasks", ALL_TASKS, "-o", self.path("killed"), "--token-budget", "32", *FLOAT32]
        for _ in range(2):
            size = support.bytes_in(self.path("killed/log"))
            started = subprocess.Popen(self.command(arguments), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            while started.poll() is None and support.bytes_in(self.path("killed/log")) < size + 20_000:
                time.sleep(0.002)
            os.kill(started.pid, signal.SIGKILL)
            started.communicate(timeout=60)
        self.evaluate("killed", extra=FLOAT32)
        self.assertEqual(support.newest_samples(self.path("killed")), support.newest_samples(self.path("plain")))
        self.assertEqual(support.status(self.path("killed"))["state"], "complete")

    def test_two_ranks_on_one_gpu_are_one_rank_with_two_places(self):
        split = [*FLOAT32, "--tp", "2", "--dp", "1", "--share-devices"]
        self.evaluate("ranks", extra=split, ranks=2)
        self.evaluate("places", extra=[*split, "--devices-per-rank", "2"])
        self.assertEqual(support.newest_samples(self.path("ranks")), support.newest_samples(self.path("places")))

    def test_a_full_gpu_is_said_with_figures_and_remedy(self):
        if subprocess.run([sys.executable, "-c", "import torch; torch.empty(1, device='cuda')"], capture_output=True).returncode != 0:
            self.skipTest("the other program is a torch, which this Python does not have")
        hog = subprocess.Popen([sys.executable, "-c", HOG, str(300 << 20)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.assertIn("holds", hog.stdout.readline())
            done = self.evaluate("full", extra=FLOAT32, code=69)
            self.assertRegex(done.stderr, "not enough memory|out of memory")
            self.assertIn("GiB", done.stderr)
            self.assertIn("nvidia-smi", done.stderr)
        finally:
            hog.communicate("")
        self.evaluate("full", extra=FLOAT32)  # the same folder, once there is room


class WithoutGpu(support.JobTest):
    def test_cuda_that_is_not_there_is_said(self):
        if os.path.exists("/dev/nvidia0"):
            self.skipTest("there is a GPU")
        for arguments in (["eval", *support.DEMO, "--tasks", "demo_sums", "-o", self.path("none")], ["plan", *support.DEMO, "--tasks", "demo_sums"]):
            done = self.run_program([*arguments, "--device", "cuda"], code=69)
            self.assertIn("--device cuda: ", done.stderr)
        self.assertIn("--device cuda: ", self.evaluate("ranks", extra=["--device", "cuda"], ranks=2, code=69).stderr)

    def test_auto_is_the_cpu_where_there_is_none(self):
        if os.path.exists("/dev/nvidia0"):
            self.skipTest("there is a GPU")
        shown = self.run_program(["plan", *support.DEMO, "--tasks", "demo_sums"]).stdout
        self.assertIn("device: the CPU, in float32 (no GPU: ", shown)
        shown = self.run_program(["plan", *support.DEMO, "--tasks", "demo_sums", "--device", "cpu"]).stdout
        self.assertIn("device: the CPU, in float32\n", shown)

    def test_options_for_gpus_say_that_they_do_nothing(self):
        if os.path.exists("/dev/nvidia0"):
            self.skipTest("there is a GPU")
        for extra in ([], ["--cuda-graphs", "--devices-per-rank", "2"]):
            said = self.run_program(["eval", *support.DEMO, "--tasks", "demo_sums", "--limit", "2", "-o", self.path(f"run{len(extra)}"), *extra]).stderr
            self.assertEqual("have no effect: --devices-per-rank, --cuda-graphs" in said, bool(extra), said)


if __name__ == "__main__":
    unittest.main()
