#include "cost/collectives.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "clusters.h"

namespace orrery::cost {
namespace {

using program::Axis;
using program::Operator;

constexpr double kBase = 24.6e-6;  // what any collective costs before its first step

// Latency and transfer overlap in part: t0 + x + 2 * 0.2 * sqrt(t0 * x).
double pipelined(double t0, double x) { return t0 + x + 0.4 * std::sqrt(t0 * x); }

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
  program::Program p;
  p.mesh = program::dense_mesh(3, 1, 4, 1);
  const auto all = placements(round_cluster(12), p, {program::mask(Axis::tp)});
  EXPECT_EQ(all.size(), 2U);
}

TEST(RingAllReduce, MovesTwiceNMinusOneOverNInANode) {
  // 4 ranks, 1 GB, 100 GB/s: 2*(3/4)*1 GB = 1.5 GB -> 15 ms; 2*3 steps of 1 us; the base.
  EXPECT_NEAR(seconds(Operator::all_reduce, 1'000'000'000, range(4), round_cluster(4)), pipelined(kBase + 6e-6, 15e-3), 1e-12);
}

TEST(RingAllReduce, LeavesANodeOverTheRailsOfAllItsMembers) {
  // The ring carries 2(n-1)/n of the payload past every rank; 4 rails x 10 GB/s = 40 GB/s < 100 GB/s.
  const Cluster c = round_cluster(12);
  const auto e = collective_time(Operator::all_reduce, Bytes{12'000'000'000}, place(c, range(12)), c);
  // 3 nodes x 4, 12 GB: 2*(11/12)*12 = 22 GB over 40 GB/s = 550 ms; of 2*11 steps 2*9 in a node and 2*2 between nodes: 58 us.
  EXPECT_EQ(e.algorithm, Algorithm::ring);
  EXPECT_NEAR(e.duration.v, pipelined(kBase + 58e-6, 550e-3), 1e-12);
}

TEST(TreeAllReduce, OfTwoNodesOnlyExchangesTheirSums) {
  // 2 nodes x 4, 8 GB: 8 GB over 4 rails = 200 ms, against 2 x 8 GB over 100 GB/s = 160 ms inside; / 0.92. Up and down 2 + 1 steps: 2*(2 + 10) us.
  const Cluster c = round_cluster(8);
  const auto e = collective_time(Operator::all_reduce, Bytes{8'000'000'000}, place(c, range(8)), c);
  EXPECT_EQ(e.algorithm, Algorithm::tree);
  EXPECT_NEAR(e.duration.v, pipelined(kBase + 24e-6, 200e-3 / 0.92), 1e-12);
}

TEST(RingAllReduce, HasOneRailWhereANodeHoldsOneMember) {
  // 4 nodes, one rank each, 1 GB: 1.5 GB over 10 GB/s = 150 ms; 6 steps of 10 us.
  EXPECT_NEAR(seconds(Operator::all_reduce, 1'000'000'000, range(4, 4), round_cluster(16)), pipelined(kBase + 60e-6, 150e-3), 1e-12);
}

TEST(TreeAllReduce, WinsForSmallMessagesOverManyNodes) {
  // 64 nodes, one rank each, 1 KB. Ring: 126 steps of 10 us. Tree: 2*log2(64) = 12 steps of 10 us, 2 x 1000 B / (0.92 x 10 GB/s) = 0.2174 us.
  const Cluster c = round_cluster(256);
  const auto e = collective_time(Operator::all_reduce, Bytes{1000}, place(c, range(64, 4)), c);
  EXPECT_EQ(e.algorithm, Algorithm::tree);
  EXPECT_NEAR(e.duration.v, pipelined(kBase + 120e-6, 2000.0 / 9.2e9), 1e-12);
}

TEST(ReduceScatterAndAllGather, EachMoveHalfOfARingsAllReduce) {
  // 2 nodes x 4, 8 GB: (7/8)*8 = 7 GB over 40 GB/s = 175 ms; 6 steps of 1 us and 1 of 10 us.
  const Cluster c = round_cluster(8);
  const double half = pipelined(kBase + 16e-6, 175e-3);
  EXPECT_NEAR(seconds(Operator::reduce_scatter, 8'000'000'000, range(8), c), half, 1e-12);
  EXPECT_NEAR(seconds(Operator::all_gather, 8'000'000'000, range(8), c), half, 1e-12);
}

TEST(AllToAll, SendsWhatLeavesTheNodeThroughEachDevicesOwnLink) {
  // 2 nodes x 4, 8 GB per rank: 4/8 of it leaves the node: 4 GB over 10 GB/s = 400 ms; meanwhile 3/8 crosses the node's links in 30 ms.
  EXPECT_NEAR(seconds(Operator::all_to_all, 8'000'000'000, range(8), round_cluster(8)), pipelined(kBase + 10e-6, 400e-3), 1e-12);
}

TEST(ParameterServers, EachServersLinkCarriesItsShareOfAllOtherRanksBothWays) {
  const auto time = [](std::int64_t servers, const std::vector<std::int64_t>& ranks, const Cluster& c) {
    return server_time(servers, Bytes{8'000'000'000}, place(c, ranks), c).duration.v;
  };
  // 4 ranks of one node at 100 GB/s, 8 GB: 2·(4−1)·8 GB / S. One server 480 ms, four (each its quarter of the sum) 120 ms, as a ring's 2·3/4·8 GB.
  const Cluster node = round_cluster(4);
  EXPECT_NEAR(time(1, range(4), node), pipelined(2 * (kBase + 1e-6), 480e-3), 1e-12);
  EXPECT_NEAR(time(4, range(4), node), pipelined(2 * (kBase + 1e-6), 120e-3), 1e-12);
  // 8 ranks, one in each of 8 nodes at 10 GB/s, 2 servers: 2·7·4 GB / 10 GB/s = 5.6 s: 7/2 of what everybody's own link would need.
  EXPECT_NEAR(time(2, range(8, 4), round_cluster(32)), pipelined(2 * (kBase + 10e-6), 5.6), 1e-9);
  // Never faster than the least that any exchange needs.
  EXPECT_GE(time(8, range(8, 4), round_cluster(32)),
            bandwidth_bound(Operator::all_reduce, Bytes{8'000'000'000}, place(round_cluster(32), range(8, 4)), round_cluster(32)).v);
}

TEST(SendAndReceive, TakeOneStepOfTheLevelBetweenThePair) {
  const Cluster c = round_cluster(8);
  EXPECT_NEAR(seconds(Operator::send, 1'000'000'000, {0, 3}, c), 10e-3 + 1e-6, 1e-12);
  EXPECT_NEAR(seconds(Operator::recv, 1'000'000'000, {0, 4}, c), 100e-3 + 10e-6, 1e-12);
}

TEST(Rotate, TakesAsLongAsItsSlowestMessage) {
  const Cluster c = round_cluster(8);
  EXPECT_NEAR(seconds(Operator::rotate, 1'000'000'000, range(4), c), 10e-3 + 1e-6, 1e-12);
  EXPECT_NEAR(seconds(Operator::rotate, 1'000'000'000, range(8), c), 100e-3 + 10e-6, 1e-12);
}

TEST(Collectives, OfOneRankCostNothing) {
  const Cluster c = round_cluster(8);
  for (const Operator op : {Operator::all_reduce, Operator::all_gather, Operator::all_to_all}) EXPECT_EQ(seconds(op, 1 << 20, {3}, c), 0);
}

TEST(AllReduceInSwitches, RunsAtTheSameRateForAnyNumberOfMembersFromFiveOn) {
  Cluster c = round_cluster(8);
  c.device.name = "h100";
  c.levels = {{"nvlink", 8, 450_GBps, 0.8, 3_us, "round"}};
  // 0.6 of 450 GB/s: 27 GB in 100 ms, up and down ceil(log2 n) = 3 steps of 3 us. A ring of 8 needs 2*(7/8)*27 GB / 360 GB/s = 131 ms.
  for (const std::int64_t n : {5, 8}) {
    const auto e = collective_time(Operator::all_reduce, Bytes{27'000'000'000}, place(c, range(n)), c);
    EXPECT_EQ(e.algorithm, Algorithm::in_switch);
    EXPECT_NEAR(e.duration.v, pipelined(kBase + 18e-6, 100e-3), 1e-12);
  }
  EXPECT_EQ(collective_time(Operator::all_reduce, Bytes{27'000'000'000}, place(c, range(4)), c).algorithm, Algorithm::ring);
}

const std::vector<Operator> kAll{Operator::all_reduce, Operator::reduce_scatter, Operator::all_gather, Operator::all_to_all,
                                 Operator::broadcast,  Operator::rotate,         Operator::send,       Operator::recv};

// Nodes of 4, leaves of 16, and a spine with half of a leaf's bandwidth.
Cluster three_levels() {
  Cluster c = round_cluster(64);
  c.levels[1].size = 16;
  c.levels.push_back({"spine", 64, 5_GBps, 0.9, 15_us, "round"});
  return c;
}

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
  const Cluster c = *rc::gen::element(round_cluster(64), three_levels());
  const auto op = *rc::gen::elementOf(kAll);
  const auto devices = some_devices(program::is_point_to_point(op) ? 2 : *rc::gen::inRange<std::size_t>(2, 65));
  const Bytes bytes{*rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << 36)};
  const Placement p = place(c, devices);
  RC_ASSERT(collective_time(op, bytes, p, c).duration >= bandwidth_bound(op, bytes, p, c));
}

RC_GTEST_PROP(Collectives, AreMonotoneInBytes, ()) {
  const Cluster c = *rc::gen::element(round_cluster(64), three_levels());
  const auto op = *rc::gen::elementOf(kAll);
  const auto devices = some_devices(program::is_point_to_point(op) ? 2 : *rc::gen::inRange<std::size_t>(2, 65));
  const auto less = *rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << 34), more = less + *rc::gen::inRange<std::int64_t>(0, 1 << 30);
  RC_ASSERT(seconds(op, less, devices, c) <= seconds(op, more, devices, c));
}

RC_GTEST_PROP(Collectives, DoNotCareInWhichOrderTheMembersAreNamed, ()) {
  const Cluster c = *rc::gen::element(round_cluster(64), three_levels());
  auto devices = some_devices(*rc::gen::inRange<std::size_t>(2, 65));
  const Placement before = place(c, devices);
  std::reverse(devices.begin(), devices.end());
  std::rotate(devices.begin(), devices.begin() + 1, devices.end());
  RC_ASSERT(place(c, devices) == before);
}

RC_GTEST_PROP(Collectives, AreNotSlowedByMoreBandwidth, ()) {
  Cluster c = *rc::gen::element(round_cluster(64), three_levels());
  const auto op = *rc::gen::elementOf(kAll);
  const auto devices = some_devices(program::is_point_to_point(op) ? 2 : *rc::gen::inRange<std::size_t>(2, 65));
  const auto bytes = *rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << 34);
  const double before = seconds(op, bytes, devices, c);
  auto& level = c.levels[*rc::gen::inRange<std::size_t>(0, c.levels.size())];
  level.bandwidth = level.bandwidth * *rc::gen::element(1.5, 2.0, 10.0);
  RC_ASSERT(seconds(op, bytes, devices, c) <= before);
}

RC_GTEST_PROP(Collectives, LieTheSameForEveryTranslateOfAGroup, ()) {
  // Every group of a mesh has one of the placements that `placements` lists.
  const Cluster c = *rc::gen::element(round_cluster(64), three_levels());
  program::Mesh mesh = program::dense_mesh(*rc::gen::element<std::int64_t>(1, 2, 3, 4), *rc::gen::element<std::int64_t>(1, 2),
                                           *rc::gen::element<std::int64_t>(1, 2, 3), *rc::gen::element<std::int64_t>(1, 2));
  const std::int64_t stage = mesh.extent(program::kTpAxis | program::kCpAxes | program::kDpAxes), ep = *rc::gen::element<std::int64_t>(1, 2, 3);
  mesh.size[static_cast<std::size_t>(program::Axis::ep)] = stage % ep == 0 ? ep : 1;
  mesh.size[static_cast<std::size_t>(program::Axis::edp)] = stage / mesh.size[static_cast<std::size_t>(program::Axis::ep)];
  if (*rc::gen::arbitrary<bool>()) std::swap(mesh.order[3], mesh.order[5]);
  const program::Group group{
      *rc::gen::elementOf(std::vector<program::AxisMask>{program::kTpAxis, program::kDpAxes, program::kTpAxis | program::kPpAxis, program::kCpAxes,
                                                         program::mask(program::Axis::ep), program::mask(program::Axis::edp)})};
  program::Program p;
  p.mesh = mesh;
  const auto all = placements(c, p, group);
  for (std::int64_t r = 0; r < mesh.ranks(); ++r)
    RC_ASSERT(std::find(all.begin(), all.end(), place(c, program::members(mesh, group, r))) != all.end());
}

}  // namespace
}  // namespace orrery::cost
