// Which links of the network carry what: bytes of a step by device, level and axis, or what flows at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/cluster.h"
#include "core/timeline.h"
#include "core/units.h"
#include "cost/link_traffic.h"
#include "program/program.h"

namespace orrery::app {

// The axis that causes communication, as WorkClass::tp_comm … dp_comm.
inline constexpr std::size_t kTrafficAxes = 5;
constexpr std::size_t traffic_axis(WorkClass c) { return static_cast<std::size_t>(c) - static_cast<std::size_t>(WorkClass::tp_comm); }
std::string_view traffic_axis_name(std::size_t axis);  // "tp", "cp", "ep", "pp", "dp"

using ByAxis = std::array<double, kTrafficAxes>;
double sum(const ByAxis& amounts);

// Amounts on every device's own link of every level (cost/link_traffic.h says which links there are), each way.
struct NetworkLoad {
  struct Level {
    std::string name;                    // "nvlink"
    std::int64_t domain = 1;             // devices in a domain of this level
    std::int64_t uplink = 1;             // neighbouring devices whose links of this level leave a domain of the level below; 1 for level 0
    BytesPerSecond bandwidth;            // of one link, one way, nominal
    std::vector<ByAxis> sent, received;  // by device: bytes, or bytes per second

    // Share of its bandwidth that the busier direction uses.
    double load(std::int64_t device, Seconds over) const;
  };
  std::vector<Level> levels;
  std::int64_t devices = 0;
  // What amounts are divided by to be a rate: the step; one second where they are rates, of a moment.
  Seconds over;
  bool moment = false;

  double load(std::size_t level, std::int64_t device) const { return levels[level].load(device, over); }
  // Of the links together by which the domain of the level below that holds this device reaches others at `level` (> 0): their mean.
  double uplink_load(std::size_t level, std::int64_t device) const;
};

// Links that carry the same, to the byte.
struct HotLink {
  std::size_t level = 0;
  std::int64_t device = 0;  // the first of those alike
  std::int64_t alike = 1;
  ByAxis sent{}, received{};
  double load = 0;
  bool operator==(const HotLink&) const = default;
};
// Busiest first; idle ones last.
std::vector<HotLink> links_by_load(const NetworkLoad& load);

// Nodes (domains of level 0) whose devices play the same parts and carry the same, to the byte.
struct AlikeNodes {
  std::int64_t node = 0;   // the first of them
  std::int64_t alike = 1;  // with itself
  bool operator==(const AlikeNodes&) const = default;
};

// What one kind of instruction puts on a link in a step.
struct LinkUse {
  std::string operation;  // "all_reduce"
  std::size_t axis = 0;
  cost::Algorithm algorithm = cost::Algorithm::none;
  std::int64_t ranks = 0;         // of the group; 2 for a message
  std::int64_t count = 0;         // executions in a step
  std::int64_t payload = 0;       // of one, as Shape::bytes
  double sent = 0, received = 0;  // of all of them
};
std::string_view name(cost::Algorithm algorithm);

// Counts a program's communication on a cluster's links, rank r on device r. What it does not know:
// - Collectives are taken to go evenly over a device's own links, as they are priced; what other devices' idle adapters could carry is not counted.
// - Each is priced as if it were alone. Where several use a link at once, its load at that moment may be above 1: then they would slow each other
//   down, and the prediction is too fast.
// - Where experts are chosen unevenly, every rank counts as the busiest, which the others wait for.
class NetworkTraffic {
 public:
  // Both must outlive it.
  NetworkTraffic(const program::Program& program, const Cluster& cluster);

  // Of a whole step, which is a period: what crosses its end counts once.
  NetworkLoad of_step(Picoseconds step) const;
  // At a time of a simulated timeline of this program: each instruction that runs then moves its bytes evenly from its start to its end; what runs on
  // beyond the step does so at the beginning of the next one, which is this one: times a step apart are the same. A rank that was not recorded does
  // what the one does that stands for it; ranks of whose class none was recorded are silent.
  NetworkLoad at(const Timeline& timeline, Picoseconds time) const;
  // By the first node of each kind. They are alike at any time of the step.
  std::vector<AlikeNodes> nodes(const NetworkLoad& of_step) const;
  // What puts bytes on the link of a device, most first.
  std::vector<LinkUse> uses(std::int64_t device, std::size_t level) const;

  const Cluster& cluster() const { return *cluster_; }

 private:
  // Communication instructions of a role that do the same, and how often a step has them.
  struct Use {
    program::Instruction instruction;
    std::int64_t count = 0;
  };
  std::uint32_t shape_of(const program::Instruction& instruction, std::int64_t rank) const;
  void meet(std::uint16_t group, std::int64_t rank);
  // Calls visit(level, bytes) for the links of `rank` that an execution of the instruction puts something on.
  template <class Visit>
  void each_link(const program::Instruction& instruction, std::int64_t rank, Visit visit) const;
  NetworkLoad empty(Seconds over, bool moment) const;
  std::size_t axis_of(std::uint16_t group) const;

  const program::Program* program_;
  const Cluster* cluster_;
  std::vector<std::vector<Use>> uses_;                // by role
  std::vector<cost::GroupTraffic> groups_;            // of those that collectives meet in
  std::vector<std::vector<std::uint32_t>> group_at_;  // by group and rank: index into groups_
  std::vector<std::vector<std::uint32_t>> member_at_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, cost::Algorithm> algorithms_;  // by index into groups_ and shape
};

}  // namespace orrery::app
