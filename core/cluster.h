// The machines: devices of one kind in nodes, nodes on a fabric. Every figure names its source.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/units.h"

namespace orrery {

// How far a number can be trusted, best first.
enum class Grade : std::uint8_t { measured_here, measured_elsewhere, fitted, datasheet, assumed };

struct Source {
  std::string name;  // a document, a table, a measurement
  Grade grade = Grade::assumed;
  double sigma = 0;  // relative standard error of figures from this source
  bool operator==(const Source&) const = default;
};

enum class DeviceKind : std::uint8_t { gpu, cpu_core };

struct Device {
  std::string name;  // key under topologies/devices, e.g. "h100-sxm"
  DeviceKind kind = DeviceKind::gpu;
  std::map<DType, FlopsPerSecond> peak;  // dense, no sparsity
  Bytes memory;                          // usable by a program
  BytesPerSecond memory_bandwidth;
  std::int64_t sms = 0;
  Watts idle_power, tdp;
  Seconds launch;  // host time to issue one kernel
  // Share of the clock at which `peak` holds: arithmetic goes with it, memory and network do not (docs/models/power.md).
  double clock = 1;
  // Share of the roofline reached by a class of operators ("gemm", "attention_forward", "attention_backward", "memory"), each with its source.
  struct Efficiency {
    double value = 1;
    std::string source;
    bool operator==(const Efficiency&) const = default;
  };
  std::map<std::string, Efficiency> efficiency;
  std::map<std::string, std::string> sources;  // field -> where the figure comes from
  bool operator==(const Device&) const = default;

  // At its clock: the peak of `t`, or of the type that runs in its place (fp16 for bf16 and the reverse, fp32 for tf32); 0 when the device has
  // neither.
  FlopsPerSecond peak_of(DType t) const;
};

// One level of the network: `size` devices (cumulative) reach each other at `bandwidth` per device and direction.
struct NetworkLevel {
  std::string name;          // "nvlink", "infiniband", "shared-memory"
  std::int64_t size = 1;     // devices within one domain of this level
  BytesPerSecond bandwidth;  // per device, one direction, nominal
  double efficiency = 1;     // share of the nominal rate that a large collective reaches
  Seconds latency;           // of one step between two devices
  std::string source;
  bool operator==(const NetworkLevel&) const = default;
};

// A straggler: a device on which every computation takes `factor` times as long as on the others. Communication is not slower.
struct SlowDevice {
  std::int64_t device = 0;
  double factor = 1;
  bool operator==(const SlowDevice&) const = default;
};

struct Cluster {
  std::string name;  // "dgx-h100"
  Device device;
  std::int64_t devices = 0;  // ranks that the cluster can hold
  std::int64_t node_size = 1;
  std::vector<NetworkLevel> levels;  // innermost first; the last spans the cluster
  // CPU clusters: this many cores are shared by the `devices` ranks of a node. 0: every device is its own.
  std::int64_t shared_cores = 0;
  double price_per_device_hour = 0;  // US dollars, 0: unknown
  std::vector<SlowDevice> slow{};
  std::map<std::string, std::string> sources;
  bool operator==(const Cluster&) const = default;

  // CPU clusters: cores of all nodes together.
  std::int64_t all_cores() const { return shared_cores * ((devices + node_size - 1) / node_size); }

  // The innermost level whose domains hold devices `a` and `b` together.
  std::size_t level_between(std::int64_t a, std::int64_t b) const;
};

}  // namespace orrery
