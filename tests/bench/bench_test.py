"""tools/bench: its commands start, and its counts of tokens and operations are right.

EVALMPI_BUILD names the build folder (CTest sets it).
"""
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("EVALMPI_BUILD", os.path.join(SOURCE, "build"))
BENCH = os.path.join(SOURCE, "tools", "bench", "bench")
DEMO = os.path.join(SOURCE, "configs", "demo", "model")
sys.path.insert(0, os.path.dirname(BENCH))
import flops  # noqa: E402
import gpu  # noqa: E402
import programs  # noqa: E402
import report  # noqa: E402


def bench(*arguments, code=0):
    done = subprocess.run([sys.executable, "-B", BENCH, *arguments], capture_output=True, text=True, timeout=100)
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


class Commands(unittest.TestCase):
    def test_each_explains_itself(self):
        for command in ("models", "vs-lm-eval", "floor", "parts", "scale", "gpu"):
            self.assertIn("usage: bench " + command, bench(command, "--help"))

    def test_the_comparison_asks_for_its_wheels(self):
        if importlib.util.find_spec("lm_eval"):
            self.skipTest("lm_eval is installed here")
        self.assertIn("transformers==4.57.6", bench("vs-lm-eval", "--model", DEMO, "--build", BUILD, code=69))

    def test_floor_measures_everything(self):
        shown = bench("floor", "--quick", "--build", BUILD)
        for what in ("GEMM 1024 x", "memory, all cores", "scorer, MMLU's shape, 1 lane", "decoder, batch 1, 1 thread"):
            self.assertIn(what, shown)

    def test_parts_without_data(self):
        shown = bench("parts", "--quick", "--model", DEMO, "--build", BUILD, "--parts", "plan,plan-synthetic,load,head,attention,log")
        for what in ("plan: needs --data-root", "trie and plan of 10000 x 300 tokens, memory", "weights", "head, 40 rows", "attention of a layer",
                     "log, a record"):
            self.assertIn(what, shown)

    def test_gpu_says_where_there_is_none(self):
        if os.path.exists("/dev/nvidia0"):
            self.skipTest("there is one")
        self.assertIn("no GPU here: not measured", bench("gpu", "--build", BUILD, code=69))

    def test_gpu_measures_everything_on_a_cpu(self):
        shown = bench("gpu", "--build", BUILD, "--device", "cpu", "--shape", "tiny", "--documents", "2", "--token-budget", "64", "--slots", "4",
                      "--new-tokens", "24", "--seconds", "0.002", "--no-transformers")
        for what in ("matrix product 64 x 64 x 96", "copy within memory", "scorer, MMLU's shape", "decoder, 4 sequences", "left out"):
            self.assertIn(what, shown)

    def test_gpu_table(self):
        found = {"gemm": {"best": 8e14, "shapes": [{"m": 1, "n": 2, "k": 3, "flops_per_second": 8e14}]}, "bandwidth": {"bytes_per_second": 4e12},
                 "scorer": {"flops_per_second": 6e14, "distinct_tokens_per_second": 3e4, "seconds": 2, "computed_tokens": 11, "distinct_tokens": 10,
                            "documents": 100},
                 "decoder": {"slots": 64, "bytes_per_second": 2e12, "tokens_per_second": 5e3, "bytes_per_step": 1.7e10}}
        rows = {row[0]: row for row in gpu.rows_of(found, {"documents_per_second": 10.0}, "batch 8", "llama-8b")}
        self.assertEqual(rows["scorer, MMLU's shape"][4], "75.0 %")
        self.assertEqual(rows["scorer against transformers"][2:5], ["50.0 documents/s", "10.0 documents/s", "5.00"])
        self.assertEqual(rows["decoder, 64 sequences"][4], "50.0 %")
        rows = {row[0]: row for row in gpu.rows_of(found, None, "no wheels", "llama-8b")}
        self.assertEqual(rows["scorer against transformers"][3:], ["not measured", "-", "4", "no wheels"])


