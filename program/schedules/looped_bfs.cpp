#include <fmt/format.h>

#include "core/error.h"
#include "program/schedules/emit.h"
#include "program/schedules/schedules.h"

namespace orrery::program {

Schedule looped_bfs(const ScheduleInput& input) {
  Schedule out = empty_schedule(input, Placement::loop, input.chunks);
  for (auto& passes : out.order) {
    for (std::int64_t chunk = 0; chunk < input.chunks; ++chunk)
      for (std::int64_t i = 0; i < input.microbatches; ++i) passes.push_back(forward(i, chunk));
    for (std::int64_t chunk = input.chunks; chunk-- > 0;)
      for (std::int64_t i = input.microbatches; i-- > 0;) passes.push_back(backward(i, chunk));
  }
  return out;
}

Schedule circular(const ScheduleInput& input) {
  if (input.microbatches < input.ranks)
    throw Error("microbatches", fmt::format("{} micro-batches do not fill a circle of {} ranks", input.microbatches, input.ranks),
                fmt::format("use {} or more", input.ranks));
  return looped_bfs(input);
}

}  // namespace orrery::program
