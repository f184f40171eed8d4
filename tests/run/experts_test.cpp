// Mixtures of experts and latent attention beside what equivalence_test.cpp compares: gradients against the loss itself, forced balance, capacities.
#include <gtest/gtest.h>

#include "run/runs.h"

namespace orrery::executor {
namespace {

// The same eight windows in every step.
class SameBatch final : public TokenSource {
 public:
  std::string description() const override { return "the same batch"; }
  std::int64_t vocabulary() const override { return 61; }
  void window(std::int64_t sample, std::span<std::int32_t> tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = static_cast<std::int32_t>((static_cast<std::size_t>(sample % 8) * 7 + i * i * 3 + i) % 61);
  }
};

Plan descent(const Layout& l, double lr) {
  Plan p = plan_of(l);
  p.optimizer.kind = "sgd", p.optimizer.lr = lr, p.optimizer.clip = 0, p.optimizer.weight_decay = 0;
  return p;
}

RunResult steps(const Model& model, const Layout& l, const Plan& plan, std::int64_t n) {
  RunOptions o;
  o.steps = n;
  o.keep_parameters = o.poison = true;
  return run_layout(model, l, plan, SameBatch{}, o);
}

// To first order in the step the loss falls by lr · |g|², and no parameter has a gradient of zero.
TEST(Gradients, ASmallStepLowersTheLossByItsLengthTimesTheNorm) {
  for (const Model& model : {tiny_latent(12), tiny_latent(0), tiny_mixture(), tiny_deepseek()}) {
    const Layout even{.balanced = true};  // a router's choice is a jump
    const double lr = 1e-3;
    const RunResult r = steps(model, even, descent(even, lr), 2);
    const double expected = lr * r.steps[0].gradient_norm * r.steps[0].gradient_norm, fell = r.steps[0].loss - r.steps[1].loss;
    EXPECT_NEAR(fell / expected, 1, 0.03) << model.name << ": fell by " << fell << ", expected " << expected;
    // A step so large that the smallest gradient, of a gain of 1, does not vanish in it.
    const RunResult before = steps(model, even, descent(even, 0), 1), after = steps(model, even, descent(even, 100), 1);
    for (const auto& [name, values] : after.parameters) EXPECT_NE(values, before.parameters.at(name)) << model.name << " " << name;
  }
}

void expect_same_steps(const Model& model, const Layout& a, const Layout& b) {
  const RunResult x = steps(model, a, plan_of(a), 5), y = steps(model, b, plan_of(b), 5);
  for (std::size_t s = 0; s < x.steps.size(); ++s) {
    EXPECT_LE(relative(x.steps[s].loss, y.steps[s].loss), 1e-5) << name(b) << " step " << s;
    EXPECT_LE(relative(x.steps[s].gradient_norm, y.steps[s].gradient_norm), 1e-5) << name(b) << " step " << s;
  }
  EXPECT_EQ(y.replica_difference, 0);
}

TEST(Experts, ForcedBalanceIsThatOfTheWholeMicroBatchWhoeverHoldsItsRows) {
  for (const Layout& l : {Layout{.dp = 2, .ep = 2, .balanced = true}, Layout{.dp = 2, .tp = 2, .sp = true, .ep = 4, .balanced = true},
                          Layout{.tp = 2, .sp = true, .recompute = true, .micro = 2, .etp = 2, .balanced = true}})
    expect_same_steps(tiny_deepseek(), {.micro = l.micro, .balanced = true}, l);
}

// Each rank's tokens fill capacities of their own, so what is dropped does not depend on where the experts are.
TEST(Experts, CapacitiesDropTheSameTokensWhereverTheExpertsAre) {
  const Layout together{.dp = 2, .capacity = 0.75};
  expect_same_steps(tiny_mixture(), together, {.dp = 2, .ep = 2, .capacity = 0.75});
  const RunResult some = steps(tiny_mixture(), together, plan_of(together), 1), all = steps(tiny_mixture(), {.dp = 2}, plan_of({.dp = 2}), 1);
  EXPECT_NE(some.steps[0].loss, all.steps[0].loss);
}

}  // namespace
}  // namespace orrery::executor
