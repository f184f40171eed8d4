#include "executor/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <thread>

#include "core/error.h"
#include "run/runs.h"
#include "support/fake_device.h"
#include "support/temporary_folder.h"

namespace orrery::executor {
namespace {

std::unique_ptr<TokenSource> markov() { return open_tokens("markov", tiny_llama().vocab, 16, 1); }

RunResult run_tiny(const Layout& l, std::int64_t steps = 4, RunOptions o = {}) {
  o.steps = steps;
  o.poison = true;
  return run_layout(tiny_llama(), l, plan_of(l), *markov(), o);
}

std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

// A text of which every step sees the same samples; tells on whoever asks for more than it has.
class Fixed final : public TokenSource {
 public:
  explicit Fixed(std::int64_t samples, std::int64_t ends_at = std::numeric_limits<std::int64_t>::max()) : samples_(samples), ends_at_(ends_at) {}
  std::string description() const override { return "fixed"; }
  std::int64_t vocabulary() const override { return 61; }
  void window(std::int64_t sample, std::span<std::int32_t> tokens) const override {
    if (sample >= ends_at_) throw Error("story.txt", "has no more pages");
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = static_cast<std::int32_t>((static_cast<std::size_t>(sample % samples_) * 7 + i * i * 3 + i) % 61);
  }

 private:
  std::int64_t samples_, ends_at_;
};

TEST(Run, BeginsAtTheLogarithmOfTheVocabulary) {
  // Weights of 0.02 make logits near 0: the loss is near ln 61 = 4.111.
  EXPECT_NEAR(run_tiny({}, 1).steps.front().loss, std::log(61.0), 0.05);
}

TEST(Run, TheGradientsNormIsTheSlopeOfTheLoss) {
  // On one batch, a plain step of rate r along the gradient g lowers the loss by r |g|² - O(r²): 5e-4 · 1.2² here, of which curvature may take a
  // little.
  for (const Layout& l : {Layout{}, Layout{.dp = 2, .tp = 2, .pp = 2, .sp = true, .zero = 1}}) {
    Plan p = plan_of(l);
    p.optimizer.kind = "sgd", p.optimizer.lr = 5e-4, p.optimizer.clip = 0, p.optimizer.weight_decay = 0;
    RunOptions o;
    o.steps = 2;
    const RunResult r = run_layout(tiny_llama(), l, p, Fixed(p.batch.global), o);
    const double g = r.steps[0].gradient_norm;
    EXPECT_NEAR((r.steps[0].loss - r.steps[1].loss) / (p.optimizer.lr * g * g), 1, 0.02);
  }
}

TEST(Run, TheSameBitsEveryTime) {
  const Layout l{.dp = 2, .tp = 2, .pp = 2, .zero = 1};
  const RunResult a = run_tiny(l), b = run_tiny(l);
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    EXPECT_EQ(a.steps[i].loss, b.steps[i].loss);
    EXPECT_EQ(a.steps[i].gradient_norm, b.steps[i].gradient_norm);
  }
}

TEST(Run, ASmallMatrixOfLayoutsTrainsLikeOneRank) {  // the large one is tests/run
  RunOptions o;
  o.keep_parameters = true;
  const RunResult alone = run_tiny({}, 3, o);
  for (const Layout& l :
       {Layout{.dp = 2}, Layout{.tp = 2, .sp = true}, Layout{.pp = 2}, Layout{.dp = 2, .tp = 2, .pp = 2, .zero = 1, .recompute = true}}) {
    const RunResult r = run_tiny(l, 3, o);
    EXPECT_EQ(r.replica_difference, 0);
    for (std::size_t i = 0; i < r.steps.size(); ++i) {
      EXPECT_LE(relative(r.steps[i].loss, alone.steps[i].loss), 1e-5) << name(l);
      EXPECT_LE(relative(r.steps[i].gradient_norm, alone.steps[i].gradient_norm), 1e-5) << name(l);
    }
    for (const auto& [tensor, values] : alone.parameters) EXPECT_EQ(values.size(), r.parameters.at(tensor).size()) << tensor;
  }
}

TEST(Run, KeepsEveryParameterOnce) {
  RunOptions o;
  o.keep_parameters = true;
  const RunResult r = run_tiny({.tp = 2, .pp = 2}, 1, o);
  std::size_t total = 0;
  for (const auto& [tensor, values] : r.parameters) {
    total += values.size();
    EXPECT_TRUE(std::none_of(values.begin(), values.end(), [](float v) { return std::isnan(v); })) << tensor;
  }
  // Two tables of 61 x 32; per layer q and out 32 x 32, k and v 16 x 32, three matrices 48 x 32, two norms of 32; the final norm.
  EXPECT_EQ(total, 2U * 61 * 32 + 4 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32 + 2 * 32) + 32);
}

