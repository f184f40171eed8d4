#include "executor/init.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace orrery::executor {
namespace {

using program::Parameter;

Parameter whole(std::int64_t rows, std::int64_t cols) {
  Parameter p;
  p.name = "layers.3.attention.q";
  p.rows = p.global_rows = rows;
  p.cols = p.global_cols = cols;
  return p;
}

program::Origin origin_at(const Parameter& p, std::int64_t tp) {
  program::Coordinates c{};
  c[static_cast<std::size_t>(program::Axis::tp)] = tp;
  return program::origin(p, c);
}

std::vector<float> filled(const Parameter& p, std::int64_t tp, std::uint64_t seed) {
  std::vector<float> out(static_cast<std::size_t>(p.rows * p.cols), std::numeric_limits<float>::quiet_NaN());
  initialise(p, origin_at(p, tp), seed, 0, out);
  return out;
}

RC_GTEST_PROP(Init, EveryShardingSeesTheSameTensor, ()) {
  const std::int64_t tp = *rc::gen::element<std::int64_t>(1, 2, 3, 4);
  const bool rows = *rc::gen::arbitrary<bool>();
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  Parameter global = whole(*rc::gen::inRange(1, 20), *rc::gen::inRange(1, 20));
  const std::vector<float> expected = filled(global, 0, seed);
  Parameter shard = global;
  shard.split = rows ? Parameter::Split::rows : Parameter::Split::cols;
  (rows ? shard.rows : shard.cols) = ((rows ? global.rows : global.cols) + tp - 1) / tp;  // the last shards are padded
  for (std::int64_t t = 0; t < tp; ++t) {
    const std::vector<float> part = filled(shard, t, seed);
    for (std::int64_t r = 0; r < shard.rows; ++r) {
      for (std::int64_t c = 0; c < shard.cols; ++c) {
        const std::int64_t gr = rows ? t * shard.rows + r : r, gc = rows ? c : t * shard.cols + c;
        const bool padding = gr >= global.rows || gc >= global.cols;
        const float value = part[static_cast<std::size_t>(r * shard.cols + c)];
        RC_ASSERT(value == (padding ? 0.F : expected[static_cast<std::size_t>(gr * global.cols + gc)]));
      }
    }
  }
}

RC_GTEST_PROP(Init, AnyRangeOfAShardIsWhatTheWholeShardHasThere, ()) {
  Parameter p = whole(*rc::gen::inRange(1, 20), *rc::gen::inRange(1, 20));
  p.split = Parameter::Split::cols, p.global_cols = p.cols * 2 - 1;
  const std::int64_t tp = *rc::gen::inRange(0, 2), first = *rc::gen::inRange<std::int64_t>(0, p.rows * p.cols);
  const std::vector<float> all = filled(p, tp, 7);
  std::vector<float> part(static_cast<std::size_t>(*rc::gen::inRange<std::int64_t>(0, p.rows * p.cols - first + 1)));
  initialise(p, origin_at(p, tp), 7, first, part);
  RC_ASSERT(std::equal(part.begin(), part.end(), all.begin() + first));
}

TEST(Init, NormalNumbersHaveTheMomentsOfTheNormalDistribution) {
  const Parameter p = [] {
    Parameter q = whole(500, 400);
    q.stddev = 0.02;
    return q;
  }();
  const std::vector<float> x = filled(p, 0, 1);
  const auto n = static_cast<double>(x.size());
  double mean = 0, second = 0, fourth = 0, neighbour = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double z = static_cast<double>(x[i]) / 0.02;
    mean += z / n;
    second += z * z / n;
    fourth += z * z * z * z / n;
    if (i > 0) neighbour += z * static_cast<double>(x[i - 1]) / 0.02 / n;
  }
  // Five standard errors for n = 200,000: 1/sqrt(n) = 0.0022 for the mean and the correlation, sqrt(2/n) = 0.0032 for the variance, sqrt(96/n) =
  // 0.022 for the fourth moment (E z⁸ - 9 = 105 - 9).
  EXPECT_NEAR(mean, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(neighbour, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(second, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth, 3, 5 * std::sqrt(96 / n));
}

TEST(Init, SeedsNamesAndElementsGiveDifferentNumbers) {
  EXPECT_EQ(initial_normal(1, "a", 7), initial_normal(1, "a", 7));
  EXPECT_NE(initial_normal(1, "a", 7), initial_normal(2, "a", 7));
  EXPECT_NE(initial_normal(1, "a", 7), initial_normal(1, "b", 7));
  EXPECT_NE(initial_normal(1, "a", 7), initial_normal(1, "a", 8));
}

TEST(Init, ThreadsThatShareALargeTensorDrawWhatOneWould) {
  const Parameter p = whole(1500, 3000);  // 4.5 M numbers: for several threads, where there are several cores
  const std::vector<float> x = filled(p, 0, 1);
  const auto n = static_cast<std::int64_t>(x.size());
  for (std::int64_t i = 0; i < n; i += 997)
    ASSERT_EQ(x[static_cast<std::size_t>(i)], static_cast<float>(p.stddev * initial_normal(1, p.name, i))) << i;
  for (std::int64_t threads = 2; threads <= 4; ++threads)
    for (std::int64_t k = 1; k < threads; ++k)
      for (std::int64_t i = n * k / threads - 2; i < n * k / threads + 2; ++i)
        ASSERT_EQ(x[static_cast<std::size_t>(i)], static_cast<float>(p.stddev * initial_normal(1, p.name, i))) << i;
}

TEST(Init, GainsAreOnesAndBiasesZeros) {
  Parameter p = whole(1, 3);
  p.init = Parameter::Init::ones;
  EXPECT_EQ(filled(p, 0, 1), (std::vector<float>{1, 1, 1}));
  p.init = Parameter::Init::zeros;
  EXPECT_EQ(filled(p, 0, 1), (std::vector<float>{0, 0, 0}));
}

}  // namespace
}  // namespace orrery::executor
