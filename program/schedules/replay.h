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
  // Most chunk activations (of one split) live at once, from the forward's start until the end of the input gradient or of the weight gradient; the
  // two differ where a backward is split. An overlapped pair holds both of its halves' activations.
  std::vector<std::int64_t> peak_until_input_grad, peak_until_weight_grad;
};

// A forward needs the forward of the stage before; a backward or input_grad needs its own forward and the backward or input_grad of the stage after;
// a weight_grad needs its own input_grad. Of a micro-batch in splits, the forward of each split needs those of the splits before it at the same
// stage, and the backward those of the splits after it (causal attention). An overlapped pair starts when both halves can, and both end with it. A
// rank runs its passes in order, each as soon as it can. Throws Error (where: "schedule"): a deadlock with its cycle, by rank and pass; a pass that
// waits for one that nobody runs; a pass that comes twice or on a rank, chunk, split or micro-batch that the schedule does not have; a kind of pass
// that has no such rule.
Replay replay(const Schedule& schedule, const PassCosts& costs);

// By rank and pass the step that it runs in, where every pass takes one step and needs what was done in earlier ones. Throws Error as replay does.
std::vector<std::vector<std::int64_t>> step_grid(const Schedule& schedule);

// Throws Error as replay does, and where a pass is missing, by rank and micro-batch, or more than `memory_limit` activations of chunks are live on
// a rank (counted until the weight gradient).
void check(const Schedule& schedule, std::optional<std::int64_t> memory_limit = {});

// A pass as messages name it: "backward of micro-batch 3 (chunk 1)".
std::string in_words(const Schedule& schedule, const Pass& pass);

}  // namespace orrery::program
