// Measures this machine with the very kernels and the very communicator that the executor runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "core/profile.h"
#include "profiler/grid.h"
#include "profiler/measure.h"

namespace orrery::profiler {

struct ProfileOptions {
  StopRule rule;
  Seconds limit{50};  // for the whole grid: each measurement gets at most its equal share of what is left, if that is less than the rule's limit
  std::string commit = "unknown";
  std::int64_t cores = 0;  // ranks of the busy measurement; 0: as many as the machine has cores
  // Bytes that the operands used in turn take. -1: a core's share of the last-level cache, but at least four times its own: what a step produces and
  // uses soon stays there, and the rest does not. (Beside a run of a 3.3-million-parameter Llama, operands that stay in a core's own cache made
  // element-wise kernels look two to three times too fast; matrix products did not care.)
  std::int64_t footprint = -1;
};

struct ProfileProgress {
  std::int64_t done = 0, total = 0;  // measurements
  std::string what;                  // the one that begins
};

// Every operator of the grid is measured alone (busy = 1) and, with more than one core, on all cores at once, each thread on its own data; a busy
// figure is the median over the threads of their medians. Operators are timed by their thread's CPU clock. Collectives are measured between threads,
// one per rank, from the last member's arrival until the last member's wait returned; with more ranks than cores that includes the wait for a core,
// as in a run. The peak is the best rate of any matrix product, those of the grid included. What would not fit in a quarter of the memory is left
// out. `cancel` (may be null) ends it early with what is there.
Profile profile_cpu(const ProfileGrid& grid, const ProfileOptions& options = {}, const std::function<void(const ProfileProgress&)>& progress = {},
                    const std::atomic<bool>* cancel = nullptr);

// Collectives only. `begin` is told of each item before it is measured and returns the rule for it; it is called on one of the ranks' threads while
// the others wait, and must not throw. Items of one count of ranks share their threads.
std::vector<CollectiveMeasurement> measure_collectives(const std::vector<CollectiveItem>& items,
                                                       const std::function<StopRule(const CollectiveItem&)>& begin, const std::atomic<bool>* cancel);

}  // namespace orrery::profiler
