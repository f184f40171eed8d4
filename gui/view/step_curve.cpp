#include "gui/view/step_curve.h"

#include <algorithm>
#include <cassert>

namespace orrery::view {

std::size_t StepCurve::at(Picoseconds time) const {
  const auto after = std::upper_bound(times.begin(), times.end(), time);
  return after == times.begin() ? size() : static_cast<std::size_t>(after - times.begin()) - 1;
}

std::vector<Extent> extents(const StepCurve& curve, TimeRange range, std::size_t pixels) {
  assert(curve.times.size() == curve.values.size());
  std::vector<Extent> out(pixels);
  if (curve.size() == 0 || range.empty()) return out;
  // The sample that holds when the range begins; of several at that very time the first, so that none is lost.
  std::size_t i = static_cast<std::size_t>(std::lower_bound(curve.times.begin(), curve.times.end(), range.begin) - curve.times.begin());
  if (i > 0 && (i == curve.size() || curve.times[i] > range.begin)) --i;
  const auto length = static_cast<__int128>(range.length().v);
  for (std::size_t p = 0; p < pixels; ++p) {
    const auto edge = [&](std::size_t n) { return range.begin.v + static_cast<std::int64_t>(length * n / pixels); };
    const std::int64_t begin = edge(p), end = edge(p + 1);
    Extent& e = out[p];
    double area = 0;
    std::int64_t covered = 0;
    for (;; ++i) {
      const bool begun = curve.times[i].v < end || curve.times[i].v <= begin;
      if (begun) {
        const double value = curve.values[i];
        if (e.empty || value > e.high) e.high = value, e.highest = static_cast<std::uint32_t>(i);
        e.low = e.empty ? value : std::min(e.low, value);
        e.empty = false;
        const std::int64_t until = i + 1 < curve.size() ? std::min(end, curve.times[i + 1].v) : end;
        const std::int64_t lasts = std::max<std::int64_t>(0, until - std::max(begin, curve.times[i].v));
        area += value * static_cast<double>(lasts);
        covered += lasts;
      }
      if (i + 1 >= curve.size() || curve.times[i + 1].v >= end) break;
    }
    if (!e.empty) e.mean = covered > 0 ? area / static_cast<double>(covered) : curve.values[i];
    // What begins exactly at the end belongs to the next pixel alone: the one before it does not hold there any more.
    if (i + 1 < curve.size() && curve.times[i].v < end && curve.times[i + 1].v == end) ++i;
  }
  return out;
}

}  // namespace orrery::view
