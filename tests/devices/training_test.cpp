// What every kind of device must do: trainings on it, against the host's, against one rank alone, and recorded against issued one by one. Compiled
// once, and linked with each kind's world_under_test.
#include "run/alone.h"
#include "support/world_under_test.h"

namespace orrery::executor {
namespace {

RunResult on_device(const Model& model, const Plan& plan, const program::Program& program, const TokenSource& source, RunOptions o) {
  const std::unique_ptr<World> world = world_under_test(program.ranks());
  o.world = world.get();
  return run(program, model, plan, source, o);
}

Plan in_bf16(Plan p) {
  p.precision.compute = p.precision.params = DType::bf16;
  return p;
}

// Products in fp32 may round differently from the host's: over three steps losses agree to 1e-5, and the first one to the rounding of one pass.
TEST(Device, InFp32FollowsTheHost) {
  for (const Model& model : {tiny_llama(), tiny_gpt2(), tiny_stretched(), tiny_latent(12), tiny_mixture(), tiny_deepseek()}) {
    const std::unique_ptr<TokenSource> source = open_tokens("markov", model.vocab, 16, 1);
    Plan plan = plan_of({});
    plan.runtime.moe_balanced = true, plan.optimizer.eps = 1e-6;
    const program::Program program = compiled(model, plan, 1);
    const RunResult host = run(program, model, plan, *source, poisoned(3)), device = on_device(model, plan, program, *source, poisoned(3));
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_LE(relative(device.steps[i].loss, host.steps[i].loss), 1e-5) << model.name << " step " << i;
      EXPECT_LE(relative(device.steps[i].gradient_norm, host.steps[i].gradient_norm), 1e-4) << model.name << " step " << i;
    }
    EXPECT_EQ(device.memory.front().peak_live, host.memory.front().peak_live);
  }
}

// bf16 has 8 bits: a loss near 4 is rounded by up to 2^-9 of it in each of many places. Single steps of few tokens go their own ways in the end,
// since each run learns from its own past; the mean of 20 of them must not.
TEST(Device, InBf16FollowsTheHostsFp32Over200Steps) {
  constexpr std::size_t kWindow = 20;
  for (const auto& [model, steps] : {std::pair{tiny_llama(), 200}, std::pair{tiny_gpt2(), 40}, std::pair{tiny_mixture(), 40}}) {
    const std::unique_ptr<TokenSource> source = open_tokens("markov", model.vocab, 16, 1);
    Plan plan = plan_of({});
    plan.runtime.moe_balanced = true;
    const RunResult host = run(compiled(model, plan, 1), model, plan, *source, poisoned(steps));
    const Plan half = in_bf16(plan);
    const RunResult device = on_device(model, half, compiled(model, half, 1), *source, poisoned(steps));
    double off = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(steps); ++i) {
      off += device.steps[i].loss - host.steps[i].loss;
      if ((i + 1) % kWindow != 0) continue;
      EXPECT_LE(std::abs(off) / kWindow, 0.01) << model.name << " until step " << i;
      off = 0;
    }
    EXPECT_LT(device.steps.back().loss, device.steps.front().loss - (steps == 200 ? 0.3 : 0.05)) << model.name;
  }
}

TEST(Device, RanksThatShareItTrainLikeOneRankAlone) {
  for (const Model& model : {tiny_llama(), tiny_gpt2(), tiny_mixture()}) {
    const std::unique_ptr<TokenSource> source = open_tokens("markov", model.vocab, 16, 1);
    Plan one = plan_of({});
    one.runtime.moe_balanced = true, one.optimizer.eps = 1e-6;
    const RunResult alone = on_device(model, one, compiled(model, one, 1), *source, poisoned(3));
    for (const Layout& l :
         {Layout{.dp = 2}, Layout{.tp = 2, .sp = true}, Layout{.pp = 2}, Layout{.dp = 2, .tp = 2, .pp = 2, .sp = true, .zero = 1},
          Layout{.dp = 2, .zero = 3}, Layout{.pp = 2, .schedule = "zb-h1"}, Layout{.dp = 2, .tp = 2, .sp = true, .recompute = true}}) {
      Plan plan = plan_of(l);
      plan.runtime.moe_balanced = true, plan.optimizer.eps = 1e-6;
      const RunResult r = on_device(model, plan, compiled(model, plan, l.dp), *source, poisoned(3));
      for (std::size_t i = 0; i < 3; ++i) EXPECT_LE(relative(r.steps[i].loss, alone.steps[i].loss), 1e-5) << model.name << " " << name(l) << " " << i;
      EXPECT_LE(worst(r.parameters, alone.parameters), 100) << model.name << " " << name(l);
    }
  }
}

TEST(Device, TheSameBitsEveryTimeAndRecordedOrNot) {
  const Model model = tiny_llama();
  const std::unique_ptr<TokenSource> source = open_tokens("markov", model.vocab, 16, 1);
  Plan plan = in_bf16(plan_of({}));
  const auto train = [&] { return on_device(model, plan, compiled(model, plan, 1), *source, poisoned(12)); };
  const RunResult first = train(), again = train();
  plan.runtime.cuda_graphs = true;
  const RunResult recorded = train();
  EXPECT_EQ(recorded.replayed, 8);
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(first.steps[i].loss, again.steps[i].loss);
    EXPECT_EQ(first.steps[i].loss, recorded.steps[i].loss);
  }
  EXPECT_EQ(first.parameters, again.parameters);
  EXPECT_EQ(first.parameters, recorded.parameters);
}

TEST(Device, ATimelineIsMeasured) {
  const Model model = tiny_llama();
  const std::unique_ptr<TokenSource> source = open_tokens("markov", model.vocab, 16, 1);
  const Plan plan = plan_of(Layout{.tp = 2, .pp = 2});
  const RunResult r = on_device(model, plan, compiled(model, plan, 1), *source, poisoned(6));
  ASSERT_FALSE(r.timeline.spans.empty());
  std::map<std::uint32_t, Picoseconds> free;
  for (const Span& s : r.timeline.spans) {
    EXPECT_GE(s.end, s.start);
    if (s.stream != program::kComputeStream) continue;
    EXPECT_GE(s.start, free[s.rank]);  // one after another
    free[s.rank] = s.end;
  }
}

}  // namespace
}  // namespace orrery::executor
