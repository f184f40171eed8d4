#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "program/schedules/schedule.h"

namespace orrery::program {

Schedule overlap_neighbours(const Schedule& schedule) {
  Schedule out = schedule;
  for (std::vector<Pass>& order : out.order) {
    std::vector<Pass> forwards, backwards;
    std::size_t warm_up = order.size();
    for (std::size_t k = 0; k < order.size(); ++k) {
      if (order[k].kind != PassKind::forward && order[k].kind != PassKind::backward)
        throw Error("schedule", fmt::format("schedule '{}' has other passes than whole forwards and backwards to overlap", schedule.name),
                    "use 1f1b or interleaved");
      if (order[k].kind == PassKind::backward) warm_up = std::min(warm_up, k);
      (order[k].kind == PassKind::forward ? forwards : backwards).push_back(order[k]);
    }
    warm_up = std::min(warm_up, forwards.size());  // one more than in a schedule that would run its first pair one after the other
    std::vector<Pass> both(forwards.begin(), forwards.begin() + static_cast<std::ptrdiff_t>(warm_up));
    for (std::size_t k = warm_up; k < forwards.size(); ++k) {
      const Pass& backward = backwards[k - warm_up];
      Pass& pair = both.emplace_back(forwards[k]);
      pair.kind = PassKind::forward_backward;
      pair.backward_chunk = backward.chunk, pair.backward_direction = backward.direction, pair.backward_split = backward.split;
      pair.backward_microbatch = backward.microbatch;
    }
    both.insert(both.end(), backwards.begin() + static_cast<std::ptrdiff_t>(forwards.size() - warm_up), backwards.end());
    order = std::move(both);
  }
  return out;
}

}  // namespace orrery::program
