#include "planner/pareto.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/quantity_text.h"

namespace orrery::planner {

std::string_view name(Figure figure) {
  constexpr std::array<std::string_view, kFigures.size()> names{"time", "memory", "energy", "money"};
  return names[static_cast<std::size_t>(figure)];
}

std::string_view title(Figure figure) {
  constexpr std::array<std::string_view, kFigures.size()> titles{"time per step", "peak memory per device", "energy per step", "money per step"};
  return titles[static_cast<std::size_t>(figure)];
}

std::optional<double> value(Figure figure, const Candidate& candidate, const Cluster& cluster) {
  switch (figure) {
    case Figure::time:
      return to_seconds(candidate.step).v;
    case Figure::memory:
      return static_cast<double>(candidate.peak_memory.v);
    case Figure::energy:
      return candidate.energy.v;
    case Figure::money:
      if (const auto dollars = step_price(cluster, candidate.step)) return dollars->v;
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<double> least(Figure figure, const Rejected& rejected, const Cluster& cluster) {
  const bool timed = rejected.least_time.v > 0;
  switch (figure) {
    case Figure::time:
      return timed ? std::optional(to_seconds(rejected.least_time).v) : std::nullopt;
    case Figure::memory:
      return rejected.memory.v > 0 ? std::optional(static_cast<double>(rejected.memory.v)) : std::nullopt;
    case Figure::energy:
      return std::nullopt;
    case Figure::money:
      if (const auto dollars = timed ? step_price(cluster, rejected.least_time) : std::nullopt) return dollars->v;
      return std::nullopt;
  }
  return std::nullopt;
}

std::string text(Figure figure, double value) {
  switch (figure) {
    case Figure::time:
      return format_seconds(Seconds{value});
    case Figure::memory:
      return format_bytes(Bytes{std::llround(value)});
    case Figure::energy:
      return format_energy(Joules{value});
    case Figure::money:
      return fmt::format("${:.3g}", value);
  }
  return {};
}

std::vector<std::size_t> pareto_front(const std::vector<Point>& points) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < points.size(); ++i)
    if (std::isfinite(points[i].x) && std::isfinite(points[i].y)) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return points[a].x != points[b].x ? points[a].x < points[b].x : points[a].y != points[b].y ? points[a].y < points[b].y : a < b;
  });
  std::vector<std::size_t> front;
  double lowest = std::numeric_limits<double>::infinity();
  for (const std::size_t i : order) {
    if (points[i].y < lowest)
      lowest = points[i].y;
    else if (points[i] != points[front.back()])
      continue;
    front.push_back(i);
  }
  return front;
}

}  // namespace orrery::planner
