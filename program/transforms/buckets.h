// Which tensors are reduced, and under ZeRO-3 gathered, together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/plan.h"
#include "program/layout.h"

namespace orrery::program {

struct BucketContent {
  std::vector<std::size_t> tensors;  // in the order of the bucket: that in which the backward pass makes their gradients
  std::uint16_t tick = 0;            // Layout::BucketViews::tick
};

// In the order in which the backward pass completes them, those of replicated tensors last. No bucket mixes tensors that are reduced in unlike ways.
// PyTorch's DistributedDataParallel closes a bucket as soon as it has its size, and its first one early; Horovod fuses what fits into its threshold
// and what is ready by the end of one cycle; sharded parameters are gathered unit by unit. `splits`: backward passes are split.
std::vector<BucketContent> fill_buckets(const Layout& layout, const Plan& plan, bool splits);

// When a tensor's gradient is ready, as a share of the backward passes of the rank, by its place in Layout::tensors: matrix products take as long as
// they have elements, all else nothing.
std::vector<double> gradient_times(const Layout& layout);

// Whether reductions run inside the node, across nodes, and inside the node again.
bool reduces_in_two_levels(const Plan& plan, const DataGroups& groups);

}  // namespace orrery::program
