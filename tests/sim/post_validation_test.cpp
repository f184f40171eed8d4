// Stages that update before they know the norm of all stages' gradients (optimizer.post_validation) do not wait for each other between steps.
#include <gtest/gtest.h>

#include <algorithm>

#include "program/compile.h"
#include "program/small_models.h"
#include "sim/simulate.h"

namespace orrery::sim {
namespace {

struct PassCosts {
  std::int64_t forward, input_grad, weight_grad;
};

// One layer per stage, and of each layer only the fused projection of queries, keys and values takes time: 16 in, 8·2 + 2·4·2 = 32 out.
Result simulated(std::int64_t stages, std::int64_t microbatches, const PassCosts& c, bool post_validation) {
  using program::Operator;
  const Model model = program::small_llama(stages);
  Plan plan = program::small_plan(1, stages, 1, microbatches);
  plan.schedule = "zb-h2";
  plan.optimizer.post_validation = post_validation;
  const Cluster cluster = program::small_cluster(plan);
  const program::Program program = program::compile(model, cluster, plan);
  cost::Table cost;
  cost.sources = {{.name = "test", .grade = Grade::assumed, .sigma = 0}};
  for (const program::Shape& shape : program.shapes) {
    cost::Entry entry{};
    const bool projection = shape.dims[1] == 16 && shape.dims[2] == 32;
    if (projection && shape.op == Operator::linear_forward) entry.duration = Picoseconds{c.forward};
    if (projection && shape.op == Operator::linear_input_grad) entry.duration = Picoseconds{c.input_grad};
    if (projection && shape.op == Operator::linear_weight_grad) entry.duration = Picoseconds{c.weight_grad};
    cost.entries.push_back(entry);
  }
  return simulate(program, cost, cluster);
}

// Qi et al. 2024, table 2 and section 4: ZB-H2's rank is idle (P − 1)(F + I − 2W) between its own first and last pass, or not at all; a norm that all
// wait for adds the pipeline's skew, so that what they wait is (P − 1) max(F, F + I − 2W).
TEST(PostValidation, MakesTheStepOfZbH2AsLongAsARanksOwnPasses) {
  for (const std::int64_t p : {2, 4, 8})
    for (const PassCosts& c : {PassCosts{100, 100, 100}, {100, 120, 80}, {100, 120, 100}, {120, 100, 110}}) {
      const std::int64_t m = 3 * p, work = m * (c.forward + c.input_grad + c.weight_grad);
      const std::int64_t surplus = c.forward + c.input_grad - 2 * c.weight_grad;
      const Result together = simulated(p, m, c, false), apart = simulated(p, m, c, true);
      EXPECT_TRUE(together.steady && apart.steady);
      EXPECT_EQ(together.step.v, work + (p - 1) * std::max(c.forward, surplus)) << p << " stages, I " << c.input_grad << " W " << c.weight_grad;
      EXPECT_EQ(apart.step.v, work + std::max<std::int64_t>(0, (p - 1) * surplus)) << p << " stages, I " << c.input_grad << " W " << c.weight_grad;
    }
}

}  // namespace
}  // namespace orrery::sim
