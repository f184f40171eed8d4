// Who gets how much when ranks share cores and a memory bus: max-min fair rates in fixed point.
#pragma once

#include <cstdint>
#include <vector>

namespace orrery::sim {

inline constexpr unsigned kShareBits = 16;  // of a demand: 1 << 16 is one core, or the whole memory bandwidth
inline constexpr unsigned kRateBits = 32;   // of a rate: 1 << 32 is unhindered
inline constexpr std::uint64_t kFullRate = std::uint64_t{1} << kRateBits;

// What one running activity would use if nobody hindered it, and what it got.
struct Demand {
  std::uint32_t cores = 0, memory = 0;  // fixed point, kShareBits
  std::uint32_t weight = 1;             // how many identical activities this one stands for
  std::uint64_t rate = kFullRate;       // out: fixed point, kRateBits, rounded down, at least 1
};

// Fills in the rates of everything that runs on one node. Cores first: a fair scheduler gives everybody the same level, and what somebody does not
// need to the others (max-min). Then the memory bus in the same way, where an activity that has only half a core asks for half its bandwidth. The
// rate is the smaller of both. A function of the multiset of demands: their order does not matter. An activity alone is never hindered, since its
// demands are cut at what the node has.
// Assumptions: a processor-sharing scheduler with a quantum far below an operator's duration; no cache interference beyond bandwidth.
void share(std::uint32_t cores, std::vector<Demand*>& demands);

}  // namespace orrery::sim
