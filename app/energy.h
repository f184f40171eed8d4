// What the GPUs of a run drew, by their own counters.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/units.h"
#include "profiler/power_meter.h"
#include "profiler/profile_device.h"

namespace orrery::app {

// A meter for each GPU that this process's ranks compute on; none, and why, where one of them has none.
struct PowerMeters {
  std::vector<std::unique_ptr<profiler::PowerMeter>> list;
  std::string why;
  std::int64_t ranks = 0, gpus = 0;  // of this process
};

// What a step takes. Of the GPUs of this process only, without host and network.
struct StepEnergy {
  std::optional<Joules> per_step;  // of all of them together, mean over the steps after warm-up
  std::string why;                 // it was not measured
  Seconds window{};                // that was measured
  std::int64_t gpus = 0;
  std::optional<Joules> predicted;  // of as many GPUs; nothing where ranks share one, which a prediction does not know
};

// Reads meters at the ends of steps. A counter stands still for up to 100 ms at a time (power_meter.h), so that a window of a second errs by a tenth
// at most: a shorter one is not reported.
class EnergyCount {
 public:
  EnergyCount(PowerMeters meters, std::int64_t warm_up, profiler::HostClock clock);
  // Called at the end of each step.
  void step_done();
  // `predicted`: of a step on `devices` GPUs.
  StepEnergy result(Joules predicted, std::int64_t devices) const;

 private:
  std::optional<Joules> read() const;

  PowerMeters meters_;
  std::int64_t warm_up_, steps_ = 0;
  profiler::HostClock clock_;
  std::optional<Joules> first_, last_;
  double first_at_ = 0, last_at_ = 0;
};

}  // namespace orrery::app
