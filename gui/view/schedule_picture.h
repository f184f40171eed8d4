// A plan's pipeline schedule as cells to be painted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/plan.h"
#include "program/schedules/schedule.h"

namespace orrery::view {

struct ScheduleCell {
  std::int64_t from = 0, to = 0;  // a forward takes 2, a backward 4, each of its halves 2
  std::uint16_t rank = 0;
  std::uint16_t chunk = 0;
  program::PassKind kind = program::PassKind::forward;  // forward, backward, input_grad or weight_grad
  std::int8_t half = -1;                                // of an overlapped pair: 0 above, 1 below; -1: the whole height
  std::int32_t microbatch = 0;
  bool operator==(const ScheduleCell&) const = default;
};

struct SchedulePicture {
  std::string name;
  std::int64_t ranks = 0, chunks = 1, microbatches = 0, of = 0;  // micro-batches drawn, and of the plan
  std::int64_t makespan = 0;
  double bubble = 0;                // of the order drawn: the largest share of the makespan that a rank idles
  std::vector<ScheduleCell> cells;  // by rank, then time
  std::string fault;                // why there is no picture
};

// With equal stages and without messages' time. More micro-batches than make `most` cells are left out, in whole rounds of the pipeline.
SchedulePicture schedule_picture(const Plan& plan, std::int64_t microbatches, std::size_t most = 4000);

}  // namespace orrery::view
