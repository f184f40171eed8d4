#include <gtest/gtest.h>

#include "support/reference_kernels.h"

namespace orrery {
namespace {

using program::Operator;
using namespace reference;

executor::KernelSettings settings(executor::OptimizerSettings::Kind kind, double lr, double decay, double clip) {
  executor::KernelSettings s;
  s.optimizer = {kind, lr, {0.9, 0.999}, 1e-8, decay, clip};
  return s;
}
constexpr auto kAdamW = executor::OptimizerSettings::Kind::adamw, kSgd = executor::OptimizerSettings::Kind::sgd;

TEST(KernelOptimizer, AdamWTakesTheTwoStepsComputedByHand) {
  // lr 0.1, betas 0.9 and 0.999, decay 0.01.
  // Step 1, g = 0.5:   m = 0.05, v = 0.00025; m̂ = 0.5, v̂ = 0.25; p = 1 · 0.999 - 0.1 · 0.5/0.5 = 0.899
  // Step 2, g = -0.25: m = 0.045 - 0.025 = 0.02, v = 0.00024975 + 0.0000625 = 0.00031225; m̂ = 0.02/0.19 = 0.10526316,
  //                    v̂ = 0.00031225/0.001999 = 0.15620310; p = 0.899 · 0.999 - 0.1 · 0.10526316/0.39522538 = 0.898101 - 0.02663370 = 0.87146730
  const std::vector<double> norm{0};
  Floats g{0.5F}, p{1}, m{0}, v{0};
  Call call{Operator::optimizer_step, {1}, settings(kAdamW, 0.1, 0.01, 0)};
  call(norm, g, p, m, v);
  EXPECT_NEAR(p[0], 0.899, 1e-6);
  g[0] = -0.25F;
  call.step = 2;
  call(norm, g, p, m, v);
  EXPECT_NEAR(m[0], 0.02, 1e-8);
  EXPECT_NEAR(v[0], 0.00031225, 1e-10);
  EXPECT_NEAR(p[0], 0.87146730, 1e-6);
  EXPECT_EQ(g[0], -0.25F);
}

TEST(KernelOptimizer, AMasterCopyIsUpdatedAndCopiedToTheParameter) {
  const std::vector<double> norm{0};
  const Floats g = random_floats(37, 1);
  Floats p = random_floats(37, 2), m(37), v(37), master = p, q = poison(37), m2(37), v2(37);
  const Call call{Operator::optimizer_step, {37}, settings(kAdamW, 0.1, 0.01, 0)};
  call(norm, g, p, m, v);
  call(norm, g, q, m2, v2, master);
  EXPECT_EQ(q, p);
  EXPECT_EQ(master, p);
}

TEST(KernelOptimizer, ClipsToTheGlobalNormAsPyTorchDoes) {
  // gradient (3, 4): norm 5, coefficient 1/(5 + 1e-6) = 0.19999996; a norm below the limit leaves the gradient alone
  const Floats g{3, 4};
  Floats p{1, 1};
  Call{Operator::optimizer_step, {2}, settings(kSgd, 1, 0, 1)}(std::vector<double>{25}, g, p);
  EXPECT_NEAR(p[0], 0.4, 1e-6);
  EXPECT_NEAR(p[1], 0.2, 1e-6);
  Floats q{1, 1};
  Call{Operator::optimizer_step, {2}, settings(kSgd, 1, 0, 5.1)}(std::vector<double>{25}, g, q);
  EXPECT_EQ(q, (Floats{-2, -3}));
}

TEST(KernelOptimizer, ANormThatIsNotANumberStaysVisible) {
  Floats p{1};
  Call{Operator::optimizer_step, {1}, settings(kSgd, 1, 0, 1)}(std::vector<double>{std::nan("")}, Floats{1}, p);
  EXPECT_TRUE(std::isnan(p[0]));
}

TEST(KernelOptimizer, SgdDecaysWeights) {
  // 2 · (1 - 0.5 · 0.1) - 0.5 · 1 = 1.4
  Floats p{2};
  Call{Operator::optimizer_step, {1}, settings(kSgd, 0.5, 0.1, 0)}(std::vector<double>{1}, Floats{1}, p);
  EXPECT_NEAR(p[0], 1.4, 1e-6);
}

TEST(KernelGradientNorm, AddsSquaresInDoubleWhereTheyCount) {
  // 1e7 and 4 ones, squared: fp32 would lose the ones beside 1e14, double does not
  const Floats g{1e7F, 1, 1, 1, 1};
  std::vector<double> norm{2};
  Call{Operator::gradient_norm, {5}}(g, norm);
  EXPECT_EQ(norm[0], 1e14 + 6);
  Call call{Operator::gradient_norm, {5}};
  call.counts = false;
  call(g, norm);
  EXPECT_EQ(norm[0], 1e14 + 6);
}

}  // namespace
}  // namespace orrery
