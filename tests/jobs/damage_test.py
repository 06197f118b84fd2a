"""Damage to weights and logs is found and named, and never becomes a score."""
import glob
import os
import shutil
import struct
import unittest

import support


class Damage(support.JobTest):
    def setUp(self):
        super().setUp()
        self.model = self.path("model")
        shutil.copytree(support.DEMO[1], self.model)
        self.weights = glob.glob(os.path.join(self.model, "*.safetensors"))[0]

    def run_eval(self, limit, code=0):
        arguments = ["--model", self.model, *support.DEMO[2:], "--tasks", support.ALL_TASKS, "--limit", str(limit), "--quiet"]
        return self.run_program(["eval", *arguments, "-o", self.path("run")], code=code)

    def change_weights(self, change):
        """change: bytes of the file's data to others of the same length."""
        with open(self.weights, "r+b") as file:
            header_bytes, = struct.unpack("<Q", file.read(8))
            file.seek(8 + header_bytes)
            data = bytearray(file.read())
            change(data)
            file.seek(8 + header_bytes)
            file.write(data)

    def test_a_flipped_bit_of_a_weight_is_found_by_the_next_attempt(self):
        self.run_eval(3)
        def flip(data):
            data[len(data) // 2] ^= 1
        self.change_weights(flip)
        error = self.run_eval(6, code=78).stderr
        self.assertIn("model_digest", error)
        self.assertIn(self.path("run"), error)
        self.change_weights(flip)
        self.run_eval(6)

    def test_weights_that_are_no_numbers_are_named(self):
        def infinite(data):
            start = len(data) // 2 // 4 * 4
            data[start: start + 4] = b"\xff\xff\xff\xff"
        self.change_weights(infinite)
        error = self.run_eval(3, code=65).stderr
        self.assertRegex(error, r"model.*(NaN or infinite)")
        self.assertFalse(os.path.exists(self.path("run/results.h5")))

    def test_a_flipped_bit_of_a_log_is_named_and_only_its_answers_are_computed_again(self):
        self.run_eval(3)
        before = support.newest_samples(self.path("run"))
        log = glob.glob(self.path("run/log/*.log"))[0]
        with open(log, "r+b") as file:
            data = bytearray(file.read())
            data[len(data) // 2] ^= 16
            file.seek(0)
            file.write(data)
        error = self.run_eval(3, code=65).stderr
        self.assertRegex(error, os.path.basename(log) + r": damaged at byte \d+ \(record \d+\)")
        os.rename(log, self.path("log"))
        self.run_eval(3)
        self.assertEqual(support.newest_samples(self.path("run")), before)


if __name__ == "__main__":
    unittest.main()
