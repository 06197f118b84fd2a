"""A few seeds of kills.py; 100 of them take some minutes."""
import os
import unittest

import kills
import record_logs
import support


class Kills(support.JobTest):
    def test_killed_runs_give_equal_tables_and_compute_nothing_twice(self):
        bench = kills.bench_of(self.path("kills"), ranks=4)
        self.assertEqual(record_logs.computed_twice(bench.reference), 0)
        self.assertGreater(len(record_logs.answered(bench.reference)[0]), 1000)
        results = kills.loop(bench, range(2))
        self.assertEqual([result.problems for result in results], [[], []])
        self.assertGreater(sum(result.kills for result in results), 0)

    def test_what_is_computed_twice_is_seen(self):
        self.evaluate("run", tasks="demo_tavi", extra=["--limit", "5"])
        logs = self.path("run/log")
        name = os.listdir(logs)[0]
        with open(os.path.join(logs, name), "rb") as file:
            data = file.read()
        with open(os.path.join(logs, name.replace("attempt0", "attempt1")), "wb") as file:
            file.write(data)
        self.assertEqual(record_logs.computed_twice(self.path("run")), len(record_logs.answered(self.path("run"))[0]))


if __name__ == "__main__":
    unittest.main()
