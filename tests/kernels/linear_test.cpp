#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "support/reference_kernels.h"

namespace orrery {
namespace {

using program::Operator;
using namespace reference;

struct Size {
  std::int64_t tokens, in, out;
};

// Sizes below, at and above Eigen's packet and block sizes, none a multiple of another.
constexpr std::array kSizes{Size{1, 1, 1}, Size{5, 3, 7}, Size{16, 16, 16}, Size{33, 17, 65}};

TEST(KernelLinear, ForwardIsXTimesWTransposedPlusBias) {
  for (const auto [tokens, in, out] : kSizes) {
    for (const bool with_bias : {false, true}) {
      const Floats x = random_floats(tokens * in, 1), weight = random_floats(out * in, 2), bias = random_floats(out, 3);
      Floats y = poison(tokens * out);
      const Call call{Operator::linear_forward, {tokens, in, out}};
      with_bias ? call(x, weight, bias, y) : call(x, weight, y);
      EXPECT_TRUE(close(y, linear(wide(x), wide(weight), with_bias ? wide(bias) : Doubles{}, tokens, in, out))) << tokens << " tokens";
    }
  }
}

TEST(KernelLinear, GradientsAreThoseOfFiniteDifferences) {
  for (const auto [tokens, in, out] : {Size{1, 1, 1}, Size{5, 3, 7}, Size{9, 18, 10}}) {
    const Floats x = random_floats(tokens * in, 4), weight = random_floats(out * in, 5), bias = random_floats(out, 6);
    const Floats dy = random_floats(tokens * out, 7), before = random_floats(out * in, 8), bias_before = random_floats(out, 9);
    const auto loss = [&, tokens = tokens, in = in, out = out](const Doubles& a, const Doubles& w, const Doubles& b) {
      return weighted_sum(linear(a, w, b, tokens, in, out), dy);
    };
    Floats dx = poison(tokens * in), d_weight = before, d_bias = bias_before, without_bias = before;
    Call{Operator::linear_input_grad, {tokens, in, out}}(dy, weight, dx);
    Call{Operator::linear_weight_grad, {tokens, in, out}}(x, dy, d_weight, d_bias);
    Call{Operator::linear_weight_grad, {tokens, in, out}}(x, dy, without_bias);
    EXPECT_TRUE(close(dx, gradient([&](const Doubles& a) { return loss(a, wide(weight), wide(bias)); }, wide(x))));
    EXPECT_TRUE(close(d_weight, plus(gradient([&](const Doubles& w) { return loss(wide(x), w, wide(bias)); }, wide(weight)), before)));
    EXPECT_TRUE(close(d_bias, plus(gradient([&](const Doubles& b) { return loss(wide(x), wide(weight), b); }, wide(bias)), bias_before)));
    EXPECT_EQ(without_bias, d_weight);
  }
}

// The same as the product and then the activation, whatever the activation; the derivative at the argument that was written.
TEST(KernelLinear, EndsWithAnActivationAndItsDerivative) {
  for (const Activation kind : {Activation::gelu_tanh, Activation::gelu, Activation::relu, Activation::relu_squared, Activation::silu})
    for (const auto [tokens, in, out] : {Size{1, 1, 1}, Size{5, 3, 7}, Size{16, 24, 32}})
      for (const bool with_bias : {false, true}) {
        executor::KernelSettings s;
        s.activation = kind;
        const Floats x = random_floats(tokens * in, 1), weight = random_floats(out * in, 2), bias = random_floats(out, 3);
        Floats u = poison(tokens * out), a = u, u_alone = u, a_alone = u;
        const Call both{Operator::linear_activation_forward, {tokens, in, out}, s};
        with_bias ? both(x, weight, bias, u, a) : both(x, weight, u, a);
        const Call product{Operator::linear_forward, {tokens, in, out}, s};
        with_bias ? product(x, weight, bias, u_alone) : product(x, weight, u_alone);
        Call{Operator::activation_forward, {tokens, out, 0}, s}(u_alone, a_alone);
        EXPECT_TRUE(close(u, wide(u_alone)));
        EXPECT_TRUE(close(a, wide(a_alone)));
        // Back: of a linear of `out` inputs and `in` results behind it.
        const Floats dy = random_floats(tokens * in, 4), behind = random_floats(in * out, 5);
        Floats du = poison(tokens * out), da = du, du_alone = du;
        Call{Operator::linear_activation_grad, {tokens, out, in}, s}(dy, behind, u, du);
        Call{Operator::linear_input_grad, {tokens, out, in}, s}(dy, behind, da);
        Call{Operator::activation_backward, {tokens, out, 0}, s}(u, da, du_alone);
        EXPECT_TRUE(close(du, wide(du_alone)));
      }
}

TEST(KernelLinear, ColumnAndRowShardsMakeTheWhole) {
  // Column parallel: y's columns side by side. Row parallel: partial products add up.
  const std::int64_t tokens = 6, in = 8, out = 12;
  const Floats x = random_floats(tokens * in, 1), weight = random_floats(out * in, 2);
  const Doubles whole = linear(wide(x), wide(weight), {}, tokens, in, out);
  const Floats lower(weight.begin() + out / 2 * in, weight.end());
  Floats y = poison(tokens * out / 2);
  Call{Operator::linear_forward, {tokens, in, out / 2}}(x, lower, y);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t o = 0; o < out / 2; ++o) EXPECT_NEAR(y[at(t * out / 2 + o)], whole[at(t * out + out / 2 + o)], 1e-5);
  }
}

TEST(KernelLinear, EmptyShapesAreLegal) {
  Floats x, y(3, 7.F), weight(6, 1.F), nothing;
  Call{Operator::linear_forward, {0, 2, 3}}(x, weight, nothing);
  Call{Operator::linear_forward, {1, 0, 3}}(x, nothing, y);  // an empty sum
  EXPECT_EQ(y, Floats(3, 0.F));
}

RC_GTEST_PROP(KernelLinear, SameInputGivesTheSameBits, ()) {
  const std::int64_t tokens = *rc::gen::inRange(1, 70), in = *rc::gen::inRange(1, 70), out = *rc::gen::inRange(1, 70);
  const Floats x = random_floats(tokens * in, 1), weight = random_floats(out * in, 2);
  Floats a = poison(tokens * out), b = poison(tokens * out);
  Call{Operator::linear_forward, {tokens, in, out}}(x, weight, a);
  Call{Operator::linear_forward, {tokens, in, out}}(x, weight, b);
  RC_ASSERT(a == b);
  RC_ASSERT(close(a, linear(wide(x), wide(weight), {}, tokens, in, out)));
}

}  // namespace
}  // namespace orrery
