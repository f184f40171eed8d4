// Curves of steps thinned to pixels: nothing high or low is lost, means are integrals.
#include "gui/view/step_curve.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <algorithm>

namespace orrery::view {
namespace {

StepCurve curve(std::vector<std::pair<std::int64_t, double>> points) {
  StepCurve c;
  for (const auto& [t, v] : points) c.times.push_back(Picoseconds{t}), c.values.push_back(v);
  return c;
}

TEST(StepCurve, HoldsAValueUntilTheNext) {
  const StepCurve c = curve({{0, 1}, {10, 5}, {10, 3}, {20, 2}});
  EXPECT_EQ(c.at(Picoseconds{-1}), c.size());
  EXPECT_EQ(c.at(Picoseconds{0}), 0U);
  EXPECT_EQ(c.at(Picoseconds{9}), 0U);
  EXPECT_EQ(c.at(Picoseconds{10}), 2U);
  EXPECT_EQ(c.at(Picoseconds{99}), 3U);
}

TEST(Extents, SaysLeastMostAndMeanOfEachPixel) {
  // Pixels [0, 10), [10, 20), [20, 30), [30, 40) of: 1 until 5, 4 until 10, a spike of 9 that lasts no time and then 3 until 25, then 2.
  const std::vector<Extent> e = extents(curve({{0, 1}, {5, 4}, {10, 9}, {10, 3}, {25, 2}}), {Picoseconds{0}, Picoseconds{40}}, 4);
  ASSERT_EQ(e.size(), 4U);
  EXPECT_EQ(e[0], (Extent{1, 4, 2.5, 1, false}));
  EXPECT_EQ(e[1], (Extent{3, 9, 3, 2, false}));
  EXPECT_EQ(e[2], (Extent{2, 3, 2.5, 3, false}));
  EXPECT_EQ(e[3], (Extent{2, 2, 2, 4, false}));
}

TEST(Extents, AreEmptyBeforeTheCurveBegins) {
  const std::vector<Extent> e = extents(curve({{15, 7}}), {Picoseconds{0}, Picoseconds{30}}, 3);
  EXPECT_TRUE(e[0].empty);
  EXPECT_EQ(e[1], (Extent{7, 7, 7, 0, false}));
  EXPECT_EQ(e[2], (Extent{7, 7, 7, 0, false}));
  EXPECT_TRUE(extents({}, {Picoseconds{0}, Picoseconds{30}}, 3)[1].empty);
}

// Two samples at the border of two pixels, the first of the curve: neither is lost.
TEST(Extents, CountSamplesOnTheBorder) {
  const std::vector<Extent> e = extents(curve({{9, 3}, {9, 1}}), {Picoseconds{7}, Picoseconds{11}}, 2);
  EXPECT_TRUE(e[0].empty);
  EXPECT_EQ(e[1], (Extent{1, 3, 1, 0, false}));
}

// The same by looking at every picosecond.
RC_GTEST_PROP(Extents, AreThoseOfEveryPicosecond, ()) {
  const auto n = *rc::gen::inRange<std::size_t>(1, 12);
  std::vector<std::pair<std::int64_t, double>> points;
  for (std::size_t i = 0; i < n; ++i) points.emplace_back(*rc::gen::inRange<std::int64_t>(0, 60), static_cast<double>(*rc::gen::inRange(0, 9)));
  std::stable_sort(points.begin(), points.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const StepCurve c = curve(points);
  const auto begin = *rc::gen::inRange<std::int64_t>(0, 40);
  const auto pixels = *rc::gen::inRange<std::size_t>(1, 9);
  const auto each = *rc::gen::inRange<std::int64_t>(1, 9);  // picoseconds a pixel
  const std::vector<Extent> e = extents(c, {Picoseconds{begin}, Picoseconds{begin + each * static_cast<std::int64_t>(pixels)}}, pixels);
  for (std::size_t p = 0; p < pixels; ++p) {
    double low = 1e9, high = -1, sum = 0;
    std::int64_t covered = 0;
    const std::int64_t from = begin + each * static_cast<std::int64_t>(p), to = from + each;
    for (std::int64_t t = from; t < to; ++t)
      if (const std::size_t s = c.at(Picoseconds{t}); s < c.size()) {
        ++covered;
        sum += c.values[s];
        low = std::min(low, c.values[s]), high = std::max(high, c.values[s]);
      }
    for (std::size_t s = 0; s < c.size(); ++s)  // those that last no time
      if (c.times[s].v >= from && c.times[s].v < to) low = std::min(low, c.values[s]), high = std::max(high, c.values[s]);
    RC_ASSERT(e[p].empty == (covered == 0));
    if (covered == 0) continue;
    RC_ASSERT(e[p].low == low);
    RC_ASSERT(e[p].high == high);
    RC_ASSERT(c.values[e[p].highest] == high);
    RC_ASSERT(std::abs(e[p].mean - sum / static_cast<double>(covered)) < 1e-9);
  }
}

}  // namespace
}  // namespace orrery::view
