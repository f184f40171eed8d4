// What an operator costs by the datasheet: the later of its arithmetic and its memory traffic, each at a stated share of the peak.
#pragma once

#include "core/cluster.h"
#include "program/operators.h"
#include "program/program.h"

namespace orrery::cost {

// One operator on one device, alone.
struct Estimate {
  Seconds duration;
  bool arithmetic_bound = false;  // otherwise bound by memory traffic or by its fixed part
  double memory_fraction = 0;     // of the device's memory bandwidth, while it runs
  Source source;
};

// duration = max(FLOPs / (peak · share), traffic / (bandwidth · share)) + a fixed part, never above the peak or the bandwidth.
// Throws Error when the device has no peak for the shape's type. Communication and waits take no time here.
Estimate roofline(const program::Shape& shape, const Device& device);

// Host time to issue one instruction.
Seconds issue_time(const Device& device, program::Launch launch);

}  // namespace orrery::cost
