#include <gtest/gtest.h>

#include <tuple>

#include "support/reference_kernels.h"

namespace orrery {
namespace {

using program::Operator;
using namespace reference;

executor::KernelSettings settings(Activation kind) {
  executor::KernelSettings s;
  s.activation = kind;
  return s;
}

class KernelActivation : public testing::TestWithParam<std::tuple<Activation, bool>> {
 protected:
  const Activation kind = std::get<0>(GetParam());
  const bool gated = std::get<1>(GetParam());
  const std::int64_t tokens = 3, width = 37;
  const std::int64_t inputs = tokens * width * (gated ? 2 : 1);
  const Floats u = random_floats(inputs, 1, 2);
};

TEST_P(KernelActivation, ForwardIsTheDefinition) {
  Floats a = poison(tokens * width);
  Call{Operator::activation_forward, {tokens, width, gated ? 1 : 0}, settings(kind)}(u, a);
  EXPECT_TRUE(close(a, activation(kind, gated, wide(u), width), 1e-6));
}

TEST_P(KernelActivation, BackwardIsTheGradientOfFiniteDifferences) {
  const Floats da = random_floats(tokens * width, 2);
  Floats du = poison(inputs);
  Call{Operator::activation_backward, {tokens, width, gated ? 1 : 0}, settings(kind)}(u, da, du);
  EXPECT_TRUE(close(du, gradient([&](const Doubles& x) { return weighted_sum(activation(kind, gated, x, width), da); }, wide(u))));
}

INSTANTIATE_TEST_SUITE_P(All, KernelActivation,
                         testing::Combine(testing::Values(Activation::silu, Activation::gelu, Activation::gelu_tanh, Activation::relu,
                                                          Activation::relu_squared),
                                          testing::Bool()));

TEST(KernelActivationRange, HugeArgumentsStayFinite) {
  // Beyond ±88 fp32's exponential overflows or vanishes; the functions' limits are x and 0 there.
  const Floats u{-1e30F, -1000.F, -90.F, 0.F, 90.F, 1000.F, 1e30F};
  for (const Activation kind : {Activation::silu, Activation::gelu, Activation::gelu_tanh}) {
    Floats a = poison(7), du = poison(7);
    Call{Operator::activation_forward, {1, 7, 0}, settings(kind)}(u, a);
    Call{Operator::activation_backward, {1, 7, 0}, settings(kind)}(u, Floats(7, 1.F), du);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(a[i], 0, 1e-6) << i;
      EXPECT_NEAR(du[i], 0, 1e-6) << i;
    }
    for (std::size_t i = 4; i < 7; ++i) {
      EXPECT_EQ(a[i], u[i]);
      EXPECT_EQ(du[i], 1.F);
    }
  }
}

TEST(KernelActivationRange, TheExponentialIsGoodToTwoRoundings) {
  // silu(x) / x = 1/(1 + e^-x): for x in [-80, -20] that is e^x to 2e-9, so this measures the exponential itself.
  const std::int64_t n = 6001;
  Floats u(at(n)), a = poison(n);
  for (std::int64_t i = 0; i < n; ++i) u[at(i)] = -80.F + static_cast<float>(i) * 0.01F;
  Call{Operator::activation_forward, {1, n, 0}, settings(Activation::silu)}(u, a);
  for (std::size_t i = 0; i < at(n); ++i) {
    const double x = static_cast<double>(u[i]), expected = x / (1 + std::exp(-x));
    EXPECT_NEAR(static_cast<double>(a[i]) / expected, 1, 5e-7) << u[i];
  }
}

TEST(KernelResidual, AddsInPlaceWithAndWithoutBias) {
  const Floats x{1, 2, 3, 4}, bias{10, 20};
  Floats y{100, 100, 100, 100}, z = y;
  Call{Operator::residual_forward, {2, 2}}(x, y);
  EXPECT_EQ(y, (Floats{101, 102, 103, 104}));
  Call{Operator::residual_forward, {2, 2}}(x, bias, z);
  EXPECT_EQ(z, (Floats{111, 122, 113, 124}));
}

TEST(KernelBiasGrad, AddsTheColumnSums) {
  const Floats dy{1, 2, 3, 4, 5, 6};
  Floats d_bias{100, 200};
  Call{Operator::bias_grad, {3, 2}}(dy, d_bias);
  EXPECT_EQ(d_bias, (Floats{109, 212}));  // 1 + 3 + 5, 2 + 4 + 6
}

TEST(KernelMoves, AccumulateCopyAndZero) {
  const Floats x{1, 2, 3};
  Floats y{10, 20, 30}, z = poison(3);
  Call{Operator::accumulate, {3}}(x, y);
  EXPECT_EQ(y, (Floats{11, 22, 33}));
  Call{Operator::copy, {3}}(y, z);
  EXPECT_EQ(z, y);
  Call{Operator::zero, {2}}(z);
  EXPECT_EQ(z, (Floats{0, 0, 33}));
}

// As squared norms are added up from stage to stage: 2^53 + 2 is no float, and in fp32 the sum would stay 2^53.
TEST(KernelMoves, AccumulateAddsNormsInDouble) {
  const Doubles x{2, 0.1};
  Doubles y{9007199254740992, 0.2};
  Call call{Operator::accumulate, {2}};
  call.dtype = DType::fp64;
  call(x, y);
  EXPECT_EQ(y, (Doubles{9007199254740994, 0.1 + 0.2}));
}

}  // namespace
}  // namespace orrery
