#include "app/power.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace orrery::app {
namespace {

// Power in whole microwatts: sums are exact, so that what has ended leaves nothing behind.
constexpr double kMicro = 1e6;

struct Change {
  std::int64_t time = 0, microwatts = 0;
};

// Adds a draw during [start, end) to a period of `step`.
void add(std::vector<Change>& changes, std::int64_t& always, std::int64_t start, std::int64_t end, std::int64_t step, std::int64_t microwatts) {
  always += (end - start) / step * microwatts;
  std::int64_t length = (end - start) % step;
  start = (start % step + step) % step;
  if (length == 0) return;
  changes.push_back({start, microwatts});
  if (start + length > step) {
    always += microwatts;  // but between its end and its start
    changes.push_back({start + length - step, -microwatts});
  } else if (start + length < step) {
    changes.push_back({start + length, -microwatts});
  }
}

PowerCurve curve_of(std::vector<Change> changes, std::int64_t always, Picoseconds step) {
  std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) { return a.time < b.time; });
  PowerCurve out;
  out.step = step;
  std::int64_t now = always;
  const auto point = [&](std::int64_t from) {
    const Watts power{static_cast<double>(now) / kMicro};
    if (!out.points.empty() && out.points.back().from.v == from) out.points.pop_back();
    if (out.points.empty() || out.points.back().power != power) out.points.push_back({Picoseconds{from}, power});
  };
  point(0);
  for (const Change& c : changes) {
    now += c.microwatts;
    point(c.time);
  }
  for (std::size_t i = 0; i < out.points.size(); ++i) {
    const Picoseconds end = i + 1 < out.points.size() ? out.points[i + 1].from : step;
    out.energy += out.points[i].power * to_seconds(end - out.points[i].from);
    if (i == 0 || out.points[i].power > out.peak) out.peak = out.points[i].power, out.peak_from = out.points[i].from;
  }
  if (step.v > 0) out.mean = out.energy / to_seconds(step);
  return out;
}

std::int64_t microwatts(double watts) { return std::llround(watts * kMicro); }

}  // namespace

Watts PowerCurve::at(Picoseconds time) const {
  const auto after = std::upper_bound(points.begin(), points.end(), time, [](Picoseconds t, const Point& p) { return t < p.from; });
  return after == points.begin() ? Watts{} : (after - 1)->power;
}

Joules PowerStory::total() const {
  return std::accumulate(by_class.begin(), by_class.end(), idle, [](Joules a, Joules b) { return a + b; });
}

PowerStory power_story(const Timeline& timeline, const cost::Table& cost, const Device& device) {
  PowerStory out;
  std::int64_t recorded = 0;
  const auto weight = [&](std::size_t rank) {
    return timeline.weights.empty() ? std::int64_t{1} : rank < timeline.weights.size() ? timeline.weights[rank] : std::int64_t{0};
  };
  for (std::size_t r = 0; r < timeline.ranks.size(); ++r)
    if (!timeline.ranks[r].empty()) recorded += weight(r);
  out.devices = timeline.all_ranks > 0 ? timeline.all_ranks : recorded;
  out.silent = out.devices - recorded;
  out.idle_power = cost.idle, out.rated = device.tdp;
  out.grade = cost.energy;
  out.idle = cost.idle * to_seconds(timeline.step) * static_cast<double>(out.devices);
  if (timeline.step.v <= 0) return out;

  std::vector<Change> changes;
  std::int64_t always = microwatts(cost.idle.v * static_cast<double>(out.devices));
  for (const Span& span : timeline.spans) {
    const SpanKind& kind = timeline.kinds[span.kind];
    if (kind.energy.v == 0) continue;
    const Joules energy = kind.energy * static_cast<double>(weight(span.rank));
    out.by_class[static_cast<std::size_t>(kind.work)] += energy;
    if (span.end > span.start)
      add(changes, always, span.start.v, span.end.v, timeline.step.v, microwatts((energy / to_seconds(span.end - span.start)).v));
  }
  out.all = curve_of(std::move(changes), always, timeline.step);
  return out;
}

PowerCurve power_of(const Timeline& timeline, const cost::Table& cost, std::uint32_t rank) {
  std::vector<Change> changes;
  std::int64_t always = microwatts(cost.idle.v);
  // Spans are by rank.
  const auto first = std::lower_bound(timeline.spans.begin(), timeline.spans.end(), rank, [](const Span& s, std::uint32_t r) { return s.rank < r; });
  for (auto span = first; span != timeline.spans.end() && span->rank == rank; ++span)
    if (const Joules energy = timeline.kinds[span->kind].energy; energy.v != 0 && span->end > span->start && timeline.step.v > 0)
      add(changes, always, span->start.v, span->end.v, timeline.step.v, microwatts((energy / to_seconds(span->end - span->start)).v));
  return curve_of(std::move(changes), always, timeline.step);
}

std::string_view energy_basis(Grade grade) {
  switch (grade) {
    case Grade::measured_here:
      return "by the power measured for each class of work";
    case Grade::measured_elsewhere:
      return "by the power measured for each class of work on another device, scaled";
    case Grade::fitted:
    case Grade::datasheet:
    case Grade::assumed:
      return "assumed: idle power and utilisation of the rated power";
  }
  return "assumed: idle power and utilisation of the rated power";
}

}  // namespace orrery::app
