// What a run's checkpoints take.
#pragma once

#include <cstdint>
#include <optional>

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"
#include "core/units.h"
#include "program/program.h"

namespace orrery::app {

// Made as the executor makes them: every rank copies its part of the state to the host's memory, and all write at the same time, behind the next
// steps or (mode sync) before them. Not modelled: that what is written in the background takes cores, memory bandwidth and network from the steps.
struct CheckpointCost {
  std::int64_t every = 0;  // steps
  bool in_background = true;
  Bytes bytes, fullest;          // of one checkpoint, and of it the most that one rank has
  Seconds copy;                  // of the rank that has the most
  std::optional<Seconds> write;  // of all, where the storage's bandwidth is known
  Seconds stall;                 // by which each checkpoint makes the run longer
  Seconds step;                  // mean of all steps, with that
  BytesPerSecond needed;         // of the storage, in the background: so that one is written when the next begins
};

// Of a plan with checkpoint.every_steps, whose steps take `step`; `storage`: what all ranks together write at. Throws Error where the executor makes
// none of this program, and in mode sync without a bandwidth.
CheckpointCost checkpoint_cost(const program::Program& program, const Cluster& cluster, const Plan& plan, Seconds step,
                               std::optional<BytesPerSecond> storage);

}  // namespace orrery::app
