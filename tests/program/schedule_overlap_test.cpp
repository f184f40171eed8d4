#include <gtest/gtest.h>

#include "core/error.h"
#include "program/schedules/replay.h"
#include "program/schedules/schedule.h"

namespace orrery::program {
namespace {

// One more micro-batch in flight, and every pass once; the replay finds no pair that needs itself.
TEST(OverlappedNeighbours, KeepEveryPassAndHoldOneMicrobatchMore) {
  for (const std::int64_t p : {1, 2, 3, 4, 8})
    for (const std::int64_t m : {1, 2, 5, 8, 16}) {
      const Schedule plain = make_schedule("1f1b", {.ranks = p, .microbatches = m}), both = overlap_neighbours(plain);
      check(both);
      const Replay before = replay(plain, {}), after = replay(both, {});
      for (std::int64_t r = 0; r < p; ++r) {
        const auto i = static_cast<std::size_t>(r);
        EXPECT_EQ(after.busy[i], before.busy[i]);
        // The pair holds its forward's activations while its backward's are still there: min(p − r, m) becomes one more, as far as there are more.
        EXPECT_EQ(after.peak_until_weight_grad[i], std::min(p - r + 1, m));
      }
    }
}

TEST(OverlappedNeighbours, PairInterleavedChunksToo) {
  for (const std::int64_t p : {2, 4})
    for (const std::int64_t v : {2, 3})
      for (const std::int64_t m : {p, 2 * p, 4 * p})
        check(overlap_neighbours(make_schedule("interleaved", {.ranks = p, .microbatches = m, .chunks = v})));
}

TEST(OverlappedNeighbours, NeedWholePasses) {
  try {
    (void)overlap_neighbours(make_schedule("zb-h1", {.ranks = 2, .microbatches = 4}));
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "schedule: schedule 'zb-h1' has other passes than whole forwards and backwards to overlap\n  hint: use 1f1b or interleaved");
  }
}

}  // namespace
}  // namespace orrery::program
