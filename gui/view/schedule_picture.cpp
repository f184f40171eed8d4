#include "gui/view/schedule_picture.h"

#include <algorithm>

#include "core/error.h"
#include "program/compile.h"
#include "program/schedules/replay.h"

namespace orrery::view {

SchedulePicture schedule_picture(const Plan& plan, std::int64_t microbatches, std::size_t most) {
  SchedulePicture out;
  out.name = plan.schedule;
  out.of = microbatches;
  const std::int64_t ranks = program::pipeline_ranks(plan), chunks = std::max<std::int64_t>(1, plan.parallel.vp);
  const auto passes = static_cast<double>(ranks) * static_cast<double>(chunks) * 2.0;
  const std::int64_t round = std::max<std::int64_t>(1, ranks);
  std::int64_t drawn = microbatches;
  if (passes * static_cast<double>(microbatches) > static_cast<double>(most)) {
    const auto room = static_cast<std::int64_t>(static_cast<double>(most) / passes);
    drawn = std::min(microbatches, std::max<std::int64_t>(2 * round, room / round * round));
  }
  try {
    program::Schedule schedule;
    try {
      schedule = program::plan_schedule(plan, drawn);
    } catch (const Error&) {
      if (drawn == microbatches) throw;
      schedule = program::plan_schedule(plan, microbatches);  // takes no other number
    }
    const program::Replay replay = program::replay(schedule, {.forward = 2, .input_grad = 2, .weight_grad = 2});
    out.ranks = schedule.ranks, out.chunks = schedule.chunks, out.microbatches = schedule.microbatches, out.makespan = replay.makespan;
    for (std::size_t r = 0; r < schedule.order.size(); ++r) {
      for (std::size_t k = 0; k < schedule.order[r].size(); ++k) {
        const program::PassTimes& t = replay.passes[r][k];
        if (t.end == t.start) continue;
        const bool pair = schedule.order[r][k].kind == program::PassKind::forward_backward;
        std::int8_t half = pair ? 0 : -1;
        program::for_each_half(schedule.order[r][k], [&](const program::Pass& pass) {
          out.cells.push_back({t.start, t.end, static_cast<std::uint16_t>(r), pass.chunk, pass.kind, half, pass.microbatch});
          if (pair) ++half;
        });
      }
      if (replay.makespan > 0)
        out.bubble = std::max(out.bubble, static_cast<double>(replay.idle_in_makespan[r]) / static_cast<double>(replay.makespan));
    }
  } catch (const Error& e) {
    out.fault = e.message();
  }
  return out;
}

}  // namespace orrery::view
