// Where the time of a step went: the mean of all ranks, and lane by lane as a table.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "gui/view/span_index.h"

namespace orrery::view {

// Picoseconds of one rank's compute stream; the parts add up to `range` where no spans overlap.
struct MeanTotals {
  TimeRange range;
  std::array<double, kSlots> work{};
  double waiting = 0;
  double idle = 0;  // before the first and after the last instruction
  bool operator==(const MeanTotals&) const = default;
};

// Every rank counts as often as there are such ranks. Without `range`: of all that the timeline holds.
MeanTotals mean_of_ranks(const SpanIndex& index, std::optional<TimeRange> range = {});

// RFC 4180: seconds by rank, stream and what they went into.
std::string totals_csv(const SpanIndex& index);

}  // namespace orrery::view
