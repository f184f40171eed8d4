// Schedules for properties.
#pragma once

#include <rapidcheck.h>

#include <string>

#include "program/schedules/schedule.h"

namespace orrery::program::testing {

// Any schedule, with an input that it accepts; now and then one that its rules make ragged.
inline Schedule any_schedule() {
  const std::string name = *rc::gen::elementOf(schedule_names());
  const auto upto = [](std::int64_t least, std::int64_t most) { return *rc::gen::inRange<std::int64_t>(least, most + 1); };
  ScheduleInput in{.ranks = upto(1, 9), .microbatches = upto(1, 24)};
  if (name == "looped-bfs" || name == "circular" || name == "interleaved") in.chunks = upto(name == "interleaved" ? 2 : 1, 4);
  if (name == "dualpipe") in.ranks = 2 * upto(1, 5), in.microbatches = 2 * upto(in.ranks, 2 * in.ranks);
  if (name == "dualpipev") in.microbatches = upto(2 * in.ranks, 4 * in.ranks);
  if (name == "circular" || name == "pipedream-2bw" || name == "interleaved") in.microbatches = upto(in.ranks, 4 * in.ranks);
  if (name == "interleaved" && upto(0, 1) == 1) in.microbatches *= in.ranks, in.rounds = true;
  if (name == "interleaved" && !in.rounds) {
    in.group = upto(in.ranks, in.microbatches);
    if (const auto last = in.microbatches % *in.group; last != 0 && last < in.ranks) in.group = in.microbatches;
  }
  if (name == "seq1f1b") in.splits = upto(1, 5);
  if (name == "v-half" || name == "v-min") in.ranks = upto(1, 6);  // their search is the slow one
  if (name == "zb-auto" && upto(0, 1) == 1) in.memory_limit = upto(1, 3 * in.ranks);
  if (name == "zb-auto" && upto(0, 1) == 1)
    in.costs = PassCosts{.forward = upto(0, 9), .input_grad = upto(0, 9), .weight_grad = upto(0, 9), .latency = upto(0, 5)};
  if (name == "pipedream" && upto(0, 1) == 1) {
    in.ranks = 0;
    for (std::int64_t stages = upto(1, 4); stages > 0; --stages) in.replicas.push_back(upto(1, 4)), in.ranks += in.replicas.back();
  }
  return make_schedule(name, in);
}

}  // namespace orrery::program::testing
