#include "gui/view/load_scale.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace orrery::view {

double load_place(double load) { return std::isnan(load) ? 0 : std::sqrt(std::clamp(load, 0.0, 1.0)); }

Colour load_colour(double load, bool dark) {
  // From the ground towards its opposite through yellow, orange and red: light to dark on a light ground, dark to light on a dark one.
  constexpr std::array<Colour, 5> kLight{{{221, 225, 232}, {245, 206, 110}, {234, 142, 44}, {201, 62, 48}, {110, 8, 62}}};
  constexpr std::array<Colour, 5> kDark{{{54, 60, 72}, {128, 50, 92}, {206, 72, 62}, {244, 150, 48}, {252, 234, 130}}};
  const auto& stops = dark ? kDark : kLight;
  const double at = load_place(load) * static_cast<double>(stops.size() - 1);
  const std::size_t i = std::min(static_cast<std::size_t>(at), stops.size() - 2);
  return mix(stops[i], stops[i + 1], at - static_cast<double>(i));
}

const std::vector<double>& load_ticks() {
  static const std::vector<double> list{0, 0.01, 0.05, 0.1, 0.25, 0.5, 1};
  return list;
}

}  // namespace orrery::view
