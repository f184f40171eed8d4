"""tools/gpu_check with a machine that is made of scripts: its stages, their time, what it leaves, how it ends."""
import argparse
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

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

# A llama of one norm and one gate, whose norm moves 2 x 2 B x 16384 x 2048 + 2 B x 2048 + 4 B x 16384 = 134,287,360 B at 90 % of a copy's 4 TB/s, and whose
# activation moves 3 x 2 B x 16384 x 8192 = 805,306,368 B at the share that is asked for. The small norm is no
# measure, nor is the one in the cache.
def profile(share):
    return {"device": "NVIDIA H200", "collectives": [], "memory_bandwidth": "4e12 B/s",
            "states": [{"when": "begin", "clock": 1980, "memory_clock": 3201, "temperature": 35}],
            "operators": [{"op": "norm_forward", "dims": [16384, 2048], "dtype": "bf16", "median": 1e-5, "footprint": "1 B"},
                          {"op": "norm_forward", "dims": [16384, 2048], "dtype": "bf16", "median": 134287360 / 4e12 / 0.9, "footprint": "1000000000 B"},
                          {"op": "norm_forward", "dims": [128, 64], "dtype": "bf16", "median": 1e-5},
                          {"op": "activation_forward", "dims": [16384, 8192, 1], "dtype": "bf16", "median": 805306368 / 4e12 / share}]}