TEST(Run, ReportsEveryStepInOrderOnTheCallersThread) {
  std::vector<StepReport> seen;
  RunOptions o;
  o.progress = [&, caller = std::this_thread::get_id()](const StepReport& s) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    seen.push_back(s);
  };
  const RunResult r = run_tiny({.dp = 2, .pp = 2}, 6, o);
  EXPECT_EQ(seen, r.steps);
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].step, static_cast<std::int64_t>(i));
    EXPECT_GT(seen[i].period.v, 0);
    EXPECT_DOUBLE_EQ(seen[i].tokens_per_second, 8 * 16 / seen[i].period.v);
    EXPECT_GT(seen[i].peak_live, 0);
  }
  std::vector<double> periods;
  for (std::size_t i = 2; i < 6; ++i) periods.push_back(r.steps[i].period.v);  // two steps of warm-up
  std::sort(periods.begin(), periods.end());
  EXPECT_DOUBLE_EQ(r.step_time.v, (periods[1] + periods[2]) / 2);
}

TEST(Run, CancelKeepsWhatWasDone) {
  std::atomic<bool> cancel = false;
  RunOptions o;
  o.cancel = &cancel;
  o.progress = [&](const StepReport& s) { cancel = s.step >= 3; };
  const RunResult r = run_tiny({.dp = 2, .tp = 2}, 1'000'000, o);
  EXPECT_TRUE(r.cancelled);
  EXPECT_GE(r.steps.size(), 4U);
  // What is kept is whole: one step of every rank, whose parts add up to its period.
  EXPECT_EQ(r.timeline.origin, "measured");
  EXPECT_EQ(r.timeline.ranks.size(), 4U);
  EXPECT_EQ(r.timeline.step, to_picoseconds(r.steps.at(static_cast<std::size_t>(r.timeline_step)).period));
  std::set<std::uint32_t> ranks;
  for (const Span& s : r.timeline.spans) {
    ranks.insert(s.rank);
    EXPECT_LE(s.start, s.end);
  }
  EXPECT_EQ(ranks.size(), 4U);
  const auto parts = r.waterfall.parts();
  EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), Picoseconds{}), r.timeline.step);
  cancel = true;
  o.progress = nullptr;
  const RunResult none = run_tiny({}, 5, o);
  EXPECT_TRUE(none.cancelled);
  EXPECT_TRUE(none.steps.empty());
  EXPECT_EQ(none.timeline.origin, "measured");
  EXPECT_TRUE(none.timeline.spans.empty());
  EXPECT_FALSE(run_tiny({}, 2).cancelled);
}

// What the run keeps of one step at its end is what it hands over of it on the way.
TEST(Run, HandsOverTimelinesOfStepsOnTheWay) {
  const auto instructions = [](const Timeline& t) {
    std::multiset<std::tuple<std::uint32_t, std::uint16_t, std::uint32_t, std::uint16_t>> all;
    for (const Span& s : t.spans) all.insert({s.rank, s.stream, s.pass, s.instruction});
    return all;
  };
  std::vector<std::shared_ptr<const StepTimeline>> seen;
  std::int64_t reported = -1;
  RunOptions o;
  o.warm_up = 0;
  o.timeline_every = Seconds{0};
  o.progress = [&](const StepReport& s) { reported = s.step; };
  o.timeline = [&, caller = std::this_thread::get_id()](const std::shared_ptr<const StepTimeline>& step) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(step->step, reported - 1);
    EXPECT_TRUE(seen.empty() || seen.back()->step < step->step);
    seen.push_back(step);
  };
  for (const Layout& l : {Layout{.dp = 2, .pp = 2}, Layout{.dp = 2, .tp = 2, .zero = 1}, Layout{.pp = 2, .schedule = "pipedream-2bw"}}) {
    seen.clear();
    Plan plan = plan_of(l);
    if (l.schedule != "1f1b") plan.optimizer.clip = 0;
    o.steps = 30;
    const RunResult r = run_layout(tiny_llama(), l, plan, *markov(), o);
    ASSERT_FALSE(seen.empty()) << name(l);
    // The first step of an asynchronous pipeline also fills it.
    EXPECT_EQ(seen.front()->step, l.schedule == "1f1b" ? 0 : 1);
    for (const auto& step : seen) {
      const Timeline& t = step->timeline;
      EXPECT_EQ(t.origin, "measured");
      EXPECT_EQ(t.step, to_picoseconds(r.steps.at(static_cast<std::size_t>(step->step)).period));
      EXPECT_EQ(t.ranks, r.timeline.ranks);
      EXPECT_EQ(t.memory.size(), r.timeline.memory.size());
      EXPECT_EQ(t.flows.size(), r.timeline.flows.size());
      EXPECT_EQ(instructions(t), instructions(r.timeline)) << name(l);
      const auto parts = step->waterfall.parts();
      EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), Picoseconds{}), t.step);
      if (step->step == r.timeline_step) {
        EXPECT_EQ(t, r.timeline);
      }
    }
  }
}

