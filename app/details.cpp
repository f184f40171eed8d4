#include "app/details.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/quantity_text.h"
#include "sim/folding.h"

namespace orrery::app {
namespace {

std::vector<LoadedLink> loaded(const NetworkTraffic& traffic, const NetworkLoad& load) {
  std::vector<LoadedLink> out;
  for (HotLink& link : links_by_load(load)) {
    if (link.load <= 0) break;
    const NetworkLoad::Level& level = load.levels[link.level];
    out.push_back({link, level.name, level.bandwidth, traffic.uses(link.device, link.level)});
  }
  return out;
}

HeldMemory held(const program::Program& program, const MemoryStory& story, std::size_t sample) {
  return {story.rank,
          story.stage,
          story.label,
          story.samples[sample].time,
          story.samples[sample].bytes,
          holdings(story, sample),
          occasion(program, story, sample)};
}

bool recorded(const Timeline& timeline, std::int64_t rank) {
  return rank < static_cast<std::int64_t>(timeline.ranks.size()) && !timeline.ranks[static_cast<std::size_t>(rank)].empty();
}

// The first recorded rank for which `is` holds.
template <class Is>
std::optional<std::int64_t> first_recorded(const Timeline& timeline, Is is) {
  for (std::int64_t r = 0; r < static_cast<std::int64_t>(timeline.ranks.size()); ++r)
    if (recorded(timeline, r) && is(r)) return r;
  return std::nullopt;
}

std::int64_t rank_to_look_at(const Explored& explored, std::optional<std::int64_t> wanted) {
  const Timeline& timeline = *explored.report.timeline;
  const program::Program& program = explored.program;
  if (wanted && (*wanted < 0 || *wanted >= program.ranks()))
    throw Error("--rank", fmt::format("there is no rank {}", *wanted), fmt::format("the plan has ranks 0 to {}", program.ranks() - 1));
  if (wanted && recorded(timeline, *wanted)) return *wanted;
  std::optional<std::int64_t> found;
  if (wanted) {
    const sim::Folding folding(program, explored.inputs.cluster);
    const std::uint32_t alike = folding.class_of(*wanted);
    found = first_recorded(timeline, [&](std::int64_t r) { return folding.class_of(r) == alike; });
  } else {
    const auto stage = static_cast<std::size_t>(explored.report.fullest_stage);
    found = first_recorded(timeline, [&](std::int64_t r) { return program.stage_of(r) == stage; });
  }
  if (!found) throw Error("--rank", "nothing was recorded of it", "add --unfold, which records every rank");
  return *found;
}

}  // namespace

std::int64_t HeldMemory::total() const { return std::accumulate(by_category.begin(), by_category.end(), std::int64_t{0}); }

Details details(const Explored& explored) {
  const Timeline& timeline = explored.report.timeline.value();
  Details out;
  const NetworkTraffic traffic(explored.program, explored.inputs.cluster);
  out.links = loaded(traffic, traffic.of_step(timeline.step));
  out.power = power_story(timeline, explored.cost, explored.inputs.cluster.device);
  for (std::size_t stage = 0; stage < explored.program.roles.size(); ++stage) {
    const auto rank = first_recorded(timeline, [&](std::int64_t r) { return explored.program.stage_of(r) == stage; });
    if (!rank) continue;
    const MemoryStory story = memory_story(explored.program, timeline, explored.report.capacity, *rank);
    out.memory.push_back(held(explored.program, story, story.peak));
  }
  return out;
}

Moment moment(const Explored& explored, Picoseconds time, std::optional<std::int64_t> wanted) {
  const Timeline& timeline = explored.report.timeline.value();
  Picoseconds end = timeline.step;  // what runs on beyond it is a part of it
  for (const Span& span : timeline.spans) end = std::max(end, span.end);
  if (time.v < 0 || time > end)
    throw Error("--at", fmt::format("the step has no {}", format_seconds(time)), fmt::format("it takes {}", format_seconds(timeline.step)));
  const std::int64_t rank = rank_to_look_at(explored, wanted);
  Moment out;
  out.time = time;
  out.power =
      power_story(timeline, explored.cost, explored.inputs.cluster.device).all.at(timeline.step.v > 0 ? Picoseconds{time.v % timeline.step.v} : time);
  const NetworkTraffic traffic(explored.program, explored.inputs.cluster);
  out.links = loaded(traffic, traffic.at(timeline, time));
  const MemoryStory story = memory_story(explored.program, timeline, explored.report.capacity, rank);
  out.asked_rank = wanted.value_or(rank);
  out.memory = held(explored.program, story, story.at(time));
  for (std::uint32_t i = 0; i < timeline.spans.size(); ++i) {
    const Span& span = timeline.spans[i];
    if (span.rank != rank) continue;
    // What runs on beyond the step's end does so at the beginning of the next one.
    const bool now = span.start <= time && time < span.end;
    const bool from_before = span.end > timeline.step && span.start <= time + timeline.step && time + timeline.step < span.end;
    if (now || from_before) out.spans.push_back(explain_span(explored, i));
  }
  return out;
}

}  // namespace orrery::app
