// Waterfalls side by side: bars that begin where the one before ends, and add up to the step.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "app/compare.h"

namespace orrery::view {

// Of the longer step: a smaller difference is rounding of times to picoseconds.
inline constexpr double kRounding = 1e-6;

// A bar from one time to another, in seconds; a part that takes time away ends below where it begins.
struct WaterfallBar {
  double from = 0, to = 0;
  double length() const { return to - from; }
  bool operator==(const WaterfallBar&) const = default;
};

// One part of the waterfall on both sides.
struct WaterfallRow {
  std::string name;
  WaterfallBar a, b;
  bool total = false;  // the steps themselves: the last row
  double difference() const { return b.length() - a.length(); }
};
// The parts in the waterfall's order, each bar beginning where its side's bar before ended, and the steps.
std::vector<WaterfallRow> waterfall_rows(const app::CompareReport& report);

// One part of the way from A's step to B's.
struct BridgeRow {
  std::string name;
  WaterfallBar bar;    // totals begin at 0
  bool total = false;  // A first, B last
};
// The differences, largest first, from A's step to B's: each bar begins where the one before ended. At most `most` differences stand alone, the
// others are one row, "others". What is only rounding is left out.
std::vector<BridgeRow> bridge_rows(const app::CompareReport& report, std::size_t most);

}  // namespace orrery::view