TEST(Run, HandsOverNoMoreTimelinesThanAreAskedFor) {
  int seen = 0;
  RunOptions o;
  o.timeline_every = Seconds{1e6};
  o.timeline = [&](const std::shared_ptr<const StepTimeline>& step) {
    EXPECT_EQ(step->step, 0);
    ++seen;
  };
  run_tiny({.tp = 2}, 10, o);
  EXPECT_EQ(seen, 1);
  run_tiny({.tp = 2}, 1, o);  // nothing is on the way
  EXPECT_EQ(seen, 1);
}

TEST(Run, AnExceptionOfTheCallbackComesBack) {
  RunOptions o;
  o.progress = [](const StepReport&) { throw std::logic_error("enough"); };
  EXPECT_THROW(run_tiny({.tp = 2, .pp = 2}, 1'000'000, o), std::logic_error);
}

TEST(Run, ARankThatFailsIsNamed) {
  const Layout l{.dp = 2, .pp = 2};
  const auto attempt = [&] {
    RunOptions o;
    o.steps = 100;
    run_layout(tiny_llama(), l, plan_of(l), Fixed(8, 20), o);
  };
  EXPECT_THAT(refusal(attempt), testing::MatchesRegex("rank [0-3]: story.txt: has no more pages"));
}

// Does everything but multiply on the rank that holds the second half of the vocabulary.
class Tired final : public KernelSet {
 public:
  bool has(const program::Shape& shape) const override { return kernels_->has(shape); }
  void run(const KernelContext& c) const override {
    if (c.settings.vocab_offset > 0 && c.shape.op == program::Operator::linear_weight_grad) throw std::runtime_error("cannot multiply any more");
    kernels_->run(c);
  }

 private:
  std::unique_ptr<KernelSet> kernels_ = make_cpu_kernels();
};

TEST(Run, AFailureInAKernelStopsAllRanks) {
  const Tired kernels;
  const std::unique_ptr<World> world = make_host_world(2, kernels);
  RunOptions o;
  o.world = world.get();
  EXPECT_EQ(refusal([&] { run_tiny({.tp = 2}, 5, o); }), "rank 1: cannot multiply any more");
}

TEST(Run, AStaticStepIsRecordedOnADeviceAndRunAgain) {
  // Of 12 steps the first is not recorded; the fifth, the tenth and the last are timed, instruction by instruction.
  const std::unique_ptr<KernelSet> kernels = make_cpu_kernels();
  for (const Model& model : {tiny_llama(), tiny_gpt2(), tiny_mixture()})
    for (const bool recompute : {false, true}) {
      const Layout l{.recompute = recompute};
      Plan plan = plan_of(l);
      plan.runtime.moe_balanced = true;
      RunOptions o;
      o.steps = 12, o.poison = true, o.keep_parameters = true;
      const RunResult host = run_layout(model, l, plan, *markov(), o);
      EXPECT_EQ(host.replayed, 0);
      plan.runtime.cuda_graphs = true;
      FakeWorld world(1, *kernels, 7);
      o.world = &world;
      const RunResult device = run_layout(model, l, plan, *markov(), o);
      EXPECT_EQ(device.replayed, 8) << model.name;
      EXPECT_TRUE(device.steps[static_cast<std::size_t>(device.timeline_step)].timed);
      for (std::size_t i = 0; i < 12; ++i) {
        EXPECT_EQ(device.steps[i].loss, host.steps[i].loss) << model.name << " " << i;
        EXPECT_EQ(device.steps[i].gradient_norm, host.steps[i].gradient_norm) << model.name << " " << i;
        EXPECT_EQ(device.steps[i].timed, i == 4 || i == 9 || i == 11);
      }
      EXPECT_EQ(device.parameters, host.parameters);
    }
}

