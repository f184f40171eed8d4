#include "program/schedules/schedule.h"

namespace orrery::program {

PassOrder gpipe(const ScheduleInput& input) {
  const auto m = static_cast<std::int32_t>(input.microbatches);
  std::vector<Pass> passes;
  passes.reserve(2 * static_cast<std::size_t>(m));
  for (std::int32_t i = 0; i < m; ++i) passes.push_back({.kind = PassKind::forward, .microbatch = i});
  for (std::int32_t i = 0; i < m; ++i) passes.push_back({.kind = PassKind::backward, .microbatch = i});
  return PassOrder(static_cast<std::size_t>(input.ranks), passes);
}

}  // namespace orrery::program
