#include "program/mesh.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace orrery::program {
namespace {

constexpr AxisMask kTp = mask(Axis::tp), kDp = mask(Axis::dp), kPp = mask(Axis::pp);

// tp 2, cp 1, dp 2, pp 3, tp fastest: rank = tp + 2·dp + 4·pp.
Mesh small() { return {.size = {2, 1, 2, 3}}; }

TEST(Mesh, TheFirstAxisOfTheOrderVariesFastest) {
  EXPECT_EQ(small().ranks(), 12);
  EXPECT_EQ(small().coordinates(7), (Coordinates{1, 0, 1, 1}));  // 7 = 1 + 2·1 + 4·1
  EXPECT_EQ(small().rank({1, 0, 1, 1}), 7);
  Mesh pipeline_first = small();
  pipeline_first.order = {Axis::pp, Axis::tp, Axis::dp, Axis::cp};  // rank = pp + 3·tp + 6·dp
  EXPECT_EQ(pipeline_first.rank({1, 0, 1, 2}), 11);
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
  for (auto& n : mesh.size) n = *rc::gen::inRange<std::int64_t>(1, 5);
  for (std::size_t i = kAxes; i > 1; --i) std::swap(mesh.order[i - 1], mesh.order[*rc::gen::inRange<std::size_t>(0, i)]);
  return mesh;
}

RC_GTEST_PROP(MeshProperty, RankAndCoordinatesAreInverse, ()) {
  const Mesh mesh = any_mesh();
  const auto rank = *rc::gen::inRange<std::int64_t>(0, mesh.ranks());
  RC_ASSERT(mesh.rank(mesh.coordinates(rank)) == rank);
}

RC_GTEST_PROP(MeshProperty, GroupsOfOneMaskPartitionTheRanks, ()) {
  const Mesh mesh = any_mesh();
  const Group group{.axes = static_cast<AxisMask>(*rc::gen::inRange(0, 16))};
  std::vector<int> seen(static_cast<std::size_t>(mesh.ranks()), 0);
  for (std::int64_t rank = 0; rank < mesh.ranks(); ++rank) {
    const auto group_of_rank = members(mesh, group, rank);
    RC_ASSERT(static_cast<std::int64_t>(group_of_rank.size()) == group_size(mesh, group));
    RC_ASSERT(std::find(group_of_rank.begin(), group_of_rank.end(), rank) != group_of_rank.end());
    for (const std::int64_t other : group_of_rank) RC_ASSERT(members(mesh, group, other) == group_of_rank);
    if (group_of_rank.front() == rank)
      for (const std::int64_t other : group_of_rank) ++seen[static_cast<std::size_t>(other)];
  }
  RC_ASSERT(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
}

}  // namespace
}  // namespace orrery::program
