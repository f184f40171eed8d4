#include "gui/view/scatter.h"

#include <algorithm>
#include <cmath>

namespace orrery::view {
namespace {

constexpr double kFar = 1.6;      // times the greatest simulated value: where plans that were not simulated are no longer shown
constexpr double kSpread = 30;    // from here on a linear axis crowds the small ones
constexpr double kMargin = 0.06;  // of the range, on either side

struct Range {
  double low = 0, high = 0;
  bool empty = true;
  void add(double v) {
    low = empty ? v : std::min(low, v);
    high = empty ? v : std::max(high, v);
    empty = false;
  }
};

double coordinate(const PlanPoint& p, bool x) { return x ? p.at.x : p.at.y; }

Range simulated_range(const std::vector<PlanPoint>& points, bool x) {
  Range range;
  for (const PlanPoint& p : points)
    if (p.mark == PlanMark::front || p.mark == PlanMark::simulated) range.add(coordinate(p, x));
  return range;
}

LinearAxis axis(const Scatter& scatter, bool x, double low_pixel, double high_pixel) {
  Range range = simulated_range(scatter.points, x);
  const bool logarithmic = !range.empty && range.low > 0 && range.high > kSpread * range.low;
  for (const PlanPoint& p : scatter.points) range.add(coordinate(p, x));
  if (scatter.capacity && (x ? scatter.x : scatter.y) == planner::Figure::memory) range.add(*scatter.capacity);
  if (range.empty) return {0, 1, low_pixel, high_pixel};
  if (logarithmic) {
    const double margin = std::pow(range.high / range.low, kMargin);
    return {range.low / margin, range.high * margin, low_pixel, high_pixel, LinearAxis::Scale::logarithmic};
  }
  const double margin = range.high > range.low ? (range.high - range.low) * kMargin : std::abs(range.high) * kMargin;
  const double low = range.low - margin;
  return {range.low >= 0 ? std::max(0.0, low) : low, range.high + margin, low_pixel, high_pixel};
}

}  // namespace

Scatter scatter(const planner::Outcome& outcome, const Cluster& cluster, planner::Figure x, planner::Figure y) {
  Scatter out;
  out.x = x, out.y = y;
  std::vector<PlanPoint> simulated;
  std::vector<planner::Point> places;
  for (std::size_t i = 0; i < outcome.ranked.size(); ++i) {
    const std::optional<double> px = planner::value(x, outcome.ranked[i], cluster), py = planner::value(y, outcome.ranked[i], cluster);
    if (!px || !py) continue;
    places.push_back({*px, *py});
    simulated.push_back({places.back(), PlanMark::simulated, i});
  }
  const Range range_x = simulated_range(simulated, true), range_y = simulated_range(simulated, false);
  const auto add = [&](const planner::Rejected& rejected, PlanMark mark, std::size_t index) {
    const std::optional<double> px = planner::least(x, rejected, cluster), py = planner::least(y, rejected, cluster);
    if (!px || !py) {
      ++out.unknown;
      return;
    }
    const double capacity = static_cast<double>(cluster.device.memory.v);
    const auto far = [&](const Range& range, double v, planner::Figure figure) {
      return !range.empty && v > kFar * std::max(range.high, figure == planner::Figure::memory ? capacity : 0.0);
    };
    if (far(range_x, *px, x) || far(range_y, *py, y))
      ++out.beyond;
    else
      out.points.push_back({{*px, *py}, mark, index});
  };
  for (std::size_t i = 0; i < outcome.pruned.size(); ++i) add(outcome.pruned[i], PlanMark::pruned, i);
  for (std::size_t i = 0; i < outcome.refused.size(); ++i) {
    if (outcome.refused[i].constraint != "memory") continue;
    add(outcome.refused[i], PlanMark::too_large, i);
    if (x == planner::Figure::memory || y == planner::Figure::memory) out.capacity = static_cast<double>(cluster.device.memory.v);
  }
  const std::vector<std::size_t> front = planner::pareto_front(places);
  std::vector<char> on_front(simulated.size(), 0);
  for (const std::size_t i : front) on_front[i] = 1;
  for (std::size_t i = 0; i < simulated.size(); ++i)
    if (on_front[i] == 0) out.points.push_back(simulated[i]);
  for (const std::size_t i : front) {
    out.points.push_back(simulated[i]);
    out.points.back().mark = PlanMark::front;
  }
  return out;
}

ScatterAxes scatter_axes(const Scatter& scatter, const PlotArea& plot) {
  return {axis(scatter, true, plot.left, plot.right), axis(scatter, false, plot.bottom, plot.top)};
}

std::optional<std::size_t> nearest(const Scatter& scatter, const ScatterAxes& axes, double px, double py, double radius) {
  std::optional<std::size_t> found;
  double least = radius * radius;
  for (std::size_t i = 0; i < scatter.points.size(); ++i) {
    const double dx = axes.x.pixel(scatter.points[i].at.x) - px, dy = axes.y.pixel(scatter.points[i].at.y) - py;
    const double distance = dx * dx + dy * dy;
    if (distance > least) continue;
    least = distance;
    found = i;
  }
  return found;
}

}  // namespace orrery::view
