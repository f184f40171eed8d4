"""tools/gpu_check with a machine that is made of scripts: its stages, their time, what it leaves, how it ends."""
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

SMI = "#!/bin/sh\necho 'NVIDIA H200, 580.1, GPU-1, 143771 MiB, 0 MiB, 345 MHz, 3201 MHz, 1980 MHz, 700.00 W, 30, Default, Enabled'\n"

# Runs its tests as told, and leaves GoogleTest's report.
KERNELS = """#!/usr/bin/env python3
import json, os, sys
path = next(a for a in sys.argv if a.startswith("--gtest_output=json:")).split(":", 1)[1]
bad = os.environ.get("BAD_KERNEL")
cases = [{"name": "Norm", "result": "COMPLETED"}, {"name": "Gemm", "result": "COMPLETED"}]
if bad:
    cases[1]["failures"] = [{"failure": "1 is not 2"}]
json.dump({"testsuites": [{"name": "Kernels", "testsuite": cases}]}, open(path, "w"))
sys.exit(1 if bad else 0)
"""

# Losses are a function of the step; a device or a plan may be told to be wrong.
ORRERY = """#!/usr/bin/env python3
import json, os, signal, sys, time
words = sys.argv[1:]
value = lambda flag, default: words[words.index(flag) + 1] if flag in words else default
if words[0] == "profile":
    open(value("-o", ""), "w").write(json.dumps({"device": "NVIDIA H200", "operators": [1, 2], "collectives": []}))
    if os.environ.get("SLOW_PROFILE"):
        signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
        time.sleep(600)
elif words[0] == "demo":
    off = bool(os.environ.get("DEMO_OFF"))
    print(json.dumps({"orrery": "demo/1", "verdict": "outside" if off else "within", "median_error": 0.12 if off else 0.01,
                      "plans": [{"role": "best", "predicted_step_time_s": 0.1, "measured_step_time_s": 0.101, "error": -0.0099}]}))
else:
    n = int(value("--steps", 20))
    wrong = 1.001 if os.environ.get("WRONG") and os.environ["WRONG"] in words else 1
    losses = [5 - 0.01 * i for i in range(n)]
    if value("--device", "cpu") == "cuda":
        losses = [x * wrong for x in losses]
    if os.environ.get("CRASH") and os.environ["CRASH"] in words:
        print("rank 0: cuda: a copy failed", file=sys.stderr)
        sys.exit(2)
    print(json.dumps({"orrery": "run/1", "losses": losses, "gradient_norms": [1.0] * n, "step_time_s": 0.5, "predicted_step_time_s": 0.51, "memory_by_rank": []}))
"""


