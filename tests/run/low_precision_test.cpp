// Training in 16 and 8 bits, rounded on the CPU: losses follow those of fp32 as far as the types let them, under any plan, in exactly the memory that
// was predicted.
#include <gtest/gtest.h>

#include "program/memory.h"
#include "run/runs.h"

namespace orrery::executor {
namespace {

// Widths of whole 16 numbers, also on two ranks.
Model model() {
  Model m = tiny_llama();
  m.layers = 2, m.hidden = 32, m.intermediate = 64, m.heads = 4, m.kv_heads = 4, m.head_dim = 8;
  return m;
}

Plan in_bf16(Plan p) {
  p.precision.compute = p.precision.params = DType::bf16;
  return p;
}
Plan in_fp8(Plan p, const std::string& recipe) {
  p = in_bf16(std::move(p));
  p.precision.compute = DType::fp8, p.precision.recipe = recipe;
  return p;
}
Plan longer(const Layout& l = {}) {
  Plan p = plan_of(l, 8, 16);
  p.optimizer.lr = 3e-3;
  return p;
}

RunResult trained(const Model& m, const Layout& l, const Plan& p, std::int64_t steps) {
  const auto source = open_tokens("markov", m.vocab, p.batch.sequence, p.seed);
  RunOptions o;
  o.steps = steps, o.poison = o.keep_parameters = true;
  const program::Program program = compiled(m, p, l.dp);
  const RunResult r = run(program, m, p, *source, o);
  EXPECT_EQ(r.replica_difference, 0);
  for (std::int64_t rank = 0; rank < program.ranks(); ++rank) {
    const program::MemoryReport predicted = program::memory(program, program.role_of(rank));
    EXPECT_EQ(r.memory[static_cast<std::size_t>(rank)].peak_live, predicted.peak_live) << "rank " << rank;
    EXPECT_EQ(r.memory[static_cast<std::size_t>(rank)].arena, predicted.arena) << "rank " << rank;
  }
  return r;
}

constexpr std::int64_t kSteps = 200;
const RunResult& in_fp32() {
  static const RunResult r = trained(model(), {}, longer(), kSteps);
  return r;
}

// By how much the losses of a run differ from others: in the mean of all steps (signed), and in that of so many steps in a row at most. (Steps of 128
// tokens go their own ways in the end: each run then learns from its own past.)
struct Difference {
  double mean = 0, most = 0;
};
Difference difference(const RunResult& a, const RunResult& b, std::size_t window = 1) {
  Difference d;
  EXPECT_EQ(a.steps.size(), b.steps.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    const double off = a.steps[i].loss / b.steps[i].loss - 1;
    d.mean += off / static_cast<double>(a.steps.size());
    sum += off / static_cast<double>(window);
    if ((i + 1) % window != 0) continue;
    d.most = std::max(d.most, std::isnan(sum) ? 1e30 : std::abs(sum));
    sum = 0;
  }
  return d;
}

// bf16 has 8 bits: a rounding is off by 0.2 % at most, and what is off in one direction at one step is off in another at the next.
TEST(LowPrecision, Bf16WithAnFp32MasterFollowsFp32) {
  const RunResult r = trained(model(), {}, in_bf16(longer()), kSteps);
  EXPECT_TRUE(r.emulated);
  EXPECT_FALSE(in_fp32().emulated);
  const Difference d = difference(r, in_fp32(), 20);
  EXPECT_LT(std::abs(d.mean), 2e-3);
  EXPECT_LT(d.most, 1e-2);
  EXPECT_GT(d.most, 0);
}

TEST(LowPrecision, Tf32FollowsFp32Closely) {
  Plan p = longer();
  p.precision.compute = DType::tf32;
  const Difference d = difference(trained(model(), {}, p, 50), trained(model(), {}, longer(), 50));
  EXPECT_LT(d.most, 5e-3);
  EXPECT_GT(d.most, 0);
}

class Recipes : public testing::TestWithParam<std::string> {};

// e4m3 has 4 bits: products of fp8 are off by a few per cent, at random; what is left in the losses is a fraction of a per cent of their mean.
TEST_P(Recipes, FollowFp32) {
  const RunResult r = trained(model(), {}, in_fp8(longer(), GetParam()), kSteps);
  const Difference d = difference(r, in_fp32(), 20);
  EXPECT_LT(std::abs(d.mean), 1e-2);
  EXPECT_LT(d.most, 2e-2);
}

const Layout kLayouts[]{{.dp = 2, .zero = 1, .micro = 2},
                        {.dp = 2, .zero = 3},
                        {.tp = 2, .sp = true, .micro = 2},
                        {.tp = 2, .pp = 2, .recompute = true},
                        {.pp = 2, .schedule = "zb-h1", .micro = 2}};

// All of these have other sums in other orders, each rounded to bf16.
TEST(LowPrecision, PlansInBf16AgreeWithOneRank) {
  const RunResult alone = trained(model(), {}, in_bf16(plan_of({})), 20);
  for (const Layout& l : kLayouts) EXPECT_LT(difference(trained(model(), l, in_bf16(plan_of(l)), 20), alone).most, 3e-3) << name(l);
}

TEST_P(Recipes, AgreeWithOneRank) {
  const RunResult alone = trained(model(), {}, in_fp8(plan_of({}), GetParam()), 20);
  for (const Layout& l : kLayouts) EXPECT_LT(difference(trained(model(), l, in_fp8(plan_of(l), GetParam()), 20), alone).most, 1e-2) << name(l);
}

INSTANTIATE_TEST_SUITE_P(LowPrecision, Recipes, testing::Values("delayed", "current", "blockwise"), [](const auto& of) { return of.param; });

TEST(LowPrecision, BiasesAndLayerNormsTrainInFp8Too) {
  Model m = tiny_gpt2();
  m.layers = 2, m.hidden = 32, m.intermediate = 64, m.heads = m.kv_heads = 4, m.head_dim = 8;
  const Difference d = difference(trained(m, {}, in_fp8(plan_of({}), "delayed"), 20), trained(m, {}, plan_of({}), 20));
  EXPECT_LT(d.most, 2e-2);
}

TEST(LowPrecision, LatentAttentionTrainsInFp8Too) {
  Model m = model();
  m.mla = Mla{16, 16, 16, 16, 16, true}, m.kv_heads = m.heads, m.head_dim = m.qk_dim();
  const Difference d = difference(trained(m, {}, in_fp8(plan_of({}), "blockwise"), 20), trained(m, {}, plan_of({}), 20));
  EXPECT_LT(d.most, 2e-2);
}

TEST(LowPrecision, GradientsInBf16ReduceInBf16) {
  const Layout l{.dp = 2, .micro = 2};
  Plan p = in_bf16(plan_of(l));
  p.precision.grads = DType::bf16;
  EXPECT_LT(difference(trained(model(), l, p, 20), trained(model(), l, plan_of(l), 20)).most, 1e-2);
}

// Updates of a thousandth: to the nearest bf16 number most of them would be none at all.
TEST(StochasticRounding, TrainsBf16ParametersWithoutAMaster) {
  Plan p = in_bf16(longer());
  p.optimizer.stochastic_rounding = true;
  const RunResult r = trained(model(), {}, p, kSteps);
  EXPECT_LT(std::abs(difference(r, in_fp32()).mean), 1e-2);
  EXPECT_EQ(trained(model(), {}, p, 20).parameters, trained(model(), {}, p, 20).parameters);
}

// Whoever updates a number draws the same for it.
TEST(StochasticRounding, DoesNotDependOnWhoUpdates) {
  const Layout whole{.dp = 2, .micro = 2}, sharded{.dp = 2, .zero = 1, .micro = 2};
  const auto parameters = [](const Layout& l) {
    Plan p = in_bf16(plan_of(l));
    p.optimizer.stochastic_rounding = true;
    return trained(model(), l, p, 10).parameters;
  };
  EXPECT_EQ(parameters(whole), parameters(sharded));
}

// One operator or two: the same arithmetic in fp32, to the bit.
TEST(FusedEpilogues, ChangeNothing) {
  const Model m = tiny_gpt2();
  for (const Layout& l : {Layout{}, Layout{.tp = 2, .pp = 2, .sp = true, .recompute = true}, Layout{.pp = 2, .schedule = "zb-h1"}}) {
    Plan p = plan_of(l);
    const RunResult apart = trained(m, l, p, 5);
    p.runtime.fused_epilogues = true;
    const RunResult fused = trained(m, l, p, 5);
    EXPECT_EQ(fused.parameters, apart.parameters) << name(l);
    EXPECT_LE(fused.memory[0].peak_live, apart.memory[0].peak_live);
  }
}

}  // namespace
}  // namespace orrery::executor
