#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "program/schedules/emit.h"
#include "program/schedules/schedules.h"

namespace orrery::program {

Schedule pipedream(const ScheduleInput& input) {
  Schedule out = empty_schedule(input);
  out.update_every = 1;
  out.replicas = input.replicas;
  if (out.replicas.empty()) out.replicas.assign(static_cast<std::size_t>(input.ranks), 1);
  std::size_t rank = 0;
  for (const std::int64_t n : out.replicas) {
    const std::int64_t warm_up = (input.ranks - 1 - static_cast<std::int64_t>(rank)) / n;
    for (std::int64_t first = 0; first < n; ++first, ++rank) {
      const std::int64_t mine = (input.microbatches - first + n - 1) / n;
      out.admitted.push_back(std::min(warm_up, mine));
      out.versions.push_back(warm_up + 1);
      warm_up_and_alternate(
          out.order[rank], out.admitted.back(), mine, [=](std::int64_t k) { return forward(first + n * k); },
          [=](std::int64_t k) { return backward(first + n * k); });
    }
  }
  return out;
}

Schedule pipedream_2bw(const ScheduleInput& input) {
  const std::int64_t p = input.ranks, m = input.microbatches;
  if (m < p)
    throw Error("microbatches", fmt::format("{} micro-batches per update are fewer than the {} ranks: two weight versions would not do", m, p),
                fmt::format("use {} or more", p));
  Schedule out = one_forward_one_backward(input);
  out.update_every = m, out.uniform_delay = true;
  for (std::int64_t r = 0; r < p; ++r) {
    out.admitted.push_back(p - 1 - r);
    out.versions.push_back(std::min<std::int64_t>(2, p - r));
  }
  return out;
}

}  // namespace orrery::program
