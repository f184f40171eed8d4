#include "profiler/measure.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace orrery::profiler {
namespace {

TEST(MedianEstimate, TakesOrderStatistics) {
  // n = 25: l = ⌊(25 - 9.8)/2⌋ = 7, u = ⌈1 + 17.4⌉ = 19; quartiles of 1 … 25 are 7 and 19, so the spread is 6/13
  std::vector<double> x;
  for (int i = 25; i >= 1; --i) x.push_back(i);
  const MedianEstimate e = estimate_median(x);
  EXPECT_EQ(e.median, 13);
  EXPECT_EQ(e.low, 7);
  EXPECT_EQ(e.high, 19);
  EXPECT_DOUBLE_EQ(e.spread, 6.0 / 13);
  EXPECT_DOUBLE_EQ(e.relative_error(), 6.0 / 13);
  EXPECT_EQ(e.count, 25);
}

TEST(MedianEstimate, OfOneSampleIsThatSample) {
  const MedianEstimate e = estimate_median({3});
  EXPECT_EQ(e.median, 3);
  EXPECT_EQ(e.low, 3);
  EXPECT_EQ(e.high, 3);
  EXPECT_EQ(e.spread, 0);
}

TEST(MedianEstimate, OfZeroHasNoRelativeError) { EXPECT_EQ(estimate_median({0, 0}).relative_error(), std::numeric_limits<double>::infinity()); }

RC_GTEST_PROP(MedianEstimate, TheIntervalCoversTheMedianOfAnyDistribution, ()) {
  // 95 % are promised. Of 400 repetitions, 6 standard errors below that are 0.95 - 6 · sqrt(0.95 · 0.05/400) = 0.885: 354 of them.
  const int n = *rc::gen::inRange(8, 60);
  const int kind = *rc::gen::inRange(0, 3);
  std::mt19937_64 engine(*rc::gen::arbitrary<std::uint64_t>());
  std::lognormal_distribution<double> skewed(0, 1);   // median 1
  std::cauchy_distribution<double> heavy(1, 0.1);     // median 1
  std::uniform_real_distribution<double> flat(0, 2);  // median 1
  int covered = 0;
  for (int repetition = 0; repetition < 400; ++repetition) {
    std::vector<double> x(static_cast<std::size_t>(n));
    for (double& v : x) v = kind == 0 ? skewed(engine) : kind == 1 ? heavy(engine) : flat(engine);
    const MedianEstimate e = estimate_median(x);
    covered += e.low <= 1 && 1 <= e.high;
  }
  RC_ASSERT(covered >= 354);
}

RC_GTEST_PROP(MedianEstimate, OutliersDoNotMoveIt, ()) {
  std::vector<double> x(21, 1.0);
  const int outliers = *rc::gen::inRange(0, 6);
  for (int i = 0; i < outliers; ++i) x[static_cast<std::size_t>(i)] = 1e6;
  const MedianEstimate e = estimate_median(x);
  RC_ASSERT(e.median == 1.0);
  RC_ASSERT(e.relative_error() == 0);
}

TEST(Sampling, StopsAtTheFirstLookWhenSamplesAgree) {
  Sampling s(StopRule{0.02, 8, 1000, Seconds{10}});
  for (int i = 0; i < 7; ++i) s.add(1, Seconds{1e-3});
  EXPECT_FALSE(s.done());
  s.add(1, Seconds{1e-3});
  EXPECT_TRUE(s.done());
}

TEST(Sampling, GoesOnUntilTheMedianIsKnownWellEnough) {
  std::mt19937_64 engine(1);
  std::normal_distribution<double> noisy(1, 0.2);
  Sampling s(StopRule{0.02, 8, 100000, Seconds{1e9}});
  while (!s.done()) s.add(noisy(engine), Seconds{1});
  EXPECT_LE(s.result().relative_error(), 0.02);
  // The median's standard error is 1.2533 σ/sqrt(n), so a half-width of 2 % needs n = (1.96 · 1.2533 · 0.2/0.02)² = 603; looks are half as many
  // apart.
  EXPECT_GT(s.count(), 200);
  EXPECT_LT(s.count(), 1500);
}

TEST(Sampling, StopsWhenTheTimeIsSpentButNeverBelowThreeSamples) {
  Sampling s(StopRule{0, 8, 1000, Seconds{1}});
  s.add(1, Seconds{5});
  s.add(2, Seconds{5});
  EXPECT_FALSE(s.done());
  s.add(3, Seconds{5});
  EXPECT_TRUE(s.done());
}

TEST(Sampling, StopsAfterOneSampleWhenAllTimeIsSpent) {
  Sampling s(StopRule{0, 8, 1000, Seconds{1}, Seconds{4}});
  s.add(1, Seconds{5});
  EXPECT_TRUE(s.done());
}

TEST(Sampling, StopsAtTheMostSamples) {
  Sampling s(StopRule{0, 8, 20, Seconds{1e9}});
  int n = 0;
  for (; !s.done(); ++n) s.add(n % 2 ? 1.0 : 2.0, Seconds{1});
  EXPECT_EQ(n, 20);
}

}  // namespace
}  // namespace orrery::profiler
