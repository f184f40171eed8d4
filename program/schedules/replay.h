// Runs an order of passes in exact integer time: the oracle for schedules, and where a Program's bubble fraction comes from.
#pragma once

#include <cstdint>
#include <vector>

#include "program/schedules/schedule.h"

namespace orrery::program {

struct PassTimes {
  std::int64_t start = 0, end = 0;
  bool operator==(const PassTimes&) const = default;
};

// What a replayed order did, in the unit of its costs. Vectors are by rank.
struct Replay {
  std::int64_t makespan = 0;  // from 0 to the last end of all ranks
  std::vector<std::vector<PassTimes>> passes;
  std::vector<std::int64_t> busy;
  std::vector<std::int64_t> idle_in_makespan;  // makespan − busy: what a step that ends with a global collective waits
  std::vector<std::int64_t> idle_in_span;      // last end − first start − busy: what remains when ranks end their steps on their own
  std::vector<std::int64_t> peak_activations;  // most chunk activations live at once, from the forward's start to the end of backward or weight_grad
};

// Stage s = chunk · ranks + rank. A forward needs the forward of stage s − 1; a backward or input_grad needs its own forward and the backward or
// input_grad of stage s + 1; a weight_grad needs its own input_grad. A rank runs its passes in order, each as soon as it can.
// Throws Error that names rank and pass: for a deadlock, for a pass that comes twice, and for a kind of pass that has no such rule.
Replay replay(const PassOrder& order, const PassCosts& costs);

}  // namespace orrery::program
