#include "program/mesh.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace orrery::program {
namespace {

constexpr AxisMask kTp = kTpAxis, kDp = kDpAxes, kPp = kPpAxis;

// tp 2, cp 1, dp 2, pp 3, tp fastest: rank = tp + 2·dp + 4·pp.
Mesh small() { return dense_mesh(2, 1, 2, 3); }

Coordinates at(std::int64_t tp, std::int64_t dp, std::int64_t pp) {
  Coordinates c{};
  c[0] = tp, c[3] = dp, c[5] = pp;
  return c;
}

TEST(Mesh, TheFirstAxisOfTheOrderVariesFastest) {
  EXPECT_EQ(small().ranks(), 12);
  EXPECT_EQ(small().coordinates(7), at(1, 1, 1));  // 7 = 1 + 2·1 + 4·1
  EXPECT_EQ(small().rank(at(1, 1, 1)), 7);
  Mesh pipeline_first = small();
  pipeline_first.order = {Axis::pp, Axis::tp, Axis::dp_inner, Axis::dp_outer, Axis::cp_inner, Axis::cp_outer};  // rank = pp + 3·tp + 6·dp
  EXPECT_EQ(pipeline_first.rank(at(1, 1, 2)), 11);
}

TEST(Mesh, AGroupHoldsTheRanksThatDifferOnItsAxesOnly) {
  EXPECT_EQ(members(small(), {.axes = kTp}, 7), (std::vector<std::int64_t>{6, 7}));
  EXPECT_EQ(members(small(), {.axes = kDp}, 7), (std::vector<std::int64_t>{5, 7}));
  EXPECT_EQ(members(small(), {.axes = kPp}, 7), (std::vector<std::int64_t>{3, 7, 11}));
  EXPECT_EQ(members(small(), {.axes = kTp | kPp}, 0), (std::vector<std::int64_t>{0, 1, 4, 5, 8, 9}));
  EXPECT_EQ(group_size(small(), {.axes = kTp | kPp}), 6);
}

TEST(Mesh, TheEmbeddingGroupHoldsTheFirstAndTheLastStage) {
  EXPECT_EQ(members(small(), {.axes = kPp, .part = Group::Part::ends}, 9), (std::vector<std::int64_t>{1, 9}));
  EXPECT_EQ(group_size(small(), {.axes = kPp, .part = Group::Part::ends}), 2);
  EXPECT_EQ(members(Mesh{}, {.axes = kPp, .part = Group::Part::ends}, 0), (std::vector<std::int64_t>{0}));
}

Mesh any_mesh() {
  Mesh mesh;
  for (std::size_t a = 0; a < kDenseAxes; ++a) mesh.size[a] = *rc::gen::inRange<std::int64_t>(1, 4);
  // The experts' axes: any factors of the ranks of a stage.
  std::int64_t rest = mesh.ranks() / mesh.size[static_cast<std::size_t>(Axis::pp)];
  for (const Axis a : {Axis::etp, Axis::ep}) {
    std::int64_t n = *rc::gen::inRange<std::int64_t>(1, 9);
    while (rest % n != 0) --n;
    mesh.size[static_cast<std::size_t>(a)] = n, rest /= n;
  }
  mesh.size[static_cast<std::size_t>(Axis::edp)] = rest;
  for (std::size_t i = mesh.order.size(); i > 1; --i) std::swap(mesh.order[i - 1], mesh.order[*rc::gen::inRange<std::size_t>(0, i)]);
  for (std::size_t i = mesh.expert_order.size(); i > 1; --i)
    std::swap(mesh.expert_order[i - 1], mesh.expert_order[*rc::gen::inRange<std::size_t>(0, i)]);
  return mesh;
}

RC_GTEST_PROP(MeshProperty, RankAndCoordinatesAreInverse, ()) {
  const Mesh mesh = any_mesh();
  const auto rank = *rc::gen::inRange<std::int64_t>(0, mesh.ranks());
  RC_ASSERT(mesh.rank(mesh.coordinates(rank)) == rank);
  RC_ASSERT(mesh.expert_rank(mesh.coordinates(rank)) == rank);
}

// Copies of tokens are sorted by expert rank and within it by shard, and sent in that order to the members.
RC_GTEST_PROP(MeshProperty, RanksThatShareExpertsFollowByShardThenByExpertRank, ()) {
  const Mesh mesh = any_mesh();
  const auto rank = *rc::gen::inRange<std::int64_t>(0, mesh.ranks());
  const auto group = members(mesh, {.axes = mask(Axis::etp) | mask(Axis::ep)}, rank);
  const auto shards = mesh.size[static_cast<std::size_t>(Axis::etp)];
  for (std::size_t i = 0; i < group.size(); ++i) {
    const Coordinates c = mesh.coordinates(group[i]);
    RC_ASSERT(c[static_cast<std::size_t>(Axis::ep)] * shards + c[static_cast<std::size_t>(Axis::etp)] == static_cast<std::int64_t>(i));
  }
}

RC_GTEST_PROP(MeshProperty, GroupsOfOneMaskPartitionTheRanks, ()) {
  const Mesh mesh = any_mesh();
  // Dense axes, or experts' ones with or without pp.
  const auto dense = static_cast<AxisMask>(*rc::gen::inRange(0, 1 << kDenseAxes));
  const auto expert = static_cast<AxisMask>(*rc::gen::inRange(1, 8) << kDenseAxes | (*rc::gen::inRange(0, 2) ? kPpAxis : 0));
  const Group group{.axes = *rc::gen::element(dense, expert)};
  std::vector<int> seen(static_cast<std::size_t>(mesh.ranks()), 0);
  for (std::int64_t rank = 0; rank < mesh.ranks(); ++rank) {
    const auto group_of_rank = members(mesh, group, rank);
    RC_ASSERT(static_cast<std::int64_t>(group_of_rank.size()) == group_size(mesh, group));
    RC_ASSERT(std::find(group_of_rank.begin(), group_of_rank.end(), rank) != group_of_rank.end());
    RC_ASSERT(first_member(mesh, group, rank) == group_of_rank.front());
    for (const std::int64_t other : group_of_rank) RC_ASSERT(members(mesh, group, other) == group_of_rank);
    const std::int64_t place = mesh.place(mesh.coordinates(rank), group.axes);
    RC_ASSERT(group_of_rank[static_cast<std::size_t>(place)] == rank);
    for (const std::int64_t other : group_of_rank) RC_ASSERT(mesh.coordinates(other)[5] == mesh.coordinates(rank)[5] || group.axes & kPpAxis);
    if (group_of_rank.front() == rank)
      for (const std::int64_t other : group_of_rank) ++seen[static_cast<std::size_t>(other)];
  }
  RC_ASSERT(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
}

}  // namespace
}  // namespace orrery::program
