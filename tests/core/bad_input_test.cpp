// What bad documents cost: a message with an address, exact to the letter, and never a crash or a wrong number.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/cluster_json.h"
#include "core/error.h"
#include "core/plan_json.h"
#include "core/profile_json.h"
#include "core/timeline_json.h"

namespace orrery {
namespace {

struct Bad {
  std::string reader, text, message, hint;
};

// A plan that is right but for what follows on its second line.
std::string plan(const std::string& rest) {
  return R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8, "micro": 2, "sequence": 128},
 )" + rest +
         "}";
}

void read(const Bad& bad) {
  if (bad.reader == "plan") read_plan(bad.text, "plan.json");
  if (bad.reader == "device") read_device(bad.text, "device.json");
  if (bad.reader == "cluster") read_cluster(bad.text, "cluster.json");
  if (bad.reader == "profile") read_profile(bad.text, "profile.json");
  if (bad.reader == "timeline") read_timeline(bad.text, "trace.json");
}

// clang-format off
const std::vector<Bad>& table() {
  static const std::vector<Bad> kTable{
    {"plan", R"()", R"(plan.json:1: is empty)", R"()"},
    {"plan", R"({)", R"(plan.json:1: ends in the middle of the document)", R"(is the file truncated?)"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": )", R"(plan.json:1: ends in the middle of the document)", R"(is the file truncated?)"},
    {"plan", R"([1, 2, 3])", R"(plan.json:1: a list is not an object)", R"()"},
    {"plan", R"("plan")", R"(plan.json:1: 'plan' is not an object)", R"()"},
    {"plan", R"({"orrery": "plan/1", "model": "m",, })", R"(plan.json:1: is not JSON near '}': unexpected ','; expected string literal)", R"()"},
    {"plan", plan(R"("seed": 1)") + " x", R"(plan.json:2: is not JSON near 'x': invalid literal)", R"()"},
    {"plan", std::string(100000, '['), R"(plan.json:1: is nested more than 64 levels deep)", R"()"},
    {"plan", R"({'orrery': 'plan/1'})", R"(plan.json:1: is not JSON near ''orrery': 'plan/1'}': invalid literal)", R"()"},
    {"plan", R"({"model": "m", "cluster": "c", "batch": {"global": 8, "sequence": 128}})", R"(plan.json:1: is not a plan: "orrery" is missing)", R"(a plan starts with {"orrery": "plan/1", …)"},
    {"plan", R"({"orrery": "plan/2", "model": "m"})", R"(plan.json:1: orrery: 'plan/2' is not 'plan/1')", R"(this program reads version 1 only)"},
    {"plan", R"({"orrery": "cluster/1", "name": "c"})", R"(plan.json:1: orrery: 'cluster/1' is not 'plan/1')", R"(a plan starts with {"orrery": "plan/1", …)"},
    {"plan", R"({"orrery": 1})", R"(plan.json:1: orrery: 1 is not 'plan/1')", R"(a plan starts with {"orrery": "plan/1", …)"},
    {"plan", R"({"orrery": "plan/1", "cluster": "c", "batch": {"global": 8, "sequence": 128}})", R"(plan.json:1: model: is missing)", R"(a name in models/, or a path to a config.json)"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c"})", R"(plan.json:1: batch: is missing)", R"(how much data a step takes)"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8}})", R"(plan.json:1: batch.sequence: is missing)", R"(tokens per sequence)"},
    {"plan", R"({"orrery": "plan/1", "model": "", "cluster": "c", "batch": {"global": 8, "sequence": 128}})", R"(plan.json:1: model: is empty)", R"()"},
    {"plan", R"({"orrery": "plan/1", "model": null, "cluster": "c", "batch": {"global": 8, "sequence": 128}})", R"(plan.json:1: model: null is not a text)", R"(put it in double quotes)"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "model": "n", "cluster": "c", "batch": {"global": 8, "sequence": 128}})", R"(plan.json:1: model: is given twice, first on line 1)", R"(remove one of them)"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": 8})", R"(plan.json:1: batch: 8 is not an object)", R"()"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": "eight", "micro": 2, "sequence": 128}})", R"(plan.json:1: batch.global: 'eight' is not a whole number)", R"()"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8.5, "micro": 2, "sequence": 128}})", R"(plan.json:1: batch.global: 8.5 is not a whole number)", R"()"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 0, "micro": 2, "sequence": 128}})", R"(plan.json:1: batch.global: 0 is less than 1)", R"()"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": -8, "micro": 2, "sequence": 128}})", R"(plan.json:1: batch.global: -8 is less than 1)", R"()"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 7, "micro": 2, "sequence": 128}})", R"(plan.json:1: batch.global: 7 sequences are not a whole number of micro-batches of 2)", R"(the nearest multiples are 6 and 8)"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 1e400, "micro": 2, "sequence": 128}})", R"(plan.json:1: is not JSON near '1e400, "micro": 2, "': number overflow parsing '1e400')", R"()"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 1e30, "micro": 2, "sequence": 128}})", R"(plan.json:1: batch.global: 1e30 is more than 1073741824)", R"()"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 99999999999999999999, "micro": 2, "sequence": 128}})", R"(plan.json:1: batch.global: 99999999999999999999 is more than 1073741824)", R"()"},
    {"plan", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8, "micro": 2, "sequence": NaN}})", R"(plan.json:1: is not JSON near 'NaN}}': invalid literal)", R"()"},
    {"plan", plan(R"("paralel": {"tp": 2})"), R"(plan.json:2: paralel: is not a known field)", R"(did you mean 'parallel'?)"},
    {"plan", plan(R"("parallel": {"ttp": 2})"), R"(plan.json:2: parallel.ttp: is not a known field)", R"(did you mean 'etp'?)"},
    {"plan", plan(R"("parallel": {"dp": 2})"), R"(plan.json:2: parallel.dp: has no place in a plan)", R"(leave it out: data parallelism follows from the cluster and the other axes)"},
    {"plan", plan(R"("parallel": {"tp": 0})"), R"(plan.json:2: parallel.tp: 0 is less than 1)", R"()"},
    {"plan", plan(R"("parallel": {"tp": 1e15})"), R"(plan.json:2: parallel.tp: 1e15 is more than 1048576)", R"()"},
    {"plan", plan(R"("parallel": {"sp": 1})"), R"(plan.json:2: parallel.sp: 1 is neither true nor false)", R"()"},
    {"plan", plan(R"("parallel": {"cp_kind": "ring"})"), R"(plan.json:2: parallel.cp_kind: 'ring' is not known here)", R"(known: allgather, p2p, a2a, a2a+p2p)"},
    {"plan", plan(R"("parallel": {"order": "tp-cp-ep-dp"})"), R"(plan.json:2: parallel.order: 'tp-cp-ep-dp' is not an order of the axes)", R"(write each of tp, cp, ep, dp and pp once: tp-cp-ep-dp-pp)"},
    {"plan", plan(R"("schedule": "1f1d")"), R"(plan.json:2: schedule: '1f1d' is not known here)", R"(did you mean '1f1b'?)"},
    {"plan", plan(R"("schedule": "zero-bubble")"), R"(plan.json:2: schedule: 'zero-bubble' is not known here)", R"(known: gpipe, 1f1b, interleaved, looped-bfs, seq1f1b, zb-h1, zb-h2, zb-auto, zbv, v-half, v-min, dualpipe, dualpipev, circular, pipedream, pipedream-2bw, csv)"},
    {"plan", plan(R"("sharding": {"zero": 4})"), R"(plan.json:2: sharding.zero: 4 is more than 3)", R"()"},
    {"plan", plan(R"("recompute": {"modules": ["core_attn", "mpl"]})"), R"(plan.json:2: recompute.modules[1]: 'mpl' is not known here)", R"(did you mean 'mlp'?)"},
    {"plan", plan(R"("recompute": {"modules": "core_attn"})"), R"(plan.json:2: recompute.modules: 'core_attn' is not a list)", R"()"},
    {"plan", plan(R"("precision": {"compute": "bfloat16"})"), R"(plan.json:2: precision.compute: 'bfloat16' is not known here)", R"(known: fp32, tf32, bf16, fp16, fp8, fp4)"},
    {"plan", plan(R"("precision": {"params": "int32"})"), R"(plan.json:2: precision.params: 'int32' is not known here)", R"(known: fp32, tf32, bf16, fp16, fp8, fp4)"},
    {"plan", plan(R"("optimizer": {"betas": [0.9, 1.0]})"), R"(plan.json:2: optimizer.betas[1]: 1.0 is not below 1)", R"()"},
    {"plan", plan(R"("optimizer": {"betas": [0.9]})"), R"(plan.json:2: optimizer.betas: has 1 element, not 2)", R"()"},
    {"plan", plan(R"("optimizer": {"clip": -1})"), R"(plan.json:2: optimizer.clip: -1 is less than 0)", R"()"},
    {"plan", plan(R"("optimizer": {"kind": "adam"})"), R"(plan.json:2: optimizer.kind: 'adam' is not known here)", R"(did you mean 'adamw'?)"},
    {"plan", plan(R"("stages": [7, -8])"), R"(plan.json:2: stages[1]: -8 is less than 0)", R"()"},
    {"plan", plan(R"("segments": [{"first_layer": 0}])"), R"(plan.json:2: segments[0].layers: is missing)", R"(how many)"},
    {"plan", plan(R"("segments": [{"first_layer": 0, "layers": 2, "parallel": {"pp": 0}}])"), R"(plan.json:2: segments[0].parallel.pp: 0 is less than 1)", R"()"},
    {"plan", plan(R"("overlap": null)"), R"(plan.json:2: overlap: null is not an object)", R"()"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf16": 989.5}, "memory": "80 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132})", R"(device.json:1: peak.bf16: 989.5 has no unit)", R"(write a text with number and unit: "989.5 TFLOPS")"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf16": "989.5 TFLOP"}, "memory": "80 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132})", R"(device.json:1: peak.bf16: '989.5 TFLOP' is not a compute rate)", R"(write a number and a unit: 989.5 TFLOPS or 80 GFLOPS)"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf61": "989.5 TFLOPS"}, "memory": "80 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132})", R"(device.json:1: peak.bf61: is not a known name here)", R"(did you mean 'bf16'?)"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {}, "memory": "80 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132})", R"(device.json:1: peak: is empty)", R"(give at least one: "peak": {"bf16": "989.5 TFLOPS"})"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf16": "989.5 TFLOPS"}, "memory": "80 GBit",
 "memory_bandwidth": "3350 GB/s", "sms": 132})", R"(device.json:1: memory: '80 GBit' is not a number of bytes)", R"(write a number and a unit: 80 GB, 80 GiB or 85899345920 B)"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf16": "989.5 TFLOPS"}, "memory": "0 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132})", R"(device.json:1: memory: '0 GB' is zero)", R"()"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf16": "989.5 TFLOPS"}, "memory": "9e9 TiB",
 "memory_bandwidth": "3350 GB/s", "sms": 132})", R"(device.json:1: memory: '9e9 TiB' is more bytes than can be counted)", R"(write a number and a unit: 80 GB, 80 GiB or 85899345920 B)"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf16": "989.5 TFLOPS"}, "memory": "-80 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132})", R"(device.json:1: memory: '-80 GB' is not a number of bytes)", R"(write a number and a unit: 80 GB, 80 GiB or 85899345920 B)"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "tpu", "peak": {"bf16": "989.5 TFLOPS"}, "memory": "80 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132})", R"(device.json:1: kind: 'tpu' is not known here)", R"(did you mean 'gpu'?)"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf16": "989.5 TFLOPS"}, "memory": "80 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132, "tdp": "70 W", "idle_power": "700 W"})", R"(device.json:2: tdp: 70 W is less than the idle power, 700 W)", R"()"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf16": "989.5 TFLOPS"}, "memory": "80 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132, "efficiency": {"gem": {"value": 1, "source": "s"}}})", R"(device.json:2: efficiency.gem: is not a known name here)", R"(did you mean 'gemm'?)"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf16": "989.5 TFLOPS"}, "memory": "80 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132, "efficiency": {"gemm": 0.8}})", R"(device.json:2: efficiency.gemm: 0.8 is not an object)", R"()"},
    {"device", R"({"orrery": "device/1", "name": "d", "kind": "gpu", "peak": {"bf16": "989.5 TFLOPS"}, "memory": "80 GB",
 "memory_bandwidth": "3350 GB/s", "sms": 132, "efficiency": {"gemm": {"value": 0.8}}})", R"(device.json:2: efficiency.gemm.source: is missing)", R"(where the share comes from)"},
    {"cluster", R"({"orrery": "cluster/1", "name": "c", "device": "h10-sxm", "devices": 16, "node_size": 8,
 "levels": [{"name": "nvlink", "size": 8, "bandwidth": "450 GB/s", "efficiency": 0.8, "latency": "3 us", "source": "s"},
  {"name": "ib", "size": null, "bandwidth": "400 Gb/s", "efficiency": 0.9, "latency": "14 us", "source": "s"}]})", R"(cluster.json:1: device: is not known)", R"(did you mean 'h100-sxm'?)"},
    {"cluster", R"({"orrery": "cluster/1", "name": "c", "device": "h100-sxm", "devices": 12, "node_size": 8,
 "levels": [{"name": "nvlink", "size": 8, "bandwidth": "450 GB/s", "efficiency": 0.8, "latency": "3 us", "source": "s"},
  {"name": "ib", "size": null, "bandwidth": "400 Gb/s", "efficiency": 0.9, "latency": "14 us", "source": "s"}]})", R"(cluster.json:1: devices: 12 devices do not fill whole nodes of 8)", R"(the nearest sizes are 8 and 16)"},
    {"cluster", R"({"orrery": "cluster/1", "name": "c", "device": "h100-sxm", "devices": 16, "node_size": 8,
 "levels": [{"name": "nvlink", "size": 8, "bandwidth": "400 Gbps", "efficiency": 0.8, "latency": "3 us", "source": "s"},
  {"name": "ib", "size": null, "bandwidth": "400 Gb/s", "efficiency": 0.9, "latency": "14 us", "source": "s"}]})", R"(cluster.json:2: levels[0].bandwidth: '400 Gbps' is not a bandwidth)", R"(write a number and a unit: 400 Gb/s, 50 GB/s or 46 GiB/s)"},
    {"cluster", R"({"orrery": "cluster/1", "name": "c", "device": "h100-sxm", "devices": 16, "node_size": 8,
 "levels": [{"name": "nvlink", "size": 8, "bandwidth": "0 GB/s", "efficiency": 0.8, "latency": "3 us", "source": "s"},
  {"name": "ib", "size": null, "bandwidth": "400 Gb/s", "efficiency": 0.9, "latency": "14 us", "source": "s"}]})", R"(cluster.json:2: levels[0].bandwidth: '0 GB/s' is zero)", R"()"},
    {"cluster", R"({"orrery": "cluster/1", "name": "c", "device": "h100-sxm", "devices": 16, "node_size": 8,
 "levels": [{"name": "nvlink", "size": 8, "bandwidth": "450 GB/s", "efficiency": 0.8, "latency": "3 usec", "source": "s"},
  {"name": "ib", "size": null, "bandwidth": "400 Gb/s", "efficiency": 0.9, "latency": "14 us", "source": "s"}]})", R"(cluster.json:2: levels[0].latency: '3 usec' is not a duration)", R"(write a number and a unit: 2 us, 1.5 ms or 3 h)"},
    {"cluster", R"({"orrery": "cluster/1", "name": "c", "device": "h100-sxm", "devices": 16, "node_size": 8,
 "levels": [{"name": "nvlink", "size": null, "bandwidth": "450 GB/s", "efficiency": 0.8, "latency": "3 us", "source": "s"},
  {"name": "ib", "size": null, "bandwidth": "400 Gb/s", "efficiency": 0.9, "latency": "14 us", "source": "s"}]})", R"(cluster.json:2: levels[0].size: null is not a number of devices here)", R"(only the last level may leave its size to the cluster)"},
    {"cluster", R"({"orrery": "cluster/1", "name": "c", "device": "h100-sxm", "devices": 16, "node_size": 8,
 "levels": [{"name": "nvlink", "size": 8, "bandwidth": "450 GB/s", "efficiency": 0.8, "latency": "3 us", "source": "s"},
  {"name": "ib", "size": 4, "bandwidth": "400 Gb/s", "efficiency": 0.9, "latency": "14 us", "source": "s"}]})", R"(cluster.json:3: levels[1].size: 4 is less than 8, the size of the level before)", R"(list the innermost level first)"},
    {"cluster", R"({"orrery": "cluster/1", "name": "c", "device": "h100-sxm", "devices": 16, "node_size": 8,
 "levels": [{"name": "nvlink", "size": 8, "bandwidth": "450 GB/s", "efficiency": 0.8, "latency": "3 us", "source": "s"},
  {"name": "ib", "size": 8, "bandwidth": "400 Gb/s", "efficiency": 0.9, "latency": "14 us", "source": "s"}]})", R"(cluster.json:3: levels[1].size: 8 is less than the cluster's 16 devices)", R"(write null: the last level spans the cluster)"},
    {"cluster", R"({"orrery": "cluster/1", "name": "c", "device": "h100-sxm", "devices": 16, "node_size": 8,
 "levels": [{"name": "nvlink", "size": 8, "bandwidth": "450 GB/s", "efficiency": 0.8, "latency": "3 us", "source": "s"},
  {"name": "ib", "size": null, "bandwidth": "400 Gb/s", "efficiency": 0.9, "latency": "14 us"}]})", R"(cluster.json:3: levels[1].source: is missing)", R"(where these figures come from)"},
    {"cluster", R"({"orrery": "cluster/1", "name": "c", "device": "h100-sxm", "devices": 8, "node_size": 8, "levels": []})", R"(cluster.json:1: levels: is empty)", R"(describe at least one network level)"},
    {"profile", R"({"orrery": "profile/1", "device": "d", "date": "2026-11-21", "clock": "unknown", "driver": "unknown", "commit": "c", "memory": "24 GiB", "peak": "89 GFLOPS",
 "memory_bandwidth": "12 GB/s", "operators": [
  {"op": "linear_forward", "dims": [8], "dtype": "fp32", "median": 1e-3, "spread": 0.1, "count": 9}]})", R"(profile.json:3: operators[0].unit: is missing)", R"(medians are in seconds: "unit": "s")"},
    {"profile", R"({"orrery": "profile/1", "device": "d", "date": "2026-11-21", "clock": "unknown", "driver": "unknown", "commit": "c", "memory": "24 GiB", "peak": "89 GFLOPS",
 "memory_bandwidth": "12 GB/s", "operators": [
  {"op": "linear_forward", "dims": [8], "dtype": "fp32", "unit": "ms", "median": 1e-3, "spread": 0.1, "count": 9}]})", R"(profile.json:3: operators[0].unit: 'ms' is not 's')", R"(medians are in seconds: "unit": "s")"},
    {"profile", R"({"orrery": "profile/1", "device": "d", "date": "2026-11-21", "clock": "unknown", "driver": "unknown", "commit": "c", "memory": "24 GiB", "peak": "89 GFLOPS",
 "memory_bandwidth": "12 GB/s", "operators": [
  {"op": "linear_forward", "dims": [8], "dtype": "fp32", "unit": "s", "median": 1e-3, "count": 9}]})", R"(profile.json:3: operators[0].spread: is missing)", R"(half the interquartile range, relative to the median)"},
    {"profile", R"({"orrery": "profile/1", "device": "d", "date": "2026-11-21", "clock": "unknown", "driver": "unknown", "commit": "c", "memory": "24 GiB", "peak": "89 GFLOPS",
 "memory_bandwidth": "12 GB/s", "operators": [
  {"op": "linear_forward", "dims": [8], "dtype": "fp32", "unit": "s", "median": 1e-3, "spread": 0.1, "count": 0}]})", R"(profile.json:3: operators[0].count: 0 is less than 1)", R"()"},
    {"profile", R"({"orrery": "profile/1", "device": "d", "date": "2026-11-21", "clock": "unknown", "driver": "unknown", "commit": "c", "memory": "24 GiB", "peak": "89 GFLOPS",
 "memory_bandwidth": "12 GB/s", "operators": [
  {"op": "linear_forward", "dims": [8], "dtype": "fp32", "unit": "s", "median": -1e-3, "spread": 0.1, "count": 9}]})", R"(profile.json:3: operators[0].median: -1e-3 is less than 0)", R"()"},
    {"profile", R"({"orrery": "profile/1", "device": "d", "clock": "unknown", "driver": "unknown", "commit": "c", "memory": "24 GiB", "peak": "89 GFLOPS",
 "memory_bandwidth": "12 GB/s", "operators": [
  {"op": "linear_forward", "dims": [8], "dtype": "fp32", "unit": "s", "median": 1e-3, "spread": 0.1, "count": 9}]})", R"(profile.json:1: date: is missing)", R"(when)"},
    {"profile", R"({"orrery": "profile/1", "device": "", "date": "2026-11-21", "clock": "unknown", "driver": "unknown", "commit": "c", "memory": "24 GiB", "peak": "89 GFLOPS",
 "memory_bandwidth": "12 GB/s", "operators": [
  {"op": "linear_forward", "dims": [8], "dtype": "fp32", "unit": "s", "median": 1e-3, "spread": 0.1, "count": 9}]})", R"(profile.json:1: device: is empty)", R"()"},
    {"profile", R"({"orrery": "profile/1", "device": "d", "date": "2026-11-21", "clock": "unknown", "driver": "unknown", "commit": "c", "memory": "24 GiB", "peak": "89 GFLOPS",
 "memory_bandwidth": "12 GB/s", "operators": [
  {"op": "linear_forward", "dims": [8], "dtype": "fp32", "unit": "s", "median": 1e-3, "spread": 0.1, "count": 9}], "collectives": [{"op": "allreduce"}]})", R"(profile.json:3: collectives[0].op: 'allreduce' is not known here)", R"(did you mean 'all_reduce'?)"},
    {"timeline", R"()", R"(trace.json:1: is empty)", R"()"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X",)", R"(trace.json:3: ends in the middle of the document)", R"(is the file truncated?)"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/9","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0}}
]})", R"(trace.json:2: traceEvents[0].args.orrery: 'timeline/9' is not 'timeline/1')", R"()"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"process_name","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0}}
]})", R"(trace.json:2: is not a trace that Orrery wrote)", R"(its first event is {"ph":"M","name":"orrery",…}; traces of other programs cannot be read yet)"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":1,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0}}
]})", R"(trace.json:3: traceEvents[1].pid: 1 is not one of the 1 ranks)", R"(they are counted from 0)"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[9,0],"kind":0}}
]})", R"(trace.json:3: traceEvents[1].args.ps: ends before it starts)", R"()"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gem"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0}}
]})", R"(trace.json:2: traceEvents[0].args.kinds[0].work: 'gem' is not known here)", R"(did you mean 'gemm'?)"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0,"wait":"pipeline"}}
]})", R"(trace.json:3: traceEvents[1].args.wait: 'pipeline' is not known here)", R"(known: none, host, compute, tp, cp, ep, pp, dp)"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0}},
{"ph":"s","name":"flow","cat":"flow","id":0,"pid":0,"tid":0,"ts":0,"args":{"from":0,"to":4}}
]})", R"(trace.json:4: traceEvents[2].args: 4 is not one of the 1 spans)", R"(they are counted from 0)"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0}},
{"ph":"B","name":"k","pid":0,"ts":0}
]})", R"(trace.json:4: traceEvents[2].ph: 'B' is not a phase of our events)", R"(known: M, X, s, f, C)"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0}}
]}x)", R"(trace.json:4: has text after the end of the document)", R"()"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0}},
"x"]})", R"(trace.json:4: is not JSON: an event in braces expected)", R"()"},
    {"timeline", R"([{"ph":"X"}])", R"(trace.json:1: is not a trace that Orrery wrote)", R"(its first event is {"ph":"M","name":"orrery",…}; traces of other programs cannot be read yet)"},
    {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0}}
],"stackFrames":{}})", R"(trace.json:4: stackFrames: is not a known field)", R"(known: displayTimeUnit)"},
  };
  return kTable;
}
// clang-format on

