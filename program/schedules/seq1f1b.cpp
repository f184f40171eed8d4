#include <algorithm>

#include "program/schedules/emit.h"
#include "program/schedules/schedules.h"

namespace orrery::program {

Schedule seq1f1b(const ScheduleInput& input) {
  const std::int64_t p = input.ranks, q = input.splits.value_or(2), units = input.microbatches * q;
  Schedule out = empty_schedule(input);
  out.splits = q;
  for (std::int64_t r = 0; r < p; ++r)
    warm_up_and_alternate(
        out.order[static_cast<std::size_t>(r)], std::min(p - r - 2 + q, units), units,
        [q](std::int64_t k) { return pass(PassKind::forward, k / q, 0, k % q); },
        [q](std::int64_t k) { return pass(PassKind::backward, k / q, 0, q - 1 - k % q); });
  return out;
}

}  // namespace orrery::program
