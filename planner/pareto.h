// Candidates beside one another in more than time: the figures that a plan can be chosen by, and which candidates no other beats in two of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/cluster.h"
#include "planner/search.h"

namespace orrery::planner {

// What a plan costs, in four ways. Less is better.
enum class Figure : std::uint8_t { time, memory, energy, money };
inline constexpr std::array kFigures{Figure::time, Figure::memory, Figure::energy, Figure::money};
std::string_view name(Figure figure);   // "time", …
std::string_view title(Figure figure);  // "time per step", "peak memory per device", "energy per step", "money per step"

// Seconds per step, bytes of the fullest device, Joules or US dollars per step; nothing where the cluster's price is not known.
std::optional<double> value(Figure figure, const Candidate& candidate, const Cluster& cluster);
// Of a plan that was not simulated: no less than this; nothing where no bound is known.
std::optional<double> least(Figure figure, const Rejected& rejected, const Cluster& cluster);
// "1.84 s", "41.7 GiB", "12 kWh", "$1.2"
std::string text(Figure figure, double value);

struct Point {
  double x = 0, y = 0;
  bool operator==(const Point&) const = default;
};

// The indices of the points that no other dominates (is no greater in both coordinates, and less in one), by x, equal points by their index.
// Points with a coordinate that is not finite take no part.
std::vector<std::size_t> pareto_front(const std::vector<Point>& points);

}  // namespace orrery::planner
