#include <algorithm>

#include "program/schedules/emit.h"
#include "program/schedules/schedules.h"

namespace orrery::program {

Schedule one_forward_one_backward(const ScheduleInput& input) {
  Schedule out = empty_schedule(input);
  const std::int64_t p = input.ranks, m = input.microbatches;
  for (std::int64_t r = 0; r < p; ++r)
    warm_up_and_alternate(
        out.order[static_cast<std::size_t>(r)], std::min(p - 1 - r, m), m, [](std::int64_t k) { return forward(k); },
        [](std::int64_t k) { return backward(k); });
  return out;
}

}  // namespace orrery::program
