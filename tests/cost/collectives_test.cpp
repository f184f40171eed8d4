#include "cost/collectives.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <algorithm>
#include <numeric>
#include <random>

#include "clusters.h"

namespace orrery::cost {
namespace {

using program::Axis;
using program::Operator;

constexpr double kBase = 8.4e-6;  // NCCL's base latency of a ring under protocol Simple

double seconds(Operator op, std::int64_t bytes, const std::vector<std::int64_t>& devices, const Cluster& cluster) {
  return collective_time(op, Bytes{bytes}, place(cluster, devices), cluster).duration.v;
}

std::vector<std::int64_t> range(std::int64_t n, std::int64_t step = 1) {
  std::vector<std::int64_t> v(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) v[static_cast<std::size_t>(i)] = i * step;
  return v;
}

TEST(Placement, CountsDomainsBranchesAndRailsLevelByLevel) {
  const Cluster c = round_cluster(16);
  // Devices 0 1 | 4 5 6: two nodes, at most three members in one, and only two rails out of the first.
  const Placement p = place(c, std::vector<std::int64_t>{0, 1, 4, 5, 6});
  ASSERT_EQ(p.levels.size(), 2U);
  EXPECT_EQ(p.levels[0], (Placement::Level{2, 3, 1}));
  EXPECT_EQ(p.levels[1], (Placement::Level{1, 2, 2}));
}

TEST(Placement, StopsAtTheLevelThatHoldsTheWholeGroup) {
  const Placement p = place(round_cluster(16), std::vector<std::int64_t>{5, 6});
  ASSERT_EQ(p.levels.size(), 1U);
  EXPECT_EQ(p.levels[0], (Placement::Level{1, 2, 1}));
}

TEST(Placement, GroupsThatStartElsewhereInANodeAreToldApart) {
  // tp = 3 in nodes of 4: {0,1,2} is in one node, {3,4,5} has 1 + 2, {6,7,8} 2 + 1, {9,10,11} one node again.
  program::Mesh mesh;
  mesh.size = {3, 1, 4, 1};
  const auto all = placements(round_cluster(12), mesh, {program::mask(Axis::tp)});
  EXPECT_EQ(all.size(), 2U);
}

TEST(RingAllReduce, MovesTwiceNMinusOneOverNInANode) {
  // 4 ranks, 1 GB, 100 GB/s: 2*(3/4)*1 GB = 1.5 GB -> 15 ms; 2*3 steps of 1 us; the base.
  EXPECT_NEAR(seconds(Operator::all_reduce, 1'000'000'000, range(4), round_cluster(4)), 15e-3 + 6e-6 + kBase, 1e-12);
}

TEST(RingAllReduce, LeavesANodeOverTheRailsOfAllItsMembers) {
  // 2 nodes x 4 ranks, 8 GB: the ring carries 2*(7/8)*8 = 14 GB past every rank; 4 rails x 10 GB/s = 40 GB/s < 100 GB/s -> 350 ms.
  // Of 2*7 steps, 2*6 stay in a node (1 us) and 2*1 leave it (10 us): 32 us.
  EXPECT_NEAR(seconds(Operator::all_reduce, 8'000'000'000, range(8), round_cluster(8)), 350e-3 + 32e-6 + kBase, 1e-12);
}

TEST(RingAllReduce, HasOneRailWhereANodeHoldsOneMember) {
  // 4 nodes, one rank each, 1 GB: 1.5 GB over 10 GB/s = 150 ms; 6 steps of 10 us.
  EXPECT_NEAR(seconds(Operator::all_reduce, 1'000'000'000, range(4, 4), round_cluster(16)), 150e-3 + 60e-6 + kBase, 1e-12);
}

TEST(TreeAllReduce, WinsForSmallMessagesOverManyNodes) {
  // 64 nodes, one rank each, 1 KB. Ring: 126 steps of 10 us. Tree: 2*log2(64) = 12 steps of 10 us, 2 x 1000 B / (0.92 x 10 GB/s) = 0.2174 us.
  const Cluster c = round_cluster(256);
  const auto e = collective_time(Operator::all_reduce, Bytes{1000}, place(c, range(64, 4)), c);
  EXPECT_EQ(e.algorithm, Algorithm::tree);
  EXPECT_NEAR(e.duration.v, 120e-6 + 2000.0 / 9.2e9 + kBase, 1e-12);
}

TEST(ReduceScatterAndAllGather, EachCostHalfAnAllReduce) {
  const Cluster c = round_cluster(8);
  const double half = (350e-3 + 32e-6) / 2 + kBase;
  EXPECT_NEAR(seconds(Operator::reduce_scatter, 8'000'000'000, range(8), c), half, 1e-12);
  EXPECT_NEAR(seconds(Operator::all_gather, 8'000'000'000, range(8), c), half, 1e-12);
}

TEST(AllToAll, SendsWhatLeavesTheNodeThroughEachDevicesOwnLink) {
  // 2 nodes x 4, 8 GB per rank: 4/8 of it leaves the node: 4 GB over 10 GB/s = 400 ms; meanwhile 3/8 crosses the node's links in 30 ms.
  EXPECT_NEAR(seconds(Operator::all_to_all, 8'000'000'000, range(8), round_cluster(8)), 400e-3 + 10e-6 + kBase, 1e-12);
}

TEST(SendAndReceive, TakeOneStepOfTheLevelBetweenThePair) {
  const Cluster c = round_cluster(8);
  EXPECT_NEAR(seconds(Operator::send, 1'000'000'000, {0, 3}, c), 10e-3 + 1e-6, 1e-12);
  EXPECT_NEAR(seconds(Operator::recv, 1'000'000'000, {0, 4}, c), 100e-3 + 10e-6, 1e-12);
}

TEST(Collectives, OfOneRankCostNothing) {
  const Cluster c = round_cluster(8);
  for (const Operator op : {Operator::all_reduce, Operator::all_gather, Operator::all_to_all}) EXPECT_EQ(seconds(op, 1 << 20, {3}, c), 0);
}

const std::vector<Operator> kAll{Operator::all_reduce, Operator::reduce_scatter, Operator::all_gather, Operator::all_to_all,
                                 Operator::broadcast,  Operator::send,           Operator::recv};

// Some distinct devices of a cluster of 64.
std::vector<std::int64_t> some_devices(std::size_t count) {
  std::vector<std::int64_t> all = range(64);
  const auto seed = *rc::gen::arbitrary<std::uint32_t>();
  std::mt19937 random(seed);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(count);
  return all;
}

RC_GTEST_PROP(Collectives, NeverBeatTheBandwidthBound, ()) {
  const Cluster c = round_cluster(64);
  const auto op = *rc::gen::elementOf(kAll);
  const auto devices = some_devices(program::is_point_to_point(op) ? 2 : *rc::gen::inRange<std::size_t>(2, 65));
  const Bytes bytes{*rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << 36)};
  const Placement p = place(c, devices);
  RC_ASSERT(collective_time(op, bytes, p, c).duration >= bandwidth_bound(op, bytes, p, c));
}

RC_GTEST_PROP(Collectives, AreMonotoneInBytes, ()) {
  const Cluster c = round_cluster(64);
  const auto op = *rc::gen::elementOf(kAll);
  const auto devices = some_devices(program::is_point_to_point(op) ? 2 : *rc::gen::inRange<std::size_t>(2, 65));
  const auto less = *rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << 34), more = less + *rc::gen::inRange<std::int64_t>(0, 1 << 30);
  RC_ASSERT(seconds(op, less, devices, c) <= seconds(op, more, devices, c));
}

RC_GTEST_PROP(Collectives, DoNotCareInWhichOrderTheMembersAreNamed, ()) {
  const Cluster c = round_cluster(64);
  auto devices = some_devices(*rc::gen::inRange<std::size_t>(2, 65));
  const Placement before = place(c, devices);
  std::reverse(devices.begin(), devices.end());
  std::rotate(devices.begin(), devices.begin() + 1, devices.end());
  RC_ASSERT(place(c, devices) == before);
}

RC_GTEST_PROP(Collectives, AreNotSlowedByMoreBandwidth, ()) {
  Cluster c = round_cluster(64);
  const auto op = *rc::gen::elementOf(kAll);
  const auto devices = some_devices(program::is_point_to_point(op) ? 2 : *rc::gen::inRange<std::size_t>(2, 65));
  const auto bytes = *rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << 34);
  const double before = seconds(op, bytes, devices, c);
  auto& level = c.levels[*rc::gen::inRange<std::size_t>(0, 2)];
  level.bandwidth = level.bandwidth * *rc::gen::element(1.5, 2.0, 10.0);
  RC_ASSERT(seconds(op, bytes, devices, c) <= before);
}

RC_GTEST_PROP(Collectives, LieTheSameForEveryTranslateOfAGroup, ()) {
  // Every group of a mesh has one of the placements that `placements` lists.
  const Cluster c = round_cluster(64);
  program::Mesh mesh;
  mesh.size = {*rc::gen::element<std::int64_t>(1, 2, 3, 4), *rc::gen::element<std::int64_t>(1, 2), *rc::gen::element<std::int64_t>(1, 2, 3),
               *rc::gen::element<std::int64_t>(1, 2)};
  const program::Group group{static_cast<program::AxisMask>(*rc::gen::inRange(1, 16))};
  const auto all = placements(c, mesh, group);
  for (std::int64_t r = 0; r < mesh.ranks(); ++r)
    RC_ASSERT(std::find(all.begin(), all.end(), place(c, program::members(mesh, group, r))) != all.end());
}

}  // namespace
}  // namespace orrery::cost
