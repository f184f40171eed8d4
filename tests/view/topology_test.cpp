// Where nodes, devices and links are drawn.
#include "gui/view/topology.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <cmath>
#include <numeric>

namespace orrery::view {
namespace {

constexpr double kLine = 16;

std::vector<NodeKind> kinds(std::int64_t n, std::int64_t alike = 1) {
  std::vector<NodeKind> out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back({i * alike, alike});
  return out;
}

bool overlap(const Box& a, const Box& b) { return a.x < b.right() && b.x < a.right() && a.y < b.bottom() && b.y < a.bottom(); }
bool inside(const Box& inner, const Box& outer) {
  return inner.x >= outer.x - 1e-9 && inner.right() <= outer.right() + 1e-9 && inner.y >= outer.y - 1e-9 && inner.bottom() <= outer.bottom() + 1e-9;
}

TEST(Topology, DrawsEachDeviceWithALinkToItsNodeAndOneToTheFabric) {
  const TopologyLayout t = lay_out_topology(kinds(4), 32, 8, 2, 800, 500, kLine);
  ASSERT_EQ(t.nodes.size(), 4U);
  EXPECT_EQ(t.hidden_nodes, 0);
  EXPECT_EQ(t.nodes[3].devices.front().device, 24);
  for (const auto& node : t.nodes) {
    ASSERT_EQ(node.devices.size(), 8U);
    EXPECT_EQ(node.switches.size(), 1U);
    EXPECT_DOUBLE_EQ(node.uplink.bottom(), node.frame.y);
    for (const auto& d : node.devices) {
      ASSERT_EQ(d.links.size(), 2U);
      EXPECT_DOUBLE_EQ(d.links[0].y, d.tile.bottom());  // down to the node's switch
      EXPECT_DOUBLE_EQ(d.links[0].bottom(), node.switches.front().y);
      EXPECT_DOUBLE_EQ(d.links[1].bottom(), d.tile.y);  // up, out of the node
    }
  }
}

TEST(Topology, HasNoFabricWhereThereIsOneNode) {
  const TopologyLayout t = lay_out_topology(kinds(1), 8, 8, 1, 800, 500, kLine);
  EXPECT_TRUE(t.fabric.empty());
  EXPECT_EQ(t.nodes[0].uplink, Box{});
  EXPECT_EQ(t.nodes[0].devices[0].links.size(), 1U);
}

TEST(Topology, WrapsLargeNodesIntoEqualRows) {
  // 72 devices: 12 in each of 6 rows.
  const TopologyLayout t = lay_out_topology(kinds(2), 144, 72, 2, 800, 600, kLine);
  ASSERT_EQ(t.nodes.size(), 2U);
  EXPECT_EQ(t.nodes[0].devices.size(), 72U);
  EXPECT_EQ(t.nodes[0].switches.size(), 6U);
}

// As wide as the room would do without the fabric's spine beside it.
TEST(Topology, LeavesRoomForTheSpine) {
  const TopologyLayout t = lay_out_topology(kinds(1), 16, 16, 2, 500, 400, kLine);
  EXPECT_LE(t.nodes[0].frame.right(), 500);
}

TEST(Topology, SaysHowManyFoundNoRoom) {
  const TopologyLayout t = lay_out_topology(kinds(500, 4), 500 * 4 * 8, 8, 2, 400, 300, kLine);
  EXPECT_GT(t.nodes.size(), 0U);
  EXPECT_EQ(static_cast<std::int64_t>(t.nodes.size()) + t.hidden_kinds, 500);
  EXPECT_EQ(t.hidden_nodes, 4 * t.hidden_kinds);
  EXPECT_LE(t.note.bottom(), 300);
}

TEST(Topology, FindsLinksTilesAndNodesUnderThePointer) {
  const TopologyLayout t = lay_out_topology(kinds(2), 16, 8, 2, 800, 500, kLine);
  const auto& device = t.nodes[1].devices[3];
  const auto middle = [&](const Box& b) { return hit(t, b.x + b.width / 2, b.y + b.height / 2); };
  EXPECT_EQ(middle(device.links[0]), (TopologyHit{1, 11, 0}));
  EXPECT_EQ(middle(device.links[1]), (TopologyHit{1, 11, 1}));
  EXPECT_EQ(middle(device.tile), (TopologyHit{1, 11, std::nullopt}));
  EXPECT_EQ(middle(t.nodes[0].uplink), (TopologyHit{0, std::nullopt, 1}));
  EXPECT_EQ(middle(t.nodes[1].label), (TopologyHit{1, std::nullopt, std::nullopt}));
  EXPECT_EQ(hit(t, 799, 499), std::nullopt);
}

RC_GTEST_PROP(Topology, NothingOverlapsAndAllIsInside, ()) {
  const auto n = *rc::gen::inRange<std::int64_t>(1, 60);
  const auto node_size = *rc::gen::elementOf(std::vector<std::int64_t>{1, 4, 8, 16, 18, 64, 72});
  const auto levels = *rc::gen::inRange<std::size_t>(1, 4);
  const double width = *rc::gen::inRange(500, 1800), height = *rc::gen::inRange(400, 1000);
  const TopologyLayout t = lay_out_topology(kinds(n), n * node_size, node_size, levels, width, height, kLine);
  RC_ASSERT(static_cast<std::int64_t>(t.nodes.size()) + t.hidden_kinds == n);
  const Box all{0, 0, width, height};
  for (std::size_t i = 0; i < t.nodes.size(); ++i) {
    RC_ASSERT(inside(t.nodes[i].frame, all));
    for (std::size_t j = 0; j < i; ++j) RC_ASSERT(!overlap(t.nodes[i].frame, t.nodes[j].frame));
    for (const auto& d : t.nodes[i].devices) {
      RC_ASSERT(inside(d.tile, t.nodes[i].frame));
      for (const Box& link : d.links) RC_ASSERT(inside(link, t.nodes[i].frame));
    }
    for (std::size_t d = 1; d < t.nodes[i].devices.size(); ++d) RC_ASSERT(!overlap(t.nodes[i].devices[d].tile, t.nodes[i].devices[d - 1].tile));
  }
}

}  // namespace
}  // namespace orrery::view