# Losses are a function of the step; a device or a plan may be told to be wrong.
ORRERY = """#!/usr/bin/env python3
import json, os, signal, sys, time
words = sys.argv[1:]
value = lambda flag, default: words[words.index(flag) + 1] if flag in words else default
if words[0] == "profile":
    assert "--anew" in words
    if os.environ["PROFILE"]:
        open(value("-o", ""), "w").write(os.environ["PROFILE"])
    if os.environ.get("SLOW_PROFILE"):
        signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
        time.sleep(600)
elif words[0] == "demo":
    off = os.environ.get("DEMO_OFF", "")
    part = lambda gemm, peak: {"classes": [{"name": "gemm", "time_ps": gemm}, {"name": "norm", "time_ps": 10**9}], "peak_memory_bytes_by_stage": [peak]}
    print(json.dumps({"orrery": "demo/1", "verdict": "outside" if off == "verdict" else "within", "median_error": 0.12 if off == "verdict" else 0.01,
                      "plans": [{"role": "best", "predicted_step_time_s": 0.1, "measured_step_time_s": 0.101, "error": 0.04 if off == "step" else -0.0099,
                                 "predicted": part(90 * 10**9, 2**31 * 103 // 100 if off == "memory" else 2**31),
                                 "measured": part(80 * 10**9 if off == "class" else 90 * 10**9, 2**31)}]}))
elif words[0] == "simulate":
    print(json.dumps({"energy_per_step_j": 61.0 if "--profile" in words else 70.0, "energy_grade": "measured here" if "--profile" in words else "datasheet"}))
else:
    n = int(value("--steps", 20))
    wrong = 1.001 if os.environ.get("WRONG") and os.environ["WRONG"] in words else 1
    losses = [5 - 0.01 * i for i in range(n)]
    if value("--device", "cpu") == "cuda":
        losses = [x * wrong for x in losses]
    if os.environ.get("CRASH") and os.environ["CRASH"] in words:
        print("rank 0: cuda: a copy failed", file=sys.stderr)
        sys.exit(2)
    print(json.dumps({"orrery": "run/1", "losses": losses, "gradient_norms": [1.0] * n, "step_time_s": 0.5, "predicted_step_time_s": 0.51,
                      "memory_by_rank": [{"peak_bytes": 3 * 2**30, "beside_bytes": 2**29}]}))
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

    def check(self, *words, **words_of_environment):
        environment = {k: v for k, v in os.environ.items() if k != "OUT"} | {"PATH": f"{self.path}/bin:{os.environ['PATH']}"}
        environment |= {"PROFILE": json.dumps(profile(0.88))} | words_of_environment
        command = [sys.executable, str(ROOT / "tools" / "gpu_check"), "--out", str(self.path / "out"), "--build-folder", str(self.path / "build"), *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    @staticmethod
    def module():
        loader = importlib.machinery.SourceFileLoader("gpu_check", str(ROOT / "tools" / "gpu_check"))
        with unittest.mock.patch.object(sys, "dont_write_bytecode", True):
            module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
            loader.exec_module(module)
        return module

    def result(self, stage):
        return json.loads((self.path / "out" / f"{stage}.json").read_text())

    def test_leaves_a_result_of_every_stage(self):
        done = self.check("--skip", "speed", "sanitizer")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([s["stage"] for s in self.result("summary")["stages"]], ["machine", "build", "kernels", "shared", "losses", "profile", "bandwidth", "demo"])
        self.assertTrue(all(s["ok"] for s in self.result("summary")["stages"]))
        self.assertEqual(self.result("machine")["gpus"][0]["name"], "NVIDIA H200")
        self.assertEqual(self.result("kernels")["passed"], 2)
        self.assertEqual(self.result("losses")["worst_relative_difference"], 0)
        self.assertEqual(self.result("profile")["operators"], 4)
        self.assertEqual(self.result("gpu.profile"), profile(0.88))
        page = (self.path / "out" / "h200.md").read_text()
        self.assertEqual(page, done.stdout.removesuffix("\n"))
        for line in ("| kernels | ok |", "| best | 100.0 ms | 101.0 ms | -1.0% | 2.00, 2.00 | +0.0% |", "| best | gemm | 90.0 ms | 90.0 ms | +0.0% |",
                     "NVIDIA H200, driver 580.1, clocks at the beginning 345 MHz (at most 1980 MHz)", "Profile's begin: 1980 MHz, memory 3201 MHz, 35 °C.",
                     "losses at most 0.00% apart", "A copy moves 4000 GB/s", "| norm_forward | 16384 x 2048, bf16 | 90.0% |",
                     "61 J by the profile's power (measured here), 70 J by assumed power (datasheet)"):
            self.assertIn(line, page)

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
        done = self.check("--only", "profile", "--seconds", "6", SLOW_PROFILE="1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.result("profile")["operators"], 4)

    def test_an_earlier_profile_is_not_taken_for_this_ones(self):
        self.script("out/gpu.profile.json", json.dumps(profile(0.88)))
        self.assertEqual(self.check("--only", "profile", PROFILE="").returncode, 1)
        self.assertEqual(self.result("profile")["failed"], "left no profile")

    def test_a_kernel_below_its_share_of_the_bandwidth_is_named(self):
        done = self.check("--only", "profile", "bandwidth", PROFILE=json.dumps(profile(0.7)))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.result("bandwidth")["failed"], "below 85% of a copy's bandwidth: activation_forward 70%")
        self.assertIn("| activation_forward | 16384 x 8192 x 1, bf16 | 70.0% |", done.stdout)

    def test_a_binary_that_skips_crashes_or_fails_does_not_lose_the_others(self):
        self.script("build/tests/test_cuda_comm", "#!/bin/sh\nkill -SEGV $$\n")
        self.script("build/tests/test_cuda_nccl", "#!/bin/sh\nexit 77\n")
        self.script("build/tests/test_cuda_run", "#!/bin/sh\nexit 0\n")
        done = self.check("--only", "kernels", "losses", BAD_KERNEL="1")
        self.assertEqual(done.returncode, 1)
        result = self.result("kernels")
        self.assertEqual(result["failed"], "1 of 2 tests: Kernels.Gemm; test_cuda_comm: test_cuda_comm ended with -11: see the log; test_cuda_run: left no report")
        self.assertEqual(result["passed"], 1)
        self.assertEqual(result["binaries"]["test_cuda_nccl"]["skipped"], "cannot run here")
        self.assertEqual(self.result("kernels.partial"), result["binaries"])
        self.assertTrue(self.result("losses")["ok"])

    def test_binaries_that_all_leave_themselves_out_verify_nothing(self):
        self.script("build/tests/test_cuda_kernels", "#!/bin/sh\nexit 77\n")
        self.check("--only", "kernels")
        self.assertEqual(self.result("kernels")["failed"], "no test ran")

    def test_a_binary_that_hangs_leaves_time_to_the_next(self):
        self.script("build/tests/test_cuda_comm", "#!/bin/sh\nexec sleep 600\n")
        self.check("--only", "kernels", "--seconds", "10")
        self.assertIn("test_cuda_comm: took longer than", self.result("kernels")["failed"])
        self.assertEqual(self.result("kernels")["passed"], 2)

    def test_a_build_folder_keeps_its_generator(self):
        module = self.module()
        self.script("bin/ninja", "#!/bin/sh\n")
        with unittest.mock.patch.dict(os.environ, PATH=f"{self.path}/bin"):
            self.assertIn("Ninja", module.configure_options(self.path / "build", self.path / "carried"))
            self.script("build/CMakeCache.txt", "CMAKE_GENERATOR:INTERNAL=Unix Makefiles\n")
            self.assertEqual(module.configure_options(self.path / "build", self.path / "carried"), ["-DCMAKE_CUDA_ARCHITECTURES=native"])

    def test_a_demo_outside_its_tolerance_fails_and_keeps_its_report(self):
        # gemm: 90 ms predicted, 80 measured; memory: 3 % more than measured.
        for off, words in {"verdict": "the median error is 12.0%", "step": "best: step +4.0%", "class": "best: gemm +12.5%", "memory": "best: peak memory +3.0%"}.items():
            self.assertEqual(self.check("--only", "demo", DEMO_OFF=off).returncode, 1)
            self.assertEqual(self.result("demo")["failed"], words)
            self.assertEqual(len(self.result("demo")["report"]["plans"]), 1)

    def test_stages_without_time_are_left_out(self):
        done = self.check("--seconds", "0")
        self.assertEqual(done.returncode, 2)  # without a look at the machine nothing is verified
        self.assertEqual(self.result("machine")["skipped"], "no time left")
        # Of 1000 s the first stage takes 600, the second all that is left, and a third would have none.
        module, now = self.module(), [0.0]
        self.assertEqual([s[0] for s in module.STAGES[:3]], ["machine", "build", "kernels"])
        with unittest.mock.patch.object(module.time, "monotonic", lambda: now[0]), unittest.mock.patch.dict(os.environ), \
                contextlib.redirect_stderr(io.StringIO()):
            c = module.Check(argparse.Namespace(seconds=1000, out=str(self.path / "late"), build_folder=None, only=None, skip=None))
            for name in ("machine", "build", "kernels"):
                c.stage(name, 700, lambda c: now.__setitem__(0, now[0] + min(600, c.left())))
        self.assertEqual([(s["stage"], s["ok"], s["seconds"], s.get("skipped")) for s in c.summary()["stages"]],
                         [("machine", True, 600, None), ("build", True, 400, None), ("kernels", None, 0, "no time left")])

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
