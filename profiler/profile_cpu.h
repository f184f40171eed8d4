// Measures this machine with the very kernels and the very communicator that the executor runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/profile.h"
#include "profiler/grid.h"
#include "profiler/measure.h"

namespace orrery::profiler {

struct ProfileOptions {
  StopRule rule;
  Seconds limit{50};  // for the whole grid; see profile_cpu
  std::string commit = "unknown";
  std::int64_t cores = 0;       // ranks of the busy measurement; 0: as many as the machine has cores
  std::int64_t footprint = -1;  // bytes that the operands used in turn take, for all items; -1: as each item says
  std::int64_t rounds = 2;  // of the whole grid: the lower of an operator's medians counts, since what disturbs a machine for a while only adds time
};

struct ProfileProgress {
  std::int64_t done = 0, total = 0;  // measurements
  std::string what;                  // the one that begins
};

// Every operator of the grid is measured alone (busy = 1) and, with more than one core, on all cores at once, each thread on its own data; a busy
// figure is the median over the threads of their medians. Operators are timed by their thread's CPU clock. Collectives are measured between threads,
// one per rank, from the last member's arrival until the last member's wait returned; with more ranks than cores that includes the wait for a core,
// as in a run. The peak is the best rate of any matrix product, those of the grid included. load_tokens and load_targets, and what issuing an
// instruction costs, are read off small programs that the executor runs. The cheapest come first, by a roofline of the machine that is corrected on
// the way; every measurement gets the least that it needs and an equal share of what is left of the limit, and for what there is no time is left out
// and named, as is what would not fit in a quarter of the memory. `cancel` (may be null) ends it early with what is there.
Profile profile_cpu(const ProfileGrid& grid, const ProfileOptions& options = {}, const std::function<void(const ProfileProgress&)>& progress = {},
                    const std::atomic<bool>* cancel = nullptr);

// Collectives only. `begin` is told of each item before it is measured and returns the rule for it, or nothing to leave it out; it is called on one
// of the ranks' threads while the others wait, and must not throw. Items of one count of ranks share their threads, in the order given.
std::vector<CollectiveMeasurement> measure_collectives(const std::vector<CollectiveItem>& items,
                                                       const std::function<std::optional<StopRule>(const CollectiveItem&)>& begin,
                                                       const std::atomic<bool>* cancel);

}  // namespace orrery::profiler
