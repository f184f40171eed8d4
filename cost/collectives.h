// What a collective costs: latency and bandwidth of rings and trees over the levels of the network that its group spans.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/cluster.h"
#include "program/operators.h"
#include "program/program.h"

namespace orrery::cost {

// How a group lies on the cluster's levels; entry l is level l, up to the first whose domain holds the whole group.
struct Placement {
  struct Level {
    std::int64_t domains = 1;  // of this level that hold members
    std::int64_t branch = 1;   // most sub-domains with members inside one of them (level 0: most members)
    std::int64_t rails = 1;    // fewest members in one sub-domain: so many links of this level leave it (level 0: 1)
    bool operator==(const Level&) const = default;
  };
  std::int64_t ranks = 1;
  std::vector<Level> levels;
  bool operator==(const Placement&) const = default;
};

// Where these devices lie; their order does not matter.
Placement place(const Cluster& cluster, std::span<const std::int64_t> devices);

// The distinct placements of the program's groups of one kind, rank r on device r: groups of the same kind are translates of each other, so they
// differ only where they start within a domain.
std::vector<Placement> placements(const Cluster& cluster, const program::Program& program, const program::Group& group);

// Who sends to whom in a group (by its number), as pairs: neighbours on its axis, or across a boundary. Every level that some pair crosses.
std::vector<Placement> pair_placements(const Cluster& cluster, const program::Program& program, std::uint16_t group);

enum class Algorithm : std::uint8_t { none, ring, tree, in_switch, direct };

struct CollectiveEstimate {
  Seconds duration;
  Algorithm algorithm = Algorithm::none;
  Source source;
};

// Time from when the last member arrived until all are done. `bytes` in NCCL's conventions (program::Shape::bytes).
CollectiveEstimate collective_time(program::Operator op, Bytes bytes, const Placement& placement, const Cluster& cluster);

// The sum over a group through parameter servers, which its first `servers` members are beside their work: each takes its share of the `bytes` from
// all others and gives it back to them. Its own link carries 2 (n - 1) bytes / servers, all of it at once (BytePS's summation service with its
// servers on the workers' machines; Jiang et al. 2020).
CollectiveEstimate server_time(std::int64_t servers, Bytes bytes, const Placement& placement, const Cluster& cluster);

// No algorithm without arithmetic inside the network is faster: what must leave the busiest device, and the busiest domain of each level, at nominal
// bandwidth.
Seconds bandwidth_bound(program::Operator op, Bytes bytes, const Placement& placement, const Cluster& cluster);

}  // namespace orrery::cost
