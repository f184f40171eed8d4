#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "program/schedules/emit.h"
#include "program/schedules/schedules.h"

namespace orrery::program {
namespace {

// Whether groups of G leave no last group smaller than the pipeline, which would stall it.
bool keeps_pipeline_full(std::int64_t ranks, std::int64_t microbatches, std::int64_t group) {
  const std::int64_t last = microbatches % group;
  return group >= ranks && group <= microbatches && (last == 0 || last >= ranks);
}

std::int64_t group_of(const ScheduleInput& in) {
  const std::int64_t p = in.ranks, m = in.microbatches;
  if (in.rounds) {
    if (in.group) throw Error("group", "is given, and so are PyTorch's rounds, which choose it", "leave one of them out");
    const std::int64_t rounds = std::max<std::int64_t>(1, m / p);
    if (m % rounds != 0)
      throw Error("microbatches", fmt::format("{} micro-batches do not divide into {} rounds", m, rounds), fmt::format("use a multiple of {}", p));
    return m / rounds;
  }
  if (m < p) throw Error("microbatches", fmt::format("{} micro-batches are fewer than the {} ranks", m, p), fmt::format("use {} or more", p));
  const std::int64_t group = in.group.value_or(p);
  if (keeps_pipeline_full(p, m, group)) return group;
  const std::string what = group < p || group > m
                               ? fmt::format("a group has {} to {} micro-batches, one per rank or more, not {}", p, m, group)
                               : fmt::format("groups of {} leave a last one of {} micro-batches, fewer than the {} ranks", group, m % group, p);
  std::int64_t legal = p;
  while (!keeps_pipeline_full(p, m, legal)) ++legal;
  throw Error("group", what, fmt::format("use groups of {}, or a multiple of {} micro-batches", legal, p));
}

}  // namespace

Schedule interleaved(const ScheduleInput& input) {
  const std::int64_t p = input.ranks, m = input.microbatches, v = input.chunks;
  if (v < 2) throw Error("chunks", "interleaving needs two chunks per rank or more", "use 2 chunks, or schedule 1f1b");
  const std::int64_t group = group_of(input);
  std::vector<std::pair<std::int64_t, std::int64_t>> table;  // (micro-batch, chunk) of the k-th forward
  for (std::int64_t first = 0; first < m; first += group)
    for (std::int64_t chunk = 0; chunk < v; ++chunk)
      for (std::int64_t i = first; i < std::min(first + group, m); ++i) table.emplace_back(i, chunk);
  const auto at = [&](std::int64_t k) { return table[static_cast<std::size_t>(k)]; };

  Schedule out = empty_schedule(input, Placement::loop, v);
  for (std::int64_t r = 0; r < p; ++r)
    warm_up_and_alternate(
        out.order[static_cast<std::size_t>(r)], std::min(2 * (p - 1 - r) + (v - 1) * group, m * v), m * v,
        [&](std::int64_t k) { return forward(at(k).first, at(k).second); },
        [&](std::int64_t k) { return backward(at(k).first, v - 1 - at(k).second); });
  return out;
}

}  // namespace orrery::program
