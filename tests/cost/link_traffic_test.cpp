// Bytes on links by algorithm, and that no collective is priced below what its links carry.
#include "cost/link_traffic.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "clusters.h"

namespace orrery::cost {
namespace {

using program::Operator;

constexpr double kGB = 1e9;

program::Shape shape(Operator op, std::int64_t bytes) {
  program::Shape s;
  s.op = op;
  s.bytes = bytes;
  return s;
}

std::vector<std::int64_t> range(std::int64_t n) {
  std::vector<std::int64_t> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), std::int64_t{0});
  return v;
}

std::vector<LinkBytes> bytes(Operator op, std::int64_t payload, const std::vector<std::int64_t>& devices, const Cluster& cluster, Algorithm algorithm,
                             std::size_t member = 0) {
  return GroupTraffic(cluster, devices).bytes(shape(op, payload), algorithm, member);
}

TEST(RingAllReduce, PutsTwiceNMinusOneOverNOnEachLink) {
  // 4 ranks of a node, 1 GB: 2 * 3/4 * 1 GB = 1.5 GB out and in; nothing on the adapters.
  const auto b = bytes(Operator::all_reduce, 1'000'000'000, range(4), round_cluster(8), Algorithm::ring);
  EXPECT_DOUBLE_EQ(b[0].sent, 1.5 * kGB);
  EXPECT_DOUBLE_EQ(b[0].received, 1.5 * kGB);
  EXPECT_EQ(b[1], LinkBytes{});
}

TEST(RingAllReduce, LeavesANodeOnceOverTheAdaptersOfAllItsMembers) {
  // 3 nodes of 4, 12 GB: 2 * 11/12 * 12 = 22 GB pass each rank. A ring leaves each node once and members take turns: 22 / 4 = 5.5 GB on an adapter
  // and the rest, 16.5 GB, inside.
  const auto b = bytes(Operator::all_reduce, 12'000'000'000, range(12), round_cluster(12), Algorithm::ring, 5);
  EXPECT_DOUBLE_EQ(b[0].sent, 16.5 * kGB);
  EXPECT_DOUBLE_EQ(b[1].sent, 5.5 * kGB);
}

TEST(RingAllGather, WithOneMemberInEachNodeUsesAdaptersOnly) {
  // 3 ranks in 3 nodes, 3 GB in all: 2/3 * 3 GB = 2 GB past each.
  const auto b = bytes(Operator::all_gather, 3'000'000'000, {0, 4, 8}, round_cluster(12), Algorithm::ring, 2);
  EXPECT_DOUBLE_EQ(b[0].sent, 0);
  EXPECT_DOUBLE_EQ(b[1].sent, 2 * kGB);
}

TEST(TreeAllReduce, OfTwoNodesSendsOnePayloadEachWay) {
  // 2 nodes of 4, 8 GB: 2 * 1/2 * 8 = 8 GB out of each node over 4 adapters, 2 GB each; inside 2 * 3/4 * 8 = 12 GB for each of four members.
  const auto b = bytes(Operator::all_reduce, 8'000'000'000, range(8), round_cluster(8), Algorithm::tree);
  EXPECT_DOUBLE_EQ(b[0].sent, 12 * kGB);
  EXPECT_DOUBLE_EQ(b[1].sent, 2 * kGB);
}

TEST(SwitchAllReduce, PutsThePayloadOnEachLinkOnce) {
  const auto b = bytes(Operator::all_reduce, 8'000'000'000, range(8), round_cluster(8), Algorithm::in_switch);
  EXPECT_DOUBLE_EQ(b[0].sent, 8 * kGB);
  EXPECT_DOUBLE_EQ(b[1].sent, 2 * kGB);  // between nodes a tree, as above
}

TEST(AllToAll, SendsAnEqualPartToEachOther) {
  // 2 nodes of 4, 8 GB each: 1 GB to each, 3 of them inside and 4 outside.
  const auto b = bytes(Operator::all_to_all, 8'000'000'000, range(8), round_cluster(8), Algorithm::direct, 3);
  EXPECT_DOUBLE_EQ(b[0].sent, 3 * kGB);
  EXPECT_DOUBLE_EQ(b[1].sent, 4 * kGB);
}

TEST(AllToAllByCount, CrossesToANodeOnceWhereTheDispatcherIsHierarchical) {
  // 2 nodes of 4, 8 experts, each token takes all 8: 8 GB are 1 GB of tokens x 8 copies. Each token crosses to the one other node once: 1 GB on the
  // adapter. Inside, each of its 8 copies crosses a link unless it is on the rank where it arrived or began: 8 x 3/4 = 6 GB.
  program::Shape s = shape(Operator::all_to_all_by_count, 8'000'000'000);
  s.dims[4] = 8, s.dims[5] = 8, s.dims[6] = 1, s.dims[7] = 1;
  const Cluster cluster = round_cluster(8);
  const GroupTraffic group(cluster, range(8));
  const auto b = group.bytes(s, group.algorithm(s), 0);
  EXPECT_NEAR(b[1].sent, 1 * kGB, 2);
  EXPECT_NEAR(b[0].sent, 6 * kGB, 2);
}

TEST(ParameterServers, TakeInAndGiveOutAPartForEachOther) {
  // 4 ranks, the first adds up 1 GB for all: it receives 3 GB and sends 3; the others send 1 and receive 1.
  program::Shape s = shape(Operator::all_reduce, 1'000'000'000);
  s.dims[1] = 1;
  const Cluster cluster = round_cluster(4);
  const GroupTraffic group(cluster, range(4));
  EXPECT_EQ(group.bytes(s, Algorithm::direct, 0)[0], (LinkBytes{3 * kGB, 3 * kGB}));
  EXPECT_EQ(group.bytes(s, Algorithm::direct, 3)[0], (LinkBytes{1 * kGB, 1 * kGB}));
  // All four: each sends a quarter to three and gives back a quarter to three: 2 * 3/4, a ring's volume.
  s.dims[1] = 4;
  EXPECT_EQ(group.bytes(s, Algorithm::direct, 2)[0], (LinkBytes{1.5 * kGB, 1.5 * kGB}));
}

TEST(ParameterServers, OfThousandsAreCountedWithoutLookingAtEachPair) {
  // 16,384 ranks in nodes of 4, all of them servers of 16,384 bytes: a byte to each other as to a server and one as from one, 2 x 3 of them inside
  // and 2 x 16,380 outside.
  program::Shape s = shape(Operator::all_reduce, 16'384);
  s.dims[1] = 16'384;
  const Cluster cluster = round_cluster(16'384);
  const GroupTraffic group(cluster, range(16'384));
  for (std::size_t m = 0; m < 16'384; ++m) ASSERT_EQ(group.bytes(s, Algorithm::direct, m), (std::vector<LinkBytes>{{6, 6}, {32'760, 32'760}}));
}

TEST(Rotate, SendsToTheNextMemberByTheLevelWhereTheyMeet) {
  // 2 | 4 5: device 2 sends to 4 by its adapter and hears from 5 by it; 4 sends to 5 inside.
  const Cluster cluster = round_cluster(8);
  const GroupTraffic group(cluster, {2, 4, 5});
  const program::Shape s = shape(Operator::rotate, 100);
  EXPECT_EQ(group.bytes(s, Algorithm::direct, 0), (std::vector<LinkBytes>{{0, 0}, {100, 100}}));
  EXPECT_EQ(group.bytes(s, Algorithm::direct, 1), (std::vector<LinkBytes>{{100, 0}, {0, 100}}));
  EXPECT_EQ(group.bytes(s, Algorithm::direct, 2), (std::vector<LinkBytes>{{0, 100}, {100, 0}}));
}

TEST(Message, CrossesTheAdapterAndAllLevelsAboveItUpToWhereTheEndsMeet) {
  // Inside the innermost domain one link; beyond it not that link, but all of levels 1 to where they meet.
  EXPECT_TRUE(crosses(0, 0));
  EXPECT_FALSE(crosses(1, 0));
  EXPECT_FALSE(crosses(0, 2));
  EXPECT_TRUE(crosses(1, 2));
  EXPECT_TRUE(crosses(2, 2));
  EXPECT_FALSE(crosses(3, 2));
}

Cluster three_levels() {
  Cluster c = round_cluster(32);
  c.levels = {{"link", 4, 100_GBps, 1.0, 1_us, "round"}, {"leaf", 16, 10_GBps, 1.0, 5_us, "round"}, {"spine", 32, 5_GBps, 1.0, 10_us, "round"}};
  return c;
}

TEST(RingAllGather, OfTwoLeavesCrossesTheSpineOnceForEachLeaf) {
  // 32 ranks, 32 GB: 31 GB past each; 31/4 leave a node over each adapter, and 31/16 of a leaf's over each of its 16 ways up.
  const auto b = bytes(Operator::all_gather, 32'000'000'000, range(32), three_levels(), Algorithm::ring, 7);
  EXPECT_DOUBLE_EQ(b[0].sent, 31 * kGB * 3 / 4);
  EXPECT_DOUBLE_EQ(b[1].sent, 31 * kGB / 4);
  EXPECT_DOUBLE_EQ(b[2].sent, 31 * kGB / 16);
}

std::vector<std::int64_t> any_group(std::int64_t devices) {
  const auto chosen = *rc::gen::container<std::set<std::int64_t>>(rc::gen::inRange<std::int64_t>(0, devices));
  RC_PRE(chosen.size() >= 2);
  return {chosen.begin(), chosen.end()};
}

const std::vector<Operator>& collectives() {
  static const std::vector<Operator> kAll{Operator::all_reduce, Operator::all_reduce_max, Operator::reduce_scatter, Operator::all_gather,
                                          Operator::all_to_all, Operator::broadcast,      Operator::rotate};
  return kAll;
}

RC_GTEST_PROP(LinkTraffic, WhatLeavesArrivesLevelByLevel, ()) {
  const Cluster cluster = three_levels();
  const GroupTraffic group(cluster, any_group(32));
  program::Shape s = shape(*rc::gen::elementOf(collectives()), *rc::gen::inRange<std::int64_t>(1, 1'000'000'000));
  if (s.op == Operator::all_reduce && *rc::gen::arbitrary<bool>())
    s.dims[1] = *rc::gen::inRange<std::int64_t>(1, static_cast<std::int64_t>(group.devices().size()) + 1);
  const Algorithm algorithm = group.algorithm(s);
  std::vector<double> sent(3), received(3);
  for (std::size_t m = 0; m < group.devices().size(); ++m) {
    const auto b = group.bytes(s, algorithm, m);
    for (std::size_t l = 0; l < 3; ++l) sent[l] += b[l].sent, received[l] += b[l].received;
  }
  for (std::size_t l = 0; l < 3; ++l) RC_ASSERT(std::abs(sent[l] - received[l]) <= 1e-9 * (sent[l] + 1));
}

RC_GTEST_PROP(ParameterServers, ExchangeAPartWithEachMember, ()) {
  const Cluster cluster = three_levels();
  const std::vector<std::int64_t> devices = any_group(32);
  const std::size_t members = devices.size(), servers = *rc::gen::inRange<std::size_t>(1, members + 1);
  program::Shape s = shape(Operator::all_reduce, static_cast<std::int64_t>(servers) * 1000);
  s.dims[1] = static_cast<std::int64_t>(servers);
  std::vector<std::vector<LinkBytes>> expected(members, std::vector<LinkBytes>(3));
  const auto message = [&](std::size_t from, std::size_t to) {
    for (std::size_t l = 0; from != to && l < 3; ++l)
      if (crosses(l, cluster.level_between(devices[from], devices[to]))) expected[from][l].sent += 1000, expected[to][l].received += 1000;
  };
  for (std::size_t server = 0; server < servers; ++server)
    for (std::size_t m = 0; m < members; ++m) message(m, server), message(server, m);
  for (std::size_t m = 0; m < members; ++m) RC_ASSERT(GroupTraffic(cluster, devices).bytes(s, Algorithm::direct, m) == expected[m]);
}

RC_GTEST_PROP(LinkTraffic, NothingIsPricedBelowWhatItsBusiestLinkCarries, ()) {
  const Cluster cluster = three_levels();
  const GroupTraffic group(cluster, any_group(32));
  const program::Shape s = shape(*rc::gen::elementOf(collectives()), *rc::gen::inRange<std::int64_t>(1, 1'000'000'000));
  const CollectiveEstimate estimate = collective_time(s.op, Bytes{s.bytes}, group.placement(), cluster);
  RC_ASSERT(estimate.algorithm == group.algorithm(s));
  for (std::size_t m = 0; m < group.devices().size(); ++m) {
    const auto b = group.bytes(s, estimate.algorithm, m);
    for (std::size_t l = 0; l < 3; ++l)
      RC_ASSERT(std::max(b[l].sent, b[l].received) / cluster.levels[l].bandwidth.v <= estimate.duration.v * (1 + 1e-12));
  }
}

}  // namespace
}  // namespace orrery::cost