class GpuCheck(unittest.TestCase):
    """tools/gpu_check reads what tests print; whether it works with a GPU is for a machine that has one."""

    @classmethod
    def setUpClass(cls):
        loader = importlib.machinery.SourceFileLoader("gpu_check", os.path.join(SOURCE, "tools", "gpu_check"))
        cls.tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
        loader.exec_module(cls.tool)

    def test_outcomes_of_gtest(self):
        outcome = self.tool.outcome_of_gtest
        self.assertEqual(outcome(0, "[  PASSED  ] 12 tests.\n"), ("passed", "12 passed"))
        self.assertEqual(outcome(0, "[  PASSED  ] 0 tests.\n[  SKIPPED ] 3 tests, listed below:\n"), ("skipped", "0 passed, 3 skipped"))
        self.assertEqual(outcome(1, "[  PASSED  ] 2 tests.\n[  FAILED  ] 1 test, listed below:\n[  FAILED  ] A.b\n"),
                         ("FAILED", "2 passed, 1 failed; exit code 1; first A.b"))
        self.assertEqual(outcome(None, ""), ("FAILED", "took too long; "))
        self.assertEqual(outcome(-11, "")[0], "FAILED")

    def test_outcomes_of_unittest(self):
        text = ("test_a (__main__.Gpu.test_a) ... ok\ntest_b (__main__.Gpu) ... float32: largest difference 1e-5\nok\n"
                "test_c (__main__.Gpu.test_c) ... FAIL\ntest_d (__main__.Gpu.test_d) ... skipped 'no torch'\ntest_e (__main__.Gpu) ... ERROR\n")
        self.assertEqual(self.tool.outcomes_of_unittest(text), [("test_a", "passed"), ("test_b", "passed"), ("test_c", "FAILED"),
                                                                ("test_d", "skipped"), ("test_e", "FAILED")])

    def test_bars(self):
        self.assertEqual([self.tool.meets(ratio, "70 %") for ratio in ("70.0 %", "69.9 %", "-")], ["passed", "FAILED", "skipped"])

    def test_without_a_gpu_it_says_so(self):
        if os.path.exists("/dev/nvidia0"):
            self.skipTest("there is one")
        done = subprocess.run([sys.executable, "-B", os.path.join(SOURCE, "tools", "gpu_check"), "--build", BUILD], capture_output=True, text=True)
        self.assertEqual(done.returncode, 69, done.stderr)
        self.assertIn("no GPU here: nothing checked", done.stdout)
        done = subprocess.run([sys.executable, "-B", os.path.join(SOURCE, "tools", "gpu_check"), "--build", "/nowhere"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 66)


class Counts(unittest.TestCase):
    def test_a_shared_prefix_counts_once(self):
        work = flops.least_work([([1, 2, 3], 1), ([1, 2, 3], 1), ([1, 2, 4, 5], 2), ([1, 2, 4], 2)])
        # Distinct tokens 1 2 3 4 5 see 1 2 3 3 4 positions; rows asked are 3, 4, 5 and 2.
        self.assertEqual(work, {"naive_tokens": 13, "distinct_tokens": 5, "attended_positions": 13, "target_rows": 4})

    def test_operations_of_one_token(self):
        sizes = {"hidden": 4, "layers": 3, "query": 4, "key": 2, "mlp": 5, "mlp_matrices": 3, "vocab": 7}
        work = {"distinct_tokens": 1, "attended_positions": 1, "target_rows": 1}
        matrices = 4 * 4 + 2 * 4 + 2 * 4 + 4 * 4 + 3 * 4 * 5
        self.assertEqual(flops.flops(sizes, work), 2 * matrices * 3 + 4 * 4 * 3 + 2 * 4 * 7)

    def test_the_program_counts_the_same(self):
        found = programs.measure(BUILD, "floor", model=DEMO, parts="scorer", documents=3)["scorer"]
        choices = 4
        self.assertEqual(found["requests"], 3 * 3 * choices)
        # Three headers with three questions each; the lengths follow from the two counts.
        length = found["naive_tokens"] // found["requests"]
        header = (9 * length - found["distinct_tokens"]) // 6
        questions = [([h] * header + [100 + 3 * h + q] * (length - header), 1) for h in range(3) for q in range(3)]
        work = flops.least_work(questions * choices)
        self.assertEqual([found[key] for key in ("naive_tokens", "distinct_tokens", "target_rows")],
                         [work[key] for key in ("naive_tokens", "distinct_tokens", "target_rows")])
        self.assertEqual(found["flops"], flops.flops(flops.model_sizes(DEMO), work))
        self.assertTrue(all(lanes["computed_tokens"] >= work["distinct_tokens"] for lanes in found["lanes"]))


class Table(unittest.TestCase):
    def test_a_row_replaces_its_like_and_leaves_the_rest(self):
        text = report.update("", "One", "bench one", ["what", "figure"], [["a", "1"], ["b", "2"]], ["what"])
        text = report.update(text, "Two", "bench two", ["what", "figure"], [["a", "9"]], ["what"])
        text = report.update(text, "One", "bench one", ["what", "figure"], [["b", "3"], ["c", "4"]], ["what"])
        rows = [line for line in text.splitlines() if line.startswith("|")]
        self.assertEqual([[cell.strip() for cell in row.strip("|").split("|")] for row in rows if "-" not in row],
                         [["what", "figure"], ["a", "1"], ["b", "3"], ["c", "4"], ["what", "figure"], ["a", "9"]])
        self.assertEqual(text.count("# Measurements"), 1)


if __name__ == "__main__":
    unittest.main()
