// Post-validation: stages update with the part of the norm that they know, and where all of it asks for clipping they take that back and do it again.
#include <gtest/gtest.h>

#include <algorithm>

#include "run/alone.h"

namespace orrery::executor {
namespace {

constexpr std::int64_t kSteps = 12;

// Clips about half of the steps.
double some_norm(const Model& model, const Plan& plan, const Layout& l, const TokenSource& source) {
  const RunResult r = run_layout(model, l, plan, source, poisoned(kSteps));
  std::vector<double> norms;
  for (const StepReport& s : r.steps) norms.push_back(s.gradient_norm);
  std::sort(norms.begin(), norms.end());
  return norms[norms.size() / 2];
}

class PostValidation : public testing::TestWithParam<Layout> {};

// The norm is added up in another order, which may change its last bit and so the last bits of what is clipped: the same within rounding. Steps that
// are not clipped are the same bit for bit, since what an update changes is taken back from a copy.
TEST_P(PostValidation, ComputesWhatStagesThatWaitForTheNormDo) {
  const Layout& l = GetParam();
  for (const Model& model : {tiny_llama(), tiny_gpt2()}) {
    const auto source = open_tokens("markov", model.vocab, 16, 1);
    Plan plan = plan_of(l);
    plan.optimizer.clip = some_norm(model, plan, l, *source);
    const RunResult together = run_layout(model, l, plan, *source, poisoned(kSteps));
    plan.optimizer.post_validation = true;
    const program::Program program = compiled(model, plan, l.dp);
    const RunResult apart = run(program, model, plan, *source, poisoned(kSteps));
    EXPECT_EQ(together.redone, 0);
    std::int64_t clipped = 0;
    for (const StepReport& s : together.steps) clipped += plan.optimizer.clip < s.gradient_norm + 1e-6 ? 1 : 0;
    EXPECT_EQ(apart.redone, clipped);
    EXPECT_GT(clipped, 0);
    EXPECT_LT(clipped, kSteps);
    ASSERT_EQ(apart.steps.size(), together.steps.size());
    for (std::size_t s = 0; s < apart.steps.size(); ++s) {
      EXPECT_LE(relative(apart.steps[s].loss, together.steps[s].loss), 1e-6) << "step " << s;
      EXPECT_LE(relative(apart.steps[s].gradient_norm, together.steps[s].gradient_norm), 1e-5) << "step " << s;
    }
    EXPECT_LE(worst(together.parameters, apart.parameters), 1);
    EXPECT_EQ(apart.replica_difference, 0);
    for (std::int64_t rank = 0; rank < program.mesh.ranks(); ++rank) {
      const program::MemoryReport predicted = program::memory(program, program.role_of(rank));
      const RankMemory& measured = apart.memory[static_cast<std::size_t>(rank)];
      EXPECT_EQ(measured.persistent, predicted.persistent) << "rank " << rank;
      EXPECT_EQ(measured.peak_live, predicted.peak_live) << "rank " << rank;
      EXPECT_EQ(measured.arena, predicted.arena) << "rank " << rank;
    }
  }
}

std::vector<Layout> layouts() {
  Layout kept{.dp = 2, .pp = 2, .schedule = "zb-h2", .zero = 3};
  kept.data = "kept_once_units";
  return {{.pp = 4, .schedule = "zb-h2"},
          {.pp = 4, .schedule = "gpipe", .overlap = false},
          {.dp = 2, .tp = 2, .pp = 2, .sp = true, .zero = 1, .recompute = true},
          {.dp = 2, .pp = 4, .schedule = "zb-h1", .zero = 1, .overlap = false},
          {.tp = 2, .pp = 2, .schedule = "zb-auto"},
          kept,
          {.pp = 2, .schedule = "seq1f1b", .splits = 2}};
}
const auto kName = [](const testing::TestParamInfo<Layout>& of) { return name(of.param); };
INSTANTIATE_TEST_SUITE_P(Layouts, PostValidation, testing::ValuesIn(layouts()), kName);

TEST(PostValidationWithoutClipping, IsTheSynchronousStepBitForBit) {
  const Layout l{.pp = 4, .schedule = "zb-h2"};
  const auto source = open_tokens("markov", 61, 16, 1);
  Plan plan = plan_of(l);
  plan.optimizer.clip = 0;
  const RunResult together = run_layout(tiny_llama(), l, plan, *source, poisoned(kSteps));
  plan.optimizer.post_validation = true;
  const RunResult apart = run_layout(tiny_llama(), l, plan, *source, poisoned(kSteps));
  EXPECT_EQ(apart.redone, 0);
  EXPECT_EQ(apart.parameters, together.parameters);
}

// Before the first step there is no update to validate, not even where every norm, also that of no gradients at all, would be clipped.
TEST(PostValidationOfTheFirstStep, HasNothingToTakeBack) {
  const Layout l{.pp = 2, .schedule = "zb-h1"};
  const auto source = open_tokens("markov", 61, 16, 1);
  Plan plan = plan_of(l);
  plan.optimizer.clip = 1e-7, plan.optimizer.post_validation = true;
  const RunResult apart = run_layout(tiny_llama(), l, plan, *source, poisoned(kSteps));
  EXPECT_EQ(apart.redone, kSteps);
  plan.optimizer.post_validation = false;
  EXPECT_LE(worst(run_layout(tiny_llama(), l, plan, *source, poisoned(kSteps)).parameters, apart.parameters), 1);
}

}  // namespace
}  // namespace orrery::executor