TEST(Run, AResumedRunRecordsAfterAStepOfItsOwn) {
  const std::unique_ptr<KernelSet> kernels = make_cpu_kernels();
  const TemporaryFolder folder;
  Plan plan = plan_of({});
  plan.runtime.cuda_graphs = true;
  const auto train = [&](std::int64_t steps, bool resume) {
    FakeWorld world(1, *kernels, 7);
    RunOptions o;
    o.steps = steps, o.world = &world, o.checkpoints.folder = folder.path();
    if (resume) o.checkpoints.resume = folder.path();
    return run_layout(tiny_llama(), {}, plan, *markov(), o);
  };
  train(6, false);
  const RunResult r = train(12, true);  // steps 6 to 11, of which the tenth and the last are timed
  EXPECT_EQ(r.first_step, 6);
  EXPECT_EQ(r.replayed, 3);
}

TEST(Run, AFreeRouterIsNotRecordedWhereItsRowsMustBeLookedAt) {
  const std::unique_ptr<KernelSet> kernels = make_cpu_kernels();
  Plan plan = plan_of({});
  plan.runtime.moe_balanced = false, plan.runtime.cuda_graphs = true;
  FakeWorld world(1, *kernels, 7);
  RunOptions o;
  o.steps = 4, o.world = &world;
  EXPECT_EQ(run_layout(tiny_mixture(), {}, plan, *markov(), o).replayed, 0);
}

TEST(Run, RefusesWhatItCannotRun) {
  const Model model = tiny_llama();
  const Layout l{.pp = 2};
  const Plan plan = plan_of(l);
  const program::Program program = compiled(model, plan, 1);
  const auto attempt = [&](const program::Program& p, const Model& m, RunOptions o = {}) { return refusal([&] { run(p, m, plan, Fixed(8), o); }); };
  EXPECT_EQ(attempt(program, model), "accepted");
  Model experts = model;
  experts.simulate_only = "mixture of experts";
  EXPECT_THAT(attempt(program, experts), testing::HasSubstr("model: 'tiny-llama' can be simulated but not run: mixture of experts"));
  Plan half = plan;
  half.precision.compute = half.precision.params = DType::fp16;
  EXPECT_THAT(refusal([&] { run(compiled(model, half, 1), model, half, Fixed(8), {}); }),
              testing::HasSubstr("precision.compute: gradients in fp16 vanish without a loss scale"));
  RunOptions one;
  one.most_ranks = 1;
  EXPECT_THAT(attempt(program, model, one), testing::HasSubstr("plan: has 2 ranks; this executor runs at most 1"));
  RunOptions slow;
  slow.peak = FlopsPerSecond{1e-6};
  EXPECT_THAT(attempt(program, model, slow), testing::HasSubstr("peak: at 1e-06 FLOP/s a step's ideal time is longer than can be counted"));
  RunOptions zero;
  zero.steps = 0;
  EXPECT_THAT(attempt(program, model, zero), testing::HasSubstr("--steps: 0 steps cannot be run"));
  Model small = model;
  small.vocab = 60;
  EXPECT_THAT(attempt(program, small), testing::HasSubstr("--data: has tokens up to 60, but the model's vocabulary has 60"));
  program::Program disk = program;
  disk.streams[0].kind = program::StreamKind::disk;
  EXPECT_THAT(attempt(disk, model), testing::HasSubstr("stream 'compute' is neither for compute nor for communication"));
  program::Program broken = program;
  broken.roles[1].body.erase(broken.roles[1].body.begin());
  EXPECT_THAT(attempt(broken, model), testing::StartsWith("program: "));
}

