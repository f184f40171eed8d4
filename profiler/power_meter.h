// What a device says about its own power and clocks.
#pragma once

#include <optional>

#include "core/profile.h"
#include "core/units.h"

namespace orrery::profiler {

class PowerMeter {
 public:
  virtual ~PowerMeter() = default;
  // Drawn since the driver was loaded. It counts in steps, every 20 to 100 ms; nothing where the device does not count.
  virtual std::optional<Joules> energy() = 0;
  // Clocks, temperature, power now, and why the clocks are not at their highest; what it does not say is 0.
  virtual DeviceState state() = 0;
};

}  // namespace orrery::profiler
