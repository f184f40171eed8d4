// What every shape of a Program costs on a cluster, as arrays that the engine reads; and from which source each figure comes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/profile.h"
#include "core/units.h"
#include "program/program.h"

namespace orrery::cost {

// Cost of one shape on one device kind. Shares are fixed-point: 1 << 16 is the whole.
struct Entry {
  Picoseconds duration;            // unhindered, from start to end; collectives: after the last member arrived
  Picoseconds ideal;               // FLOPs at the device's peak; 0 without matrix work
  Joules energy;                   // above idle, per execution and rank
  std::uint32_t memory_share = 0;  // of the memory bandwidth shared by the ranks of a node, while it runs unhindered
  std::uint32_t core_share = 0;    // of one core: 1 << 16 for work done by a CPU thread, 0 for what occupies none
  std::uint16_t source = 0;        // index into Table::sources
};

struct Table {
  std::vector<Entry> entries;  // by index into Program::shapes
  std::vector<Source> sources;
  Picoseconds issue;              // host time per instruction under the program's launch mode
  Watts idle;                     // per device
  Grade energy = Grade::assumed;  // of idle and of the entries' energy
};

// Prices from the datasheet and the efficiencies named in the device file, or, where a profile has the operator, from the measurements. The profile
// is of the cluster's device (for another's there is cost/transfer.h).
Table price(const program::Program& program, const Cluster& cluster, const Profile* profile);

}  // namespace orrery::cost
