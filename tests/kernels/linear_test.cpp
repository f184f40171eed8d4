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
