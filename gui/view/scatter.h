// The plans of a search as points in two of time, memory, energy and money.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gui/view/axis.h"
#include "planner/pareto.h"

namespace orrery::view {

enum class PlanMark : std::uint8_t {
  front,      // simulated, and no other plan is better in one and no worse in the other
  simulated,  // the others
  too_large,  // does not fit: at what it needs, and at the least time that it can take
  pruned,     // by its bound no faster than the plans kept: at the bound
};

struct PlanPoint {
  planner::Point at;
  PlanMark mark = PlanMark::simulated;
  std::size_t index = 0;  // into Outcome::ranked, refused or pruned, by the mark
};

// A stretch of pixels for the points, left < right and top < bottom.
struct PlotArea {
  double left = 0, top = 0, right = 0, bottom = 0;
};

struct Scatter {
  planner::Figure x = planner::Figure::time, y = planner::Figure::memory;
  std::vector<PlanPoint> points;   // those to paint last are last: the front, by x
  std::size_t unknown = 0;         // plans that were not simulated, of which a coordinate is not known
  std::size_t beyond = 0;          // the same, so far off that to show them would squeeze the others
  std::optional<double> capacity;  // of a device, where a coordinate is memory and some plan exceeds it
};
Scatter scatter(const planner::Outcome& outcome, const Cluster& cluster, planner::Figure x, planner::Figure y);

// Axes around the points, logarithmic where the simulated ones spread more than thirtyfold.
struct ScatterAxes {
  LinearAxis x, y;
};
ScatterAxes scatter_axes(const Scatter& scatter, const PlotArea& plot);

// The point nearest to a pixel within `radius` pixels; of equally near ones the one painted last.
std::optional<std::size_t> nearest(const Scatter& scatter, const ScatterAxes& axes, double px, double py, double radius);

}  // namespace orrery::view
