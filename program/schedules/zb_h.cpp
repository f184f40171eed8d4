#include <algorithm>

#include "program/schedules/emit.h"
#include "program/schedules/schedules.h"

namespace orrery::program {
namespace {

// `warm_up` forwards; then for every micro-batch its input gradient, the weight gradient of the micro-batch `lag` before it, and one more forward.
void write_order(std::vector<Pass>& passes, std::int64_t warm_up, std::int64_t lag, std::int64_t m) {
  for (std::int64_t i = 0; i < warm_up; ++i) passes.push_back(forward(i));
  for (std::int64_t i = 0; i < m; ++i) {
    passes.push_back(input_grad(i));
    if (i >= lag) passes.push_back(weight_grad(i - lag));
    if (warm_up + i < m) passes.push_back(forward(warm_up + i));
  }
  for (std::int64_t i = std::max<std::int64_t>(0, m - lag); i < m; ++i) passes.push_back(weight_grad(i));
}

}  // namespace

Schedule zb_h1(const ScheduleInput& input) {
  Schedule out = empty_schedule(input);
  for (std::int64_t r = 0; r < input.ranks; ++r)
    write_order(out.order[static_cast<std::size_t>(r)], std::min(input.ranks - r, input.microbatches), r, input.microbatches);
  return out;
}

Schedule zb_h2(const ScheduleInput& input) {
  Schedule out = empty_schedule(input);
  for (std::int64_t r = 0; r < input.ranks; ++r)
    write_order(out.order[static_cast<std::size_t>(r)], std::min(2 * (input.ranks - r) - 1, input.microbatches), 2 * r, input.microbatches);
  return out;
}

}  // namespace orrery::program
