// What running costs in energy above idle: power is taken to depend on what bounds a kernel, not on its precision.
#pragma once

#include <algorithm>
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

// (TDP - idle) · utilisation · duration: 0 where the device file names no TDP.
inline Joules energy(const Device& device, Activity activity, Seconds duration) {
  const Watts above = device.tdp - device.idle_power;
  return above.v > 0 ? above * utilisation(activity) * duration : Joules{0};
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
