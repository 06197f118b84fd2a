#!/usr/bin/env python3
"""The include check must find what it is for: one wrong line of each kind, and nothing in right ones."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECK = pathlib.Path(__file__).resolve().parents[2] / "tools" / "check_includes.py"


def run(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, CHECK, folder], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


class CheckIncludes(unittest.TestCase):
    def refused(self, name, text, *, says):
        code, output = run({name: text})
        self.assertEqual(code, 1, output)
        self.assertIn(f"{name}:1: ", output)
        self.assertIn(says, output)

    def test_right_arrows_pass(self):
        code, output = run({
            "src/model/load.cpp": '#include "evalmpi/model/load.h"\n#include "evalmpi/comm/mesh.h"\n#include "load_row.h"\n',
            "include/evalmpi/model/load.h": "#include <ATen/core/Tensor.h>\n#include <evalmpi/base/error.h>\n",
            "src/comm/nccl.cpp": "#ifdef EVALMPI_CUDA\n#endif\n",
        })
        self.assertEqual(code, 0, output)

    def test_upward_include(self):
        self.refused("include/evalmpi/ops/a.h", '#include "evalmpi/model/x.h"\n', says="may use only: base, device")

    def test_sideways_include(self):
        self.refused("src/store/a.cpp", '#include "evalmpi/comm/mesh.h"\n', says="store includes")

    def test_private_header_of_another_module(self):
        self.refused("src/eval/a.cpp", '#include "engine/trie_row.h"\n', says="private header of engine")

    def test_torch_umbrella_in_public_header(self):
        self.refused("include/evalmpi/model/a.h", "#include <torch/torch.h>\n", says="torch/torch.h")

    def test_feature_question(self):
        self.refused("src/engine/a.cpp", "#if defined(EVALMPI_CUDA)\n", says="asks for a feature")

    def test_unknown_module(self):
        self.refused("src/helpers/a.cpp", "\n", says="not in the table")

    def test_empty_tree_is_no_success(self):
        self.assertEqual(run({"README.md": ""})[0], 1)


if __name__ == "__main__":
    unittest.main()
