// What the executor's runtime itself costs: issuing an instruction, and loading a micro-batch's tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/profile.h"
#include "program/program.h"

namespace orrery::profiler {

struct RuntimeMeasurement {
  Seconds issue;                           // median time from the end of one instruction's work to the beginning of the next one's
  std::vector<OperatorMeasurement> loads;  // in the order they were asked for
};

// Runs small programs with the executor, on one rank: instructions that clear more memory than a core's own cache holds, so that the runtime finds
// its own data as far away as in a training step; and, among them, the given load_tokens and load_targets.
RuntimeMeasurement measure_runtime(std::span<const program::Shape> loads);

}  // namespace orrery::profiler