TEST(BadInput, IsRefusedWithItsAddressTheReasonAndAWayOut) {
  for (const Bad& bad : table()) {
    const std::string expected = bad.hint.empty() ? bad.message : bad.message + "\n  hint: " + bad.hint;
    try {
      read(bad);
      ADD_FAILURE() << "was read: " << bad.text.substr(0, 300);
    } catch (const Error& e) {
      EXPECT_EQ(e.what(), expected) << bad.text.substr(0, 300);
    }
  }
  EXPECT_GE(table().size(), 90U);
}

// A document that is cut anywhere, or has any byte replaced, is read or refused; nothing else happens.
TEST(BadInput, CutOrCorruptedAnywhereIsReadOrRefused) {
  const std::vector<Bad> good{{"plan", plan(R"("stages": [1, 2], "optimizer": {"betas": [0.9, 0.95]})"), "", ""},
                              {"device", write_device(load_device("h100-sxm")), "", ""},
                              {"cluster", write_cluster(load_cluster("dgx-h100:16")), "", ""},
                              {"timeline", R"({"traceEvents":[
{"ph":"M","name":"orrery","pid":0,"args":{"orrery":"timeline/1","origin":"measured","step_ps":9,"streams":["compute"],"ranks":["r0"],"kinds":[{"name":"k","work":"gemm"}]}},
{"ph":"X","name":"k","cat":"gemm","pid":0,"tid":0,"ts":0,"dur":1,"args":{"ps":[0,9],"kind":0}},
{"ph":"C","name":"memory","pid":0,"ts":0,"ps":0,"args":{"bytes":1}}
],"displayTimeUnit":"ns"})",
                               "", ""}};
  for (Bad bad : good) {
    EXPECT_NO_THROW(read(bad));
    const std::string whole = bad.text;
    for (std::size_t i = 0; i < whole.size(); i += 7) {
      bad.text = whole.substr(0, i);
      EXPECT_THROW(read(bad), Error) << bad.reader << " cut at " << i;
      for (const char c : {'{', '"', '9', '\\', '\0', '\xff'}) {
        bad.text = whole;
        bad.text[i] = c;
        try {
          read(bad);
        } catch (const Error&) {
        }
      }
    }
  }
}

}  // namespace
}  // namespace orrery
