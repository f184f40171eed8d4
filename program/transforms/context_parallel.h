// Context parallelism: attention over sequences that several ranks, or several passes of one rank, hold in parts.
#pragma once

#include <cstdint>

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"
#include "program/layers/layers.h"
#include "program/positions.h"

namespace orrery::program {

// The most ranks of one node that can exchange heads: what a2a+p2p takes where the plan leaves its inner factor open.
std::int64_t most_heads_exchanged(const Model& model, const Cluster& cluster, const Plan& plan);
// Whether so many ranks can: each gets as many query heads, and whole key heads or one that it shares.
bool can_exchange_heads(const Model& model, const Plan& plan, std::int64_t ranks);

// From the rotated queries, keys and values of this rank's rows (packed) to its heads' results. `lse` is of as many rows and heads as this rank
// works on; `qkv` is what the backward pass reads, unless heads are exchanged, which keeps what came in.
void attend(const Context& c, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse);

// From the gradient of the heads' results to `d_qkv`, which it writes whole. `qkv`: as above, or ignored where heads are exchanged.
void attend_backward(const Context& c, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse, std::uint32_t d_out, std::uint32_t d_qkv);

}  // namespace orrery::program
