// A forward and a backward pass of two micro-batches as one template, interleaved layer by layer as an overlap rule says.
#pragma once

#include "core/overlap_rule.h"
#include "program/layers/layers.h"

namespace orrery::program {

// Writes the work of both into the template that is open, its forward the first and its backward the second micro-batch: layer l of the forward with
// the l-th layer from the end of the backward; what one has more follows un-overlapped. Sends come last, the forward's first. The rule has lanes.
// `backward` reduces gradients where it has a reducer.
void write_overlapped(const Context& forward, const Context& backward, const OverlapRule& rule, bool gathered);

}  // namespace orrery::program
