// A quantity that keeps its value from one change to the next, thinned to what a row of pixels can show.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/units.h"
#include "gui/view/axis.h"

namespace orrery::view {

struct StepCurve {
  std::vector<Picoseconds> times;  // ascending, several may be equal
  std::vector<double> values;      // from that time on, the last for ever; nothing before the first

  std::size_t size() const { return times.size(); }
  // The last sample not after the time; size() before the first.
  std::size_t at(Picoseconds time) const;
};

// What a curve does within one pixel.
struct Extent {
  double low = 0, high = 0, mean = 0;  // mean over time
  std::uint32_t highest = 0;           // the sample that has `high`, the first of several
  bool empty = true;                   // the curve has not begun
  bool operator==(const Extent&) const = default;
};

// `pixels` equal parts of the range. A sample that lasts no time counts for low and high, so that no peak is lost.
std::vector<Extent> extents(const StepCurve& curve, TimeRange range, std::size_t pixels);

}  // namespace orrery::view
