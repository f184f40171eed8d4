// Where the devices of a cluster, their nodes and their links are drawn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "gui/view/box.h"

namespace orrery::view {

// Nodes that are alike are drawn once.
struct NodeKind {
  std::int64_t node = 0;   // the first of them
  std::int64_t alike = 1;  // with itself
  bool operator==(const NodeKind&) const = default;
};

struct TopologyLayout {
  struct Device {
    std::int64_t device = 0;
    Box tile;
    // By level of the network: level 0 below the tile, to the switch of its node; the others above it, one over the other.
    std::vector<Box> links;
  };
  struct Node {
    NodeKind kind;
    Box frame, label;
    Box uplink;  // from the frame to the fabric; empty where there is none
    std::vector<Device> devices;
    std::vector<Box> switches;  // lines to which the devices' inner links lead, one below each row of devices
  };
  std::vector<Node> nodes;
  std::vector<Box> fabric;  // bars over the rows of nodes; none for a single domain
  Box spine;                // joins them where there are several
  // What did not find room, and where to say so.
  std::int64_t hidden_kinds = 0, hidden_nodes = 0;
  Box note;
  double tile = 0;  // side of a device's tile
};

// Fills the width and height with nodes in rows, drawn as large as lets all kinds find room, but not larger than is useful nor smaller than can be
// seen. `levels` ≥ 1 of the network, the innermost being the nodes'. Text takes `line` pixels.
TopologyLayout lay_out_topology(const std::vector<NodeKind>& kinds, std::int64_t devices, std::int64_t node_size, std::size_t levels, double width,
                                double height, double line);

struct TopologyHit {
  std::int64_t node = 0;
  std::optional<std::int64_t> device;
  std::optional<std::size_t> level;  // of the device's link; of the node's uplink without a device: 1
  bool operator==(const TopologyHit&) const = default;
};
// A link within two pixels wins over the tile, the tile over the frame.
std::optional<TopologyHit> hit(const TopologyLayout& layout, double x, double y);

}  // namespace orrery::view
