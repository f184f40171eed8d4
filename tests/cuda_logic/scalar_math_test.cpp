// The arithmetic of one element that the CUDA kernels share with the host, against definitions.
#include "executor/kernels/cuda/scalar_math.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

#include "support/reference_kernels.h"

namespace orrery::executor::cuda {
namespace {

template <class F>
void is_the_definition(Activation kind) {
  for (double x = -12; x <= 12; x += 0.37) {
    const Value v = F::at(static_cast<float>(x));
    const double exact = static_cast<double>(static_cast<float>(x));
    const double expected = reference::activation(kind, exact);
    EXPECT_NEAR(v.f, expected, 1e-6 * (1 + std::abs(expected))) << x;
    if (std::abs(x) < 1e-3) continue;  // relu's kink
    const double slope = (reference::activation(kind, exact + 1e-5) - reference::activation(kind, exact - 1e-5)) / 2e-5;
    EXPECT_NEAR(v.d, slope, 2e-6 * (1 + std::abs(slope))) << x;
  }
  for (const float x : {-1e30F, -1000.F, 1000.F, 1e30F}) {  // beyond ±88 fp32's exponential overflows or vanishes
    if (kind == Activation::relu_squared) continue;
    EXPECT_EQ(F::at(x).f, x > 0 ? x : 0.F);
    EXPECT_EQ(F::at(x).d, x > 0 ? 1.F : 0.F);
  }
}

TEST(CudaScalarMath, ActivationsAndTheirDerivativesAreTheDefinitions) {
  is_the_definition<Silu>(Activation::silu);
  is_the_definition<Gelu>(Activation::gelu);
  is_the_definition<GeluTanh>(Activation::gelu_tanh);
  is_the_definition<Relu>(Activation::relu);
  is_the_definition<ReluSquared>(Activation::relu_squared);
}

RC_GTEST_PROP(CudaScalarMath, ATurnIsGoodAtAnyPosition, ()) {
  const double position = *rc::gen::inRange(0, 10'000'000), angle = position * std::pow(10000.0, -*rc::gen::inRange(0, 64) / 64.0);
  const Turn t = Turn::by(angle, 1);
  // 1e7 radians are known to 2e-9 in double; half a turn in fp32 to 2e-7.
  RC_ASSERT(std::abs(static_cast<double>(t.cosine) - std::cos(angle)) < 4e-7);
  RC_ASSERT(std::abs(static_cast<double>(t.sine) - std::sin(angle)) < 4e-7);
}

TEST(CudaScalarMath, ATurnTurnsAPair) {
  const Turn t = Turn::by(std::numbers::pi / 2, 2);  // a quarter turn, twice as long: (1, 3) becomes 2 · (-3, 1)
  EXPECT_NEAR(t.low(1, 3), -6, 1e-5);
  EXPECT_NEAR(t.high(3, 1), 2, 1e-5);
}

TEST(CudaScalarMath, ClipsAsPyTorchDoesAndKeepsNaNVisible) {
  EXPECT_FLOAT_EQ(clip_factor(25, 1), 0.19999996F);  // 1 / (5 + 1e-6)
  EXPECT_EQ(clip_factor(25, 6), 1.F);
  EXPECT_EQ(clip_factor(25, 0), 1.F);
  EXPECT_TRUE(std::isnan(clip_factor(std::nan(""), 1)));
  EXPECT_EQ(clip_factor(std::nan(""), 0), 1.F);
}

TEST(CudaScalarMath, SharesAreOfTheSumsOfExponentials) {
  const float a = 1.5F, b = -0.25F, nothing = -std::numeric_limits<float>::infinity();
  const Shares s = Shares::from(a, b);
  const double x = std::exp(1.5), y = std::exp(-0.25);
  EXPECT_NEAR(s.of_a, x / (x + y), 1e-6);
  EXPECT_NEAR(s.of_b, y / (x + y), 1e-6);
  EXPECT_NEAR(s.lse, std::log(x + y), 1e-6);
  EXPECT_EQ(Shares::from(nothing, b).of_b, 1.F);
  EXPECT_EQ(Shares::from(nothing, b).lse, b);
}

RC_GTEST_PROP(CudaScalarMath, TheBestAreThoseThatSortingFinds, ()) {
  // Few values, so that many are equal: among equals the lower number comes first.
  const auto scores =
      *rc::gen::container<std::vector<double>>(*rc::gen::inRange(1, 40), rc::gen::map(rc::gen::inRange(0, 6), [](int i) { return i / 4.0; }));
  const auto n = static_cast<std::int32_t>(scores.size()), k = *rc::gen::inRange(1, n + 1);
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)]; });
  double sum = 0;
  for (std::int32_t j = 0; j < k; ++j) sum += scores[static_cast<std::size_t>(order[static_cast<std::size_t>(j)])];
  RC_ASSERT(sum_of_best(scores.data(), n, k) == sum);
  for (std::int32_t i = 0; i < n; ++i)
    RC_ASSERT(among_best(scores.data(), n, i, k) == (std::find(order.begin(), order.begin() + k, i) != order.begin() + k));
}

TEST(CudaScalarMath, NaNRanksAsMinusInfinitySoThatTheOrderIsTotal) {
  const double nan = std::nan(""), scores[]{nan, 2, -std::numeric_limits<double>::infinity(), 1, nan};
  const std::int32_t order[]{1, 3, 0, 2, 4};  // 2, 1, then the three that are -inf by their number
  for (std::int32_t i = 0; i < 5; ++i)
    for (std::int32_t j = 0; j < 5; ++j) {
      const Ranked a{scores[order[i]], order[i]}, b{scores[order[j]], order[j]};
      EXPECT_EQ(a.before(b), i < j) << order[i] << " before " << order[j];
    }
  for (std::int32_t k = 1; k <= 5; ++k)
    for (std::int32_t i = 0; i < 5; ++i) EXPECT_EQ(among_best(scores, 5, order[i], k), i < k);
  EXPECT_EQ(sum_of_best(scores, 5, 2), 3);
  EXPECT_TRUE(std::isnan(sum_of_best(scores, 5, 3)));  // what is summed stays NaN
}

}  // namespace
}  // namespace orrery::executor::cuda
