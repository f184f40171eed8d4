// Measures a device whose work is enqueued (a GPU) with the very kernels that the executor runs there.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "core/profile.h"
#include "executor/device.h"
#include "profiler/grid.h"
#include "profiler/measure.h"
#include "profiler/power_meter.h"
#include "profiler/profile_cpu.h"

namespace orrery::profiler {

// What a device does not say about itself.
struct DeviceFacts {
  std::string device, part;  // "NVIDIA H200", "h200-sxm" (empty: no name under topologies/devices)
  std::string clock = "unknown", driver = "unknown";
  Bytes memory;            // free for the measurement
  std::int64_t cache = 0;  // bytes of the last level; 0: unknown
  // What is expected of it, for the order and the budget alone; 0: unknown.
  FlopsPerSecond peak;
  BytesPerSecond memory_bandwidth;
};

// The host's clock: steady, in seconds, the one by which marks are timed; and how to let time pass.
struct HostClock {
  std::function<double()> now;
  std::function<void(Seconds)> pause;
};
HostClock steady_clock();

struct DeviceProfileOptions {
  StopRule rule{0.01, 8, 60, Seconds{0.25}, Seconds{1e9}};
  Seconds limit{360};  // for everything
  std::string commit = "unknown";
  // An operator runs for so long before it is timed: clocks follow power within tens of milliseconds (assumed), and a training step keeps a device as
  // busy as that.
  Seconds settle{0.02};
  Seconds power{1.0};  // that each class of operators is observed for
  HostClock clock = steady_clock();
  std::function<void(const Profile&)> save;  // called now and then with what there is
};

// Operators are timed by marks around groups of calls on sets of operands that are used in turn. Before a group the device is kept busy with a fill
// larger than any cache until the host has enqueued all of it, so that no launch enters, and the cache is flushed; a group whose begin was reached
// before that is taken again. At the smaller footprint a round over all sets goes before.
//   A training step's operands are partly in the last-level cache: what a kernel wrote tens of megabytes ago is. Measuring both states and weighing
//   them by the program's own reuse distances (cost::reuse) predicts a step better than either; without a program the flushed figure counts.
// In this order, since a run that is cut short should have what matters most: launches, matrix products, attention, copies, power, the rest, and the
// second footprint of everything; within each the cheapest first. Time is shared as profile_cpu does; what there is neither time nor memory for, and
// what fails, is left out and named. Collectives are not this function's.
// `meter` may be null: no power. `earlier`, of the same device, driver, commit and types, is continued: what it holds is not measured again. `cancel`
// may be null. Requires a device that is not immediate(), with kernels for copy and accumulate in fp32. Throws Error where the device is lost.
Profile profile_device(executor::Device& device, const DeviceFacts& facts, const ProfileGrid& grid, PowerMeter* meter,
                       const DeviceProfileOptions& options = {}, const std::function<void(const ProfileProgress&)>& progress = {},
                       const std::atomic<bool>* cancel = nullptr, const Profile* earlier = nullptr);

// Whether a measurement of `earlier` can be taken for one of a device of these facts, with operands of the grid's types, by kernels of this commit;
// an unknown commit is like no other.
bool can_continue(const Profile& earlier, const DeviceFacts& facts, const ProfileGrid& grid, const std::string& commit);

}  // namespace orrery::profiler
