// The least that a plan can need, without simulating it. Admissible: no simulation of the plan comes out below.
#pragma once

#include <cstdint>

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"
#include "core/units.h"
#include "cost/cost.h"
#include "program/program.h"

namespace orrery::planner {

// Parameters, gradients and optimizer states of the average rank: the fullest stage holds at least this much. Activations are left out.
Bytes memory_bound(const Model& model, const Cluster& cluster, const Plan& plan);

// A step cannot be shorter than one stage's passes plus filling and draining the pipeline in front of it: for every stage s,
// optimizer_0 + Σ_{s'<s} (F_s' + B_s') + (s's own forward and backward passes) <= step, since the gradient norm joins all stages once per step.
// Durations are those of the cost table, waits and communication are left out. On a machine whose ranks share cores the total core time divided by
// the cores is a bound as well.
Picoseconds time_bound(const program::Program& program, const cost::Table& cost, const Cluster& cluster);

}  // namespace orrery::planner
