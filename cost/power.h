// What running costs in energy above idle: power is taken to depend on what bounds a kernel, not on its precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

#include "core/cluster.h"
#include "core/profile.h"
#include "core/timeline.h"

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

// Power of arithmetic above idle, relative to that at the nominal clock: f · V², of which V follows f near the top of the curve. Assumed:
// docs/models/power.md says from what. Memory and links keep their clocks, and what they bound its power.
inline constexpr double kClockExponent = 2.5;
inline double clocked(Activity activity, double clock) { return activity == Activity::arithmetic ? std::pow(clock, kClockExponent) : 1.0; }

// (TDP - idle) · utilisation · clock's share · duration: 0 where the device file names no TDP.
inline Joules energy(const Device& device, Activity activity, Seconds duration) {
  const Watts above = device.tdp - device.idle_power;
  return above.v > 0 ? above * utilisation(activity) * clocked(activity, device.clock) * duration : Joules{0};
}

// What was drawn while operators of this class ran, or of one that is bound alike; nothing where neither was measured.
inline std::optional<Watts> measured_power(const Profile& profile, std::string_view what) {
  for (const PowerMeasurement& m : profile.power)
    if (m.what == what) return m.power;
  return std::nullopt;
}
inline std::optional<Watts> measured_power(const Profile& profile, WorkClass work, Activity activity) {
  if (const auto own = measured_power(profile, name(work))) return own;
  if (activity == Activity::arithmetic) return measured_power(profile, name(WorkClass::gemm));
  if (activity == Activity::memory)
    for (const WorkClass alike : {WorkClass::elementwise, WorkClass::norm, WorkClass::optimizer})
      if (const auto power = measured_power(profile, name(alike))) return power;
  return std::nullopt;
}

}  // namespace orrery::cost
