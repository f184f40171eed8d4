// What a communication puts on the links that its group's devices have, by the algorithm that it is priced with.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/cluster.h"
#include "cost/collectives.h"
#include "program/operators.h"

namespace orrery::cost {

// Every device has a link of its own at every level. That of level 0 joins it to the others of its innermost domain. That of level 1 is its adapter,
// by which it reaches all outside; that of level l > 1 its part of what its domain of level l - 1 has to go further up. So what two devices that meet
// at level l > 0 exchange crosses 2 l links: those of levels 1 to l of the one, and the same of the other.
struct LinkBytes {
  double sent = 0, received = 0;
  bool operator==(const LinkBytes&) const = default;
};

// What a message puts on links of one of its ends, by level, if they meet at `level`: nothing or all of it. Levels it does not cross are there too.
bool crosses(std::size_t link_level, std::size_t meeting_level);

// A group of devices in the order of its members.
class GroupTraffic {
 public:
  GroupTraffic(const Cluster& cluster, std::vector<std::int64_t> devices);

  const std::vector<std::int64_t>& devices() const { return devices_; }
  const Placement& placement() const { return placement_; }

  // By which the collective is priced; what a profile measured is taken to have been done so too.
  Algorithm algorithm(const program::Shape& shape) const;

  // What one execution of a collective puts on the links of member number `member`, by level of the cluster, as the mean over the rings or trees
  // that NCCL builds so that members take turns. Source of the forms: those of cost/collectives.cpp, with S = Shape::bytes, n members, m of them in
  // the member's own domain of a level and D domains with members:
  //   ring            F = (n-1)/n S (all-reduce: twice) past each member: F (m-1)/m inside and F / m out of a domain of level l-1
  //   tree            of each pair of trees over D domains 2 (D-1) S in all: 2 (D-1)/D S / m out of a domain, 2 (m-1)/m S inside
  //   in the switches S inside, a tree between nodes
  //   all-to-all      S/n to each other member
  //   broadcast       as a tree, one way
  //   rotate          S to the next member
  //   servers         S / servers from each member to each server, and back
  // What is sent is received: sums over all members are equal, level by level.
  std::vector<LinkBytes> bytes(const program::Shape& shape, Algorithm algorithm, std::size_t member) const;

 private:
  struct Level {
    std::vector<std::int64_t> own;  // by member: members in its domain
    std::int64_t domains = 1;       // that hold members
  };
  // Of parameter servers, which are the first members: those that a member exchanges with, by the level where they meet. Servers count once as such,
  // and all that a server serves once more.
  std::vector<std::int64_t> partners_by_level(std::size_t member, std::size_t servers) const;
  void add_message(std::vector<LinkBytes>& out, std::size_t from, std::size_t to, std::size_t member, double bytes) const;

  const Cluster* cluster_;
  std::vector<std::int64_t> devices_;
  Placement placement_;
  std::vector<Level> levels_;  // up to the first whose domain holds all
};

// What an exchange of experts' tokens by counts puts between nodes if a token crosses to a node once, whichever of its experts are there, as the
// payload of a plain exchange that puts as much there. Of any other shape its bytes.
Bytes crossing_once(const program::Shape& shape, const Placement& placement);
// What then goes on inside the nodes, from each rank to those that have experts of its tokens; 0 for any other shape.
double fan_out_bytes(const program::Shape& shape, const Placement& placement);

}  // namespace orrery::cost
