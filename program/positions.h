// Which positions of a sequence the rows of a rank are, where several ranks share each sequence.
#pragma once

#include <cstdint>
#include <vector>

namespace orrery::program {

// Consecutive positions, of consecutive rows of a buffer (of each sample of the micro-batch).
struct Run {
  std::int64_t first = 0, count = 0;
  bool operator==(const Run&) const = default;
};
using Runs = std::vector<Run>;

// How the ranks of a context share a sequence: a ring (or gathered) group of `outer`, each of which is a group of `inner` that exchange heads.
struct ContextShare {
  std::int64_t sequence = 1, inner = 1, outer = 1;
  // Member i of the outer group holds the i-th and the i-th but last of 2 · outer chunks (Llama 3), which evens out causal work; otherwise the i-th
  // of `outer` chunks.
  bool balanced = true;
};

// Positions that member `outer` of the outer group holds, in the order of its rows; and the part of them that member `inner` of it holds.
Runs positions(const ContextShare& share, std::int64_t outer);
Runs positions(const ContextShare& share, std::int64_t outer, std::int64_t inner);

// Rows [first, first + count) of what `runs` describes.
Runs part(const Runs& runs, std::int64_t first, std::int64_t count);

// The same positions, each so much later.
Runs shifted(Runs runs, std::int64_t by);

std::int64_t length(const Runs& runs);

// Twice the pairs of a query and a key, one of each `runs`, that attend, under the convention of attended_pairs: a position and itself are half a
// pair where `causal`.
std::int64_t twice_attended_pairs(const Runs& queries, const Runs& keys, bool causal);

}  // namespace orrery::program
