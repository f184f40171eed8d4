// What running costs in energy above idle: power is taken to depend on what bounds a kernel, not on its precision.
#pragma once

#include "core/cluster.h"

namespace orrery::cost {

enum class Activity : std::uint8_t { arithmetic, memory, communication };

// Share of (TDP - idle) drawn meanwhile. Assumed; docs/models/power.md says from what.
constexpr double utilisation(Activity activity) {
  switch (activity) {
    case Activity::arithmetic:
      return 1.0;
    case Activity::memory:
      return 0.6;
    case Activity::communication:
      return 0.3;
  }
  return 1.0;
}

// (TDP - idle) · utilisation · duration: 0 where the device file names no TDP.
inline Joules energy(const Device& device, Activity activity, Seconds duration) {
  const Watts above = device.tdp - device.idle_power;
  return above.v > 0 ? above * utilisation(activity) * duration : Joules{0};
}

}  // namespace orrery::cost