TEST(MeasuredTimeline, HoldsEveryInstructionOfAStepOnce) {
  const Layout l{.dp = 2, .tp = 2, .pp = 2, .zero = 1};
  const RunResult r = run_tiny(l, 5);
  const program::Program program = compiled(tiny_llama(), plan_of(l), l.dp);
  const Timeline& t = r.timeline;
  EXPECT_EQ(t.origin, "measured");
  EXPECT_EQ(t.step, to_picoseconds(r.steps[static_cast<std::size_t>(r.timeline_step)].period));
  EXPECT_EQ(t.ranks.size(), 8U);
  EXPECT_EQ(t.ranks[0], "pp0 dp0 tp0");
  std::size_t expected = 0;
  for (std::int64_t rank = 0; rank < 8; ++rank)
    for (const program::PassInstance& p : program.role_of(rank).body) expected += program.role_of(rank).passes[p.pass].count;
  EXPECT_EQ(t.spans.size(), expected);
  std::set<std::tuple<std::uint32_t, std::uint32_t, std::uint16_t>> once;
  for (const Span& s : t.spans) once.insert({s.rank, s.pass, s.instruction});
  EXPECT_EQ(once.size(), expected);
}

TEST(MeasuredTimeline, StreamsRunOneThingAtATimeInOrder) {
  const RunResult r = run_tiny({.dp = 2, .tp = 2, .pp = 2}, 5);
  const Timeline& t = r.timeline;
  for (std::size_t i = 0; i < t.spans.size(); ++i) {
    const Span& s = t.spans[i];
    EXPECT_LE(s.start, s.end);
    EXPECT_GE(s.start.v, 0);
    EXPECT_GE(s.waited.v, 0);
    EXPECT_GE(s.transfer.v, 0);
    EXPECT_LE(s.transfer, s.waited);
    EXPECT_LT(s.kind, t.kinds.size());
    if (i == 0 || t.spans[i - 1].rank != s.rank || t.spans[i - 1].stream != s.stream) continue;
    EXPECT_GE(s.start, t.spans[i - 1].end);
    if (s.stream != program::kComputeStream) continue;
    EXPECT_EQ(s.start - s.waited, t.spans[i - 1].end) << "waiting begins where the span before ended";
  }
}

TEST(MeasuredTimeline, ArrowsJoinSendsAndTheirReceives) {
  const RunResult r = run_tiny({.pp = 4}, 5);
  const Timeline& t = r.timeline;
  EXPECT_EQ(t.flows.size(), 2U * 3 * 8);  // both ways over three borders, 8 micro-batches
  for (const Flow& f : t.flows) {
    const Span &from = t.spans[f.from], &to = t.spans[f.to];
    EXPECT_EQ(t.kinds[from.kind].name, "send");
    EXPECT_EQ(t.kinds[to.kind].name, "recv");
    EXPECT_EQ(t.kinds[to.kind].work, WorkClass::pp_comm);
    EXPECT_EQ(from.microbatch, to.microbatch);
    EXPECT_EQ(std::max(from.rank, to.rank) - std::min(from.rank, to.rank), 1U);
    EXPECT_EQ(from.end, to.end);
  }
}

TEST(MeasuredTimeline, TheWaterfallAddsUpToTheStep) {
  for (const Layout& l : {Layout{}, Layout{.dp = 2, .tp = 2, .pp = 2, .recompute = true}}) {
    RunOptions o;
    o.peak = FlopsPerSecond{1e11};
    const RunResult r = run_tiny(l, 5, o);
    std::int64_t sum = 0;
    for (const Picoseconds p : r.waterfall.parts()) sum += p.v;
    EXPECT_EQ(sum, r.timeline.step.v);
    EXPECT_EQ(r.waterfall.step, r.timeline.step);
    EXPECT_GT(r.waterfall.ideal.v, 0);
    EXPECT_GT(r.waterfall.optimizer.v, 0);
    EXPECT_EQ(r.waterfall.recompute.v > 0, l.recompute);
  }
}

TEST(MeasuredTimeline, TheMemoryCurvePeaksWhereTheRunDid) {
  const RunResult r = run_tiny({.pp = 2, .recompute = true}, 3);
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    std::int64_t most = 0;
    Picoseconds last{-1};
    for (const MemorySample& m : r.timeline.memory) {
      if (m.rank != rank) continue;
      most = std::max(most, m.bytes);
      EXPECT_GE(m.time, last);
      last = m.time;
    }
    EXPECT_EQ(most, r.memory[rank].peak_live);
  }
}

}  // namespace
}  // namespace orrery::executor