class GpuCheck(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        for name, text in {"bin/nvidia-smi": SMI, "build/cli/orrery": ORRERY, "build/tests/test_cuda_kernels": KERNELS}.items():
            self.script(name, text)

    def tearDown(self):
        self.folder.cleanup()

    def script(self, name, text):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def check(self, *words, **environment):
        environment = {k: v for k, v in os.environ.items() if k != "OUT"} | {"PATH": f"{self.path}/bin:{os.environ['PATH']}"} | environment
        command = [sys.executable, str(ROOT / "tools" / "gpu_check"), "--out", str(self.path / "out"), "--build-folder", str(self.path / "build"), *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    def result(self, stage):
        return json.loads((self.path / "out" / f"{stage}.json").read_text())

    def test_leaves_a_result_of_every_stage(self):
        done = self.check("--skip", "speed", "sanitizer")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([s["stage"] for s in self.result("summary")["stages"]], ["machine", "build", "kernels", "shared", "losses", "profile", "demo"])
        self.assertTrue(all(s["ok"] for s in self.result("summary")["stages"]))
        self.assertEqual(self.result("machine")["gpus"][0]["name"], "NVIDIA H200")
        self.assertEqual(self.result("kernels")["passed"], 2)
        self.assertEqual(self.result("losses")["worst_relative_difference"], 0)
        self.assertEqual(self.result("profile")["operators"], 2)
        self.assertIn("| kernels | ok |", done.stdout)
        self.assertIn("| best | 100.0 ms | 101.0 ms | -1.0% |", done.stdout)
        self.assertIn("NVIDIA H200, driver 580.1", (self.path / "out" / "h200.md").read_text())

    def test_a_machine_without_a_gpu_verifies_nothing(self):
        self.script("bin/nvidia-smi", "#!/bin/sh\necho 'No devices were found' >&2\nexit 6\n")
        done = self.check()
        self.assertEqual(done.returncode, 2)
        self.assertIn("not run on a GPU", done.stderr)
        self.assertFalse((self.path / "out" / "kernels.json").exists())

    def test_a_stage_that_fails_does_not_stop_the_others(self):
        done = self.check("--only", "kernels", "losses", BAD_KERNEL="1")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.result("kernels")["failed_tests"], ["Kernels.Gemm"])
        self.assertTrue(self.result("losses")["ok"])

    def test_a_plan_that_trains_otherwise_is_named(self):
        done = self.check("--only", "shared", WRONG="--cp")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.result("shared")["failed"], "1 of 9: cpu-llama-tiny, cp")
        self.assertAlmostEqual(self.result("shared")["worst_relative_difference"]["cpu-llama-tiny, cp"]["loss"], 0.001, delta=1e-5)

    def test_a_run_that_crashes_is_told_in_its_own_words(self):
        self.check("--only", "shared", CRASH="--pp")
        self.assertIn("rank 0: cuda: a copy failed", self.result("shared")["worst_relative_difference"]["cpu-llama-tiny, pp"]["failed"])

    def test_what_takes_too_long_is_asked_to_end_and_what_it_left_counts(self):
        begin = time.monotonic()
        done = self.check("--only", "profile", "--seconds", "6", SLOW_PROFILE="1")
        self.assertLess(time.monotonic() - begin, 60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.result("profile")["operators"], 2)

    def test_a_demo_outside_its_tolerance_fails_and_keeps_its_report(self):
        self.assertEqual(self.check("--only", "demo", DEMO_OFF="1").returncode, 1)
        self.assertEqual(self.result("demo")["failed"], "the prediction is off by 12.0 %")
        self.assertEqual(len(self.result("demo")["report"]["plans"]), 1)

    def test_stages_without_time_are_left_out(self):
        done = self.check("--seconds", "1")
        self.assertIn(done.returncode, (0, 2))

    def test_speed_is_measured_without_pytorch_too(self):
        self.script("bin/python-without", "#!/bin/sh\nexit 1\n")
        done = self.check("--only", "speed", "--python", str(self.path / "bin" / "python-without"))
        self.assertEqual(done.returncode, 0, done.stderr)
        for one in self.result("speed")["models"].values():
            self.assertEqual(one["pytorch"], {"skipped": "PyTorch with CUDA is not installed"})
            self.assertEqual(one["step_s"], 0.5)

    def test_speed_takes_the_faster_of_pytorchs_two_ways(self):
        self.script("bin/python-fake", """#!/usr/bin/env python3
import json, sys
if sys.argv[1] == "-c":
    sys.exit(0)
mixed = "mixed" in sys.argv
print(json.dumps({"step_s": 0.55 if mixed else 0.4, "tokens_per_second": 1, "flops_per_step": 1e14, "flops_convention": "causal-half"}))
""")
        done = self.check("--only", "speed", "--python", str(self.path / "bin" / "python-fake"))
        self.assertEqual(done.returncode, 1)  # 0.4 / 0.5: slower
        one = next(iter(self.result("speed")["models"].values()))
        self.assertAlmostEqual(one["ratio_to_pytorch"], 0.8)
        self.assertAlmostEqual(one["mfu"], 1e14 / 0.5 / 989.5e12)
        self.assertIn("slower than PyTorch", self.result("speed")["failed"])


if __name__ == "__main__":
    unittest.main()
