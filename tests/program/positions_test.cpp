#include "program/positions.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

namespace orrery::program {
namespace {

std::vector<std::int64_t> list(const Runs& runs) {
  std::vector<std::int64_t> out;
  for (const Run& run : runs)
    for (std::int64_t i = 0; i < run.count; ++i) out.push_back(run.first + i);
  return out;
}

TEST(Positions, OfABalancedRingAreAnEarlyAndALateChunk) {
  const ContextShare share{16, 1, 4, true};
  EXPECT_EQ(positions(share, 0), (Runs{{0, 2}, {14, 2}}));
  EXPECT_EQ(positions(share, 3), (Runs{{6, 4}}));  // chunks 3 and 4 are neighbours
  EXPECT_EQ(positions({16, 1, 4, false}, 1), (Runs{{4, 4}}));
}

TEST(Positions, OfAGroupThatExchangesHeadsAreConsecutivePartsOfItsRows) {
  const ContextShare share{16, 2, 2, true};  // outer member 0: chunks 0 and 3 of four
  EXPECT_EQ(positions(share, 0, 0), (Runs{{0, 4}}));
  EXPECT_EQ(positions(share, 0, 1), (Runs{{12, 4}}));
}

RC_GTEST_PROP(Positions, EveryPositionBelongsToExactlyOneRank, ()) {
  ContextShare share;
  share.inner = *rc::gen::inRange(1, 5), share.outer = *rc::gen::inRange(1, 5), share.balanced = *rc::gen::arbitrary<bool>();
  share.sequence = 2 * share.inner * share.outer * *rc::gen::inRange(1, 9);
  std::vector<std::int64_t> all;
  for (std::int64_t o = 0; o < share.outer; ++o) {
    Runs merged;
    std::vector<std::int64_t> of_group;
    for (std::int64_t i = 0; i < share.inner; ++i) {
      const auto own = list(positions(share, o, i));
      RC_ASSERT(static_cast<std::int64_t>(own.size()) == share.sequence / (share.inner * share.outer));
      of_group.insert(of_group.end(), own.begin(), own.end());
    }
    RC_ASSERT(of_group == list(positions(share, o)));
    all.insert(all.end(), of_group.begin(), of_group.end());
  }
  std::sort(all.begin(), all.end());
  for (std::size_t i = 0; i < all.size(); ++i) RC_ASSERT(all[i] == static_cast<std::int64_t>(i));
  RC_ASSERT(static_cast<std::int64_t>(all.size()) == share.sequence);
}

RC_GTEST_PROP(Positions, PairsAreThoseThatAMaskLeaves, ()) {
  const auto runs = [] {
    Runs out;
    std::int64_t at = *rc::gen::inRange(0, 5);
    for (int n = *rc::gen::inRange(1, 4); n > 0; --n) {
      out.push_back({at, *rc::gen::inRange<std::int64_t>(1, 7)});
      at += out.back().count + *rc::gen::inRange(0, 5);
    }
    return out;
  };
  const Runs queries = runs(), keys = runs();
  std::int64_t twice = 0;
  for (const auto q : list(queries))
    for (const auto k : list(keys)) twice += k < q ? 2 : k == q ? 1 : 0;
  RC_ASSERT(twice_attended_pairs(queries, keys, true) == twice);
  RC_ASSERT(twice_attended_pairs(queries, keys, false) == 2 * length(queries) * length(keys));
}

// With 2n chunks of c positions every rank attends to 2c² pairs of every other's keys, and to as many of its own: an n-th of an n-th of s²/2.
RC_GTEST_PROP(Positions, ABalancedRingHasEqualWorkInEveryStepOfEveryRank, ()) {
  const std::int64_t n = *rc::gen::inRange(2, 9), c = *rc::gen::inRange(1, 9);
  const ContextShare share{2 * n * c, 1, n, true};
  for (std::int64_t q = 0; q < n; ++q)
    for (std::int64_t k = 0; k < n; ++k) RC_ASSERT(twice_attended_pairs(positions(share, q), positions(share, k), true) == 4 * c * c);
}

}  // namespace
}  // namespace orrery::program
