// What one machine was measured to do: operators and collectives, each with unit, median, spread and count; and where, when and with what.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/dtype.h"
#include "core/units.h"

namespace orrery {

// One measured operator at one shape. Dimensions are in the order that program/operators.h documents for the operator.
struct OperatorMeasurement {
  std::string op;  // program::name(Operator), e.g. "linear_forward"
  std::vector<std::int64_t> dims;
  DType dtype = DType::fp32;
  std::int64_t busy = 1;   // ranks that ran the same operator at the same time, each on its own data
  Seconds median;          // of one call
  double spread = 0;       // half the interquartile range, relative to the median
  std::int64_t count = 0;  // calls timed
  Bytes footprint{};       // of all operands that were used in turn, per rank: what else was touched between two uses of one; 0: not said
  bool operator==(const OperatorMeasurement&) const = default;
};

// One measured collective (or point-to-point copy, ranks = 2). `bytes` counts as in CommShape::bytes.
struct CollectiveMeasurement {
  std::string op;  // "all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "send_recv"
  std::int64_t ranks = 2;
  Bytes bytes;
  Seconds median;
  double spread = 0;
  std::int64_t count = 0;
  std::int64_t nodes = 1;  // that the members are spread over, as many on each
  bool operator==(const CollectiveMeasurement&) const = default;
};

// What a collective and a product beside it do to each other. Recorded for the reader: no price uses it yet.
struct InterferenceMeasurement {
  std::string op;  // the collective, on so many ranks and bytes
  std::int64_t ranks = 2;
  Bytes bytes;
  std::string beside;  // an operator, at this shape
  std::vector<std::int64_t> dims;
  double collective_slowdown = 1, slowdown = 1;  // of each, relative to itself alone
  std::int64_t count = 0;                        // of the collective, beside the operator
  bool operator==(const InterferenceMeasurement&) const = default;
};

// Bytes brought to a device or from it, set there, or a piece of its memory taken or given back.
struct DeviceCallMeasurement {
  std::string what;  // "upload", "download", "fill", "allocate", "release"
  Bytes bytes;
  Seconds median;
  double spread = 0;
  std::int64_t count = 0;
  bool operator==(const DeviceCallMeasurement&) const = default;
};

// What a device draws while one operator runs again and again; "idle": while nothing does.
struct PowerMeasurement {
  std::string what;  // "idle", or a class of work, e.g. "gemm"
  Watts power;       // by the device's energy counter
  Seconds time;      // that it was observed for
  std::string of;    // the operator, in words
  bool operator==(const PowerMeasurement&) const = default;
};

// What a device said about itself at one moment.
struct DeviceState {
  std::string when;                    // "begin", "end"
  double clock = 0, memory_clock = 0;  // MHz; 0: unknown
  double temperature = 0;              // degrees Celsius; 0: unknown
  Watts power;                         // 0: unknown
  std::vector<std::string> slowed_by;  // why the clocks are not at their highest, e.g. "power cap"
  std::int64_t memory_errors = 0;      // that could not be corrected, since the driver was loaded
  bool operator==(const DeviceState&) const = default;
};

// How a profile of one device became one of another.
struct Transfer {
  std::string from;             // the device that was measured
  double arithmetic_error = 0;  // relative, of what arithmetic bounds, beyond the measurement's own
  double memory_error = 0;      // of what memory bounds
  bool operator==(const Transfer&) const = default;
};

struct Profile {
  std::string device;  // what was measured, e.g. "AMD EPYC, 2 cores" or "NVIDIA H200"
  DeviceKind kind = DeviceKind::cpu_core;
  std::string part;                         // its name under topologies/devices; empty: none, or a CPU
  std::string clock, driver, date, commit;  // "unknown" where the machine does not say
  std::int64_t cores = 1;                   // CPU: cores that ranks share; GPU: 1
  Bytes memory;
  FlopsPerSecond peak;              // the best rate of any matrix product measured, by one rank alone
  BytesPerSecond memory_bandwidth;  // copy, read + written bytes, by one rank alone
  std::vector<OperatorMeasurement> operators;
  std::vector<CollectiveMeasurement> collectives;
  Seconds issue{};  // host time per instruction: of a program whose kernels run on the issuing thread, or to enqueue it on a GPU; 0: not measured
  // GPU: host time per instruction of a recording that is replayed; and from one smallest kernel to the next where the queue is full, launched one by
  // one (which operators' medians contain) and recorded. 0: not measured.
  Seconds issue_recorded{}, kernel{}, kernel_recorded{};
  DType parameters = DType::fp32, gradients = DType::fp32;  // types that these operands had
  std::vector<DeviceCallMeasurement> device_calls{};
  std::vector<PowerMeasurement> power{};
  std::vector<DeviceState> states{};
  std::vector<InterferenceMeasurement> interference{};
  std::optional<Transfer> transferred{};  // empty: measured on `device`
  std::vector<std::string> left_out;      // what was asked for and not measured, in words: there was no time or memory for it
  bool operator==(const Profile&) const = default;
};

}  // namespace orrery
