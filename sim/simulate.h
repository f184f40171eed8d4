// The virtual machine: runs a Program in virtual time over a cost table. One pure function; an engine is a local variable.
#pragma once

#include <atomic>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/timeline.h"
#include "cost/cost.h"
#include "program/memory.h"
#include "program/program.h"

namespace orrery::sim {

struct Options {
  bool unfold = false;                // simulate every rank rather than one per role
  std::int64_t max_periods = 8;       // give up looking for a steady period after this many
  bool record = false;                // fill Result::timeline
  std::vector<std::int64_t> ranks{};  // whose spans to record; empty: all simulated ranks
  std::uint64_t shuffle = 0;          // test hook: permutes the order of events inside one picosecond; no result may change
  // Of the program's roles, for the timeline, where the caller has them or is making them meanwhile; empty: they are made here.
  std::shared_future<std::vector<program::MemoryReport>> memory{};
  const std::atomic<bool>* cancel = nullptr;  // once it is true, simulate() gives up within milliseconds
};

// The chain of instructions that makes the step as long as it is, each deciding when the next could start: what its time is spent on.
struct CriticalPath {
  std::vector<std::pair<WorkClass, Picoseconds>> by_class;  // largest first; with `unattributed` it adds up to the step
  Picoseconds unattributed;                                 // waiting for the host
  bool operator==(const CriticalPath&) const = default;
};

struct Result {
  bool cancelled = false;    // given up, by Options::cancel: nothing of what follows is a result
  Picoseconds step;          // the steady period
  bool steady = false;       // two successive periods were equal
  std::int64_t periods = 0;  // simulated
  Picoseconds makespan;      // of the first step in isolation
  Waterfall waterfall;
  CriticalPath critical_path;
  std::vector<std::int64_t> simulated_ranks;  // representatives, ascending; all ranks where they can differ (unlike nodes with shared cores)
  std::vector<std::int64_t> weights;          // how many ranks each stands for
  std::vector<Picoseconds> busy;              // compute-stream busy time of each representative in the period
  std::vector<Joules> energy;                 // of each representative in the period, above idle
  std::uint64_t instructions = 0;             // executed, over all periods
  std::uint64_t trace_hash = 0;               // of (rank, stream, start, end) of every span of the last period
  std::optional<Timeline> timeline;           // the last period
};

// Throws Error when the program deadlocks, when a rank to record does not exist, or when simulated time could overflow. `program` must be well formed
// (see program/check.h) and `cost` priced for it. Folding into one rank per role is exact; `cluster` matters only for which ranks share cores.
Result simulate(const program::Program& program, const cost::Table& cost, const Cluster& cluster, const Options& options = {});

}  // namespace orrery::sim
