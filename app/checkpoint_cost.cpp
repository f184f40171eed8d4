#include "app/checkpoint_cost.h"

#include <algorithm>
#include <map>
#include <string>

#include "core/error.h"
#include "executor/checkpoint/checkpoint.h"
#include "executor/checkpoint/state.h"

namespace orrery::app {
namespace {

// Device to host over PCIe 5.0 x16, nvbandwidth on a node of 8 H200 (stas00/ml-engineering@744d01e1, network/README.md).
constexpr BytesPerSecond kDeviceToHost{55.06e9};

// Of one element: its parameter and its optimizer states.
std::int64_t width(const program::Role& role) {
  const executor::StateBuffers b = executor::state_buffers(role);
  std::int64_t sum = 0;
  for (const std::int32_t buffer : {b.parameters, b.m, b.v, b.master})
    if (buffer >= 0) sum += bits(role.buffers[static_cast<std::size_t>(buffer)].dtype) / 8;
  return sum;
}

}  // namespace

CheckpointCost checkpoint_cost(const program::Program& program, const Cluster& cluster, const Plan& plan, Seconds step,
                               std::optional<BytesPerSecond> storage) {
  executor::refuse_checkpoints(program);
  CheckpointCost out;
  out.every = plan.checkpoint.every_steps.value_or(1);
  out.in_background = plan.checkpoint.mode == "async";
  std::map<std::string, std::int64_t> tensors;
  for (std::size_t r = 0; r < program.roles.size(); ++r) {
    const program::Role& role = program.roles[r];
    for (const program::Parameter& p : role.parameters) tensors[p.name] = p.global_rows * p.global_cols * width(role);
    std::int64_t elements = 0;  // ranks of a role share alike: the first stands for all
    for (const executor::OwnedStretch& s : executor::owned_states(program, program.first_of_role(r), true)) elements += s.count;
    out.fullest.v = std::max(out.fullest.v, elements * width(role));
  }
  for (const auto& [name, bytes] : tensors) out.bytes.v += bytes;

  // On a CPU a copy reads and writes the same memory.
  const BytesPerSecond rate = cluster.device.kind == DeviceKind::gpu ? kDeviceToHost : cluster.device.memory_bandwidth * 0.5;
  out.copy = out.fullest / rate;
  if (storage) out.write = out.bytes / *storage;
  const Seconds between = step * static_cast<double>(out.every);
  out.needed = BytesPerSecond{static_cast<double>(out.bytes.v) / between.v};
  if (out.in_background) {
    out.stall = out.copy;
    if (out.write && *out.write > between) out.stall += *out.write - between;  // the next one waits for it
  } else {
    if (!out.write)
      throw Error("checkpoint.mode", "ranks wait until a checkpoint is written, and nothing says how fast that is",
                  "give the storage's bandwidth, e.g. --storage \"20 GB/s\", or set checkpoint.mode=async");
    out.stall = out.copy + *out.write;
  }
  out.step = step + out.stall * (1.0 / static_cast<double>(out.every));
  return out;
}

}  // namespace orrery::app
