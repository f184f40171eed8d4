#include <algorithm>

#include "program/schedules/schedule.h"

namespace orrery::program {

PassOrder one_forward_one_backward(const ScheduleInput& input) {
  const auto m = static_cast<std::int32_t>(input.microbatches);
  PassOrder order(static_cast<std::size_t>(input.ranks));
  for (std::int64_t r = 0; r < input.ranks; ++r) {
    std::vector<Pass>& passes = order[static_cast<std::size_t>(r)];
    passes.reserve(2 * static_cast<std::size_t>(m));
    const auto warm_up = static_cast<std::int32_t>(std::min<std::int64_t>(input.ranks - 1 - r, m));
    for (std::int32_t i = 0; i < warm_up; ++i) passes.push_back({.kind = PassKind::forward, .microbatch = i});
    for (std::int32_t i = 0; i < m - warm_up; ++i) {
      passes.push_back({.kind = PassKind::forward, .microbatch = warm_up + i});
      passes.push_back({.kind = PassKind::backward, .microbatch = i});
    }
    for (std::int32_t i = m - warm_up; i < m; ++i) passes.push_back({.kind = PassKind::backward, .microbatch = i});
  }
  return order;
}

}  // namespace orrery::program
