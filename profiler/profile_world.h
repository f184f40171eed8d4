// Measures how ranks talk, in any World: CPU threads, GPUs of one process, processes of many machines; alone and with products beside.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "core/profile.h"
#include "executor/world.h"
#include "profiler/grid.h"
#include "profiler/measure.h"
#include "profiler/profile_cpu.h"

namespace orrery::profiler {

// One operation among the first `ranks` ranks of the first `nodes` nodes, as many on each; a send goes from the first of them to the last.
struct WorldItem {
  CollectiveItem what;
  std::int64_t nodes = 1;
  bool beside = false;  // also with a product beside it
  bool operator==(const WorldItem&) const = default;
};

// Every operation on every shape of group that fits the world, by sizes a factor of four apart from 1 KiB to `most` bytes: powers of two within a
// node, and as many of every node across; the largest three sizes of all-reduce and all-gather with a product beside.
std::vector<WorldItem> world_items(std::int64_t ranks, std::int64_t node_size, std::int64_t most);

struct WorldProfileOptions {
  StopRule rule{0.02, 14, 200, Seconds{0.2}, Seconds{1e9}};
  Seconds limit{120};
  std::int64_t node_size = 1;  // ranks of a node
  std::int64_t memory = 0;     // bytes that a rank's two buffers may take together; 0: any
  DType type = DType::bf16;
  program::Shape product;  // beside, a linear without a bias; its operator is wait where there is none
};

struct WorldProfile {
  std::vector<CollectiveMeasurement> collectives;
  std::vector<InterferenceMeasurement> interference;
  std::vector<std::string> left_out;
};

// Called by all processes of the world with the same items and options; all return the same. Operations follow each other on one stream; one takes
// from when its last member was there, or the operation before it was over, until its slowest member was done. Sizes count as in NCCL
// (Shape::bytes), so bus bandwidths are nccl-tests': 2 (n - 1) / n of bytes over time for all-reduce, (n - 1) / n for all-gather, reduce-scatter and
// all-to-all. The process that reports decides when there is no more time, and everybody's cancel ends it with what is there. Throws Error when a
// rank fails.
WorldProfile profile_world(executor::World& world, const std::vector<WorldItem>& items, const WorldProfileOptions& options,
                           const std::function<void(const ProfileProgress&)>& progress = {}, const std::atomic<bool>* cancel = nullptr);

}  // namespace orrery::profiler
