"""A sample of what faults.py does in full: calls that fail, processes that die, and what is left then."""
import os
import unittest

import faults
import support

ARGUMENTS = ["eval", *support.DEMO, "--tasks", "demo_tavi,demo_sums", "--limit", "3", "--quiet"]


class Faults(support.JobTest):
    def assert_all_good(self, bench, cases):
        ends, bad = faults.loop(bench, cases)
        self.assertEqual(bad, 0, ends)
        return ends

    def test_calls_on_files(self):
        bench = faults.Bench(self.path("faults"), ARGUMENTS)
        self.assertEqual(bench.wrong_files(bench.reference), [])
        with open(os.path.join(bench.reference, "results.h5"), "r+b") as file:
            file.truncate(os.path.getsize(file.name) - 100)
        self.assertEqual(bench.wrong_files(bench.reference), ["results.h5 (unreadable)"])
        cases = faults.cases_of(bench, "files", faults.KINDS)
        ends = self.assert_all_good(bench, cases[3:: len(cases) // 14])
        self.assertTrue({"ENOSPC", "kill-before", "kill-after"} <= {kind for kind, _ in ends}, ends)

    def test_full_disks(self):
        found = faults.full_disks(faults.Bench(self.path("faults"), ARGUMENTS), 5)
        if found is None:
            self.skipTest("mounting a disk needs root")
        ends, bad = found
        self.assertEqual(bad, 0, ends)
        self.assertEqual({code for _, code in ends}, {0, 74})

    def test_messages_between_ranks(self):
        bench = faults.Bench(self.path("faults"), [*ARGUMENTS, "--dp", "2"], ranks=2)
        cases = faults.cases_of(bench, "messages", ["EIO", "kill-before"])
        self.assert_all_good(bench, cases[2:: len(cases) // 4])

    def test_a_sign_of_life_that_does_not_leave(self):
        # What rank 1 posts first is one, from a thread of its own.
        bench = faults.Bench(self.path("faults"), [*ARGUMENTS, "--dp", "2"], ranks=2)
        ends = self.assert_all_good(bench, [faults.Case(1, "EIO", "posts", 2, 1)])
        self.assertEqual(ends, {("EIO", "69"): 1})


if __name__ == "__main__":
    unittest.main()
