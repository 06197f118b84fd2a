"""The README's commands do what it says: every block marked ```sh test is run in order, as it stands.

They run in a folder that has build/bin/evalmpi, jobs/ and configs/ where the README supposes them.
"""
import json
import os
import re
import subprocess
import unittest

import support


def blocks():
    with open(os.path.join(support.SOURCE, "README.md"), encoding="utf-8") as file:
        return re.findall(r"^```sh test\n(.*?)^```", file.read(), flags=re.MULTILINE | re.DOTALL)


class Readme(support.JobTest):
    def test_commands(self):
        os.makedirs(self.path("build/bin"))
        os.symlink(support.EVALMPI, self.path("build/bin/evalmpi"))
        for name in ("jobs", "configs"):
            os.symlink(os.path.join(support.SOURCE, name), self.path(name))
        # What tests/support/mpi_run sets, since the README says mpirun.
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                           OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_hwloc_base_binding_policy="none",
                           OMPI_MCA_mpi_yield_when_idle="1")
        self.assertGreaterEqual(len(blocks()), 4)
        for block in blocks():
            done = subprocess.run(["bash", "-euc", block], cwd=self.folder, env=environment, capture_output=True,
                                  text=True, timeout=300)
            self.assertEqual(done.returncode, 0, f"{block}\n{done.stdout}\n{done.stderr}")
        # Its claims about them: a higher --limit computes only what is new, and the results are where it says.
        for run in ("readme", "readme-tp3"):
            self.assertTrue(os.path.exists(self.path(f"runs/{run}/results.h5")), run)
        with open(self.path("runs/readme/status.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["state"], "complete")


if __name__ == "__main__":
    unittest.main()
