// What a simulated step draws: power over time, and energy by what it was spent on.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/cluster.h"
#include "core/timeline.h"
#include "core/units.h"
#include "cost/cost.h"

namespace orrery::app {

// Power as steps: what is drawn from `from` until the next one, the last until the step ends.
struct PowerCurve {
  struct Point {
    Picoseconds from;
    Watts power;
    bool operator==(const Point&) const = default;
  };
  std::vector<Point> points;  // the first at 0; neighbours differ
  Picoseconds step;
  Watts mean, peak;
  Picoseconds peak_from;
  Joules energy;  // the curve's integral

  Watts at(Picoseconds time) const;
};

struct PowerStory {
  PowerCurve all;  // of all devices together
  // Energy of a step, all devices: idle power over the whole step, and what running takes above it.
  Joules idle;
  std::array<Joules, kWorkClasses> by_class{};
  Joules total() const;
  std::int64_t devices = 0;
  Watts idle_power, rated;  // of one device; rated: 0 where its file names no TDP
  Grade grade = Grade::assumed;
  // Devices that no recorded rank stands for: they are counted as idle. 0 where all simulated ranks were recorded.
  std::int64_t silent = 0;
};

// Of a simulated timeline whose kinds have their energy. The step is a period: what runs on beyond its end draws at the beginning of the next one,
// which is this one. Each execution draws its energy evenly from its start to its end.
PowerStory power_story(const Timeline& timeline, const cost::Table& cost, const Device& device);

// The same curve of one recorded rank's device alone.
PowerCurve power_of(const Timeline& timeline, const cost::Table& cost, std::uint32_t rank);

// "assumed", "measured here", … in words that say from what: "assumed: idle power and utilisation of the rated power".
std::string_view energy_basis(Grade grade);

}  // namespace orrery::app
