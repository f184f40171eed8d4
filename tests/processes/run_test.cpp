// Whole trainings by several processes against the same by threads of one.
#include <gmock/gmock.h>

#include <atomic>

#include "executor/comm/bytes.h"
#include "executor/comm/processes.h"
#include "processes.h"
#include "run/runs.h"
#include "support/temporary_folder.h"

namespace orrery::executor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

struct Training {
  Model model;
  Plan plan;
  std::int64_t ranks;
  program::Program program;
  std::unique_ptr<TokenSource> source;
  RunOptions options;

  Training(Model m, const Layout& layout, std::int64_t n)
      : model(std::move(m)),
        plan(plan_of(layout)),
        ranks(n),
        program(program::compile(model, cores(n), plan)),
        source(open_tokens("markov", model.vocab, 16, 1)) {
    options.steps = 4;
    options.keep_parameters = options.poison = true;
  }
  RunResult alone() const { return run(program, model, plan, *source, options); }
  // By the process of `settings`.
  RunResult together(const StoreSettings& settings, const std::function<void(int)>& meeting, RunOptions o) const {
    const auto kernels = make_cpu_kernels();
    const auto world = make_processes_world(std::make_unique<KeyStore>(settings, meeting), ranks, *kernels);
    o.world = world.get();
    return run(program, model, plan, *source, o);
  }
};

// All that does not depend on the clock.
std::string essence(const RunResult& r) {
  ByteWriter w;
  for (const StepReport& s : r.steps) w.put(s.loss), w.put(s.gradient_norm), w.put(s.peak_live);
  w.list(r.memory);
  for (const auto& [name, values] : r.parameters) w.text(name), w.list(values);
  w.put(r.replica_difference);
  for (const program::LayerLine& l : r.expert_load) w.put(l.layer), w.list(l.numbers);
  w.put(r.timeline.spans.size()), w.put(r.timeline.kinds.size()), w.put(r.timeline.flows.size()), w.put(r.timeline.memory.size());
  w.put(r.cancelled), w.put(r.redone);
  return w.take();
}

struct Case {
  std::string name;
  Model model;
  Layout layout;
  std::int64_t ranks, processes;
  bool machines = false;  // each process believes to have a machine, and so a clock, of its own
};

class ProcessesRun : public ::testing::TestWithParam<Case> {};

// Sums are in double and in the order of members, wherever these live.
TEST_P(ProcessesRun, GivesTheBitsThatThreadsGive) {
  const Case& c = GetParam();
  const Training training(c.model, c.layout, c.ranks);
  // Before any thread of this process's own: children are forked.
  const auto results = in_processes(c.processes, [&](StoreSettings settings, const std::function<void(int)>& meeting) {
    if (c.machines) settings.machine = std::to_string(settings.process);
    const RunResult r = training.together(settings, meeting, training.options);
    if (settings.process == 0) {
      // The parts of a step's time are whole, whatever process they come from.
      Picoseconds first = r.timeline.spans.front().start;
      for (const Span& s : r.timeline.spans) first = std::min(first, s.start);
      if (first.v < 0) return std::string("a span begins before its step");
      return essence(r);
    }
    return r.timeline.spans.empty() && r.memory.empty() && static_cast<std::int64_t>(r.steps.size()) == training.options.steps
               ? std::string("steps only")
               : std::string("more");
  });
  const RunResult alone = training.alone();
  EXPECT_TRUE(results[0] == essence(alone)) << (results[0].size() < 300 ? results[0] : "differs");
  for (std::size_t p = 1; p < results.size(); ++p) EXPECT_EQ(results[p], "steps only");
}

INSTANTIATE_TEST_SUITE_P(Layouts, ProcessesRun,
                         ::testing::Values(Case{"tp2_pp2_on_2", tiny_llama(), {.tp = 2, .pp = 2, .sp = true}, 4, 2},
                                           Case{"dp4_zero3_on_3", tiny_gpt2(), {.dp = 4, .zero = 3}, 4, 3, true},
                                           Case{"experts_on_2", tiny_mixture(), {.dp = 2, .ep = 2}, 2, 2},
                                           Case{"ring_on_2", tiny_llama(), {.cp = 2, .cp_kind = "p2p"}, 2, 2},
                                           Case{"one_process", tiny_llama(), {.dp = 2}, 2, 1}),
                         [](const auto& c) { return c.param.name; });

TEST(ProcessesRun, AnyProcessCancelsAllTwoStepsLater) {
  const Training training(tiny_llama(), {.dp = 2}, 2);
  const auto results = in_processes(2, [&](const StoreSettings& settings, const std::function<void(int)>& meeting) {
    RunOptions options = training.options;
    options.steps = 50;
    std::atomic<bool> cancel{false};
    options.cancel = &cancel;
    // Process 1 wishes to end when it has heard of step 3: heard at the end of step 4, done with step 5.
    options.progress = [&](const StepReport& s) { cancel = settings.process == 1 && s.step >= 3; };
    const RunResult r = training.together(settings, meeting, options);
    return fmt::format("{} steps{}", r.steps.size(), r.cancelled ? ", cancelled" : "");
  });
  EXPECT_THAT(results, ElementsAre("6 steps, cancelled", "6 steps, cancelled"));
}

// Each process writes its ranks' parts of the same files; who goes on from them does not matter.
TEST(ProcessesRun, CheckpointsAreOfAllProcessesTogether) {
  const Training training(tiny_llama(), {.dp = 2, .tp = 2, .zero = 1}, 4);
  const TemporaryFolder folder;
  const auto results = in_processes(2, [&](const StoreSettings& settings, const std::function<void(int)>& meeting) {
    RunOptions options = training.options;
    options.checkpoints.folder = folder.path(), options.checkpoints.every = 3;
    return fmt::format("{} steps kept", training.together(settings, meeting, options).checkpoint);
  });
  EXPECT_THAT(results, ElementsAre("4 steps kept", "4 steps kept"));
  RunOptions options = training.options;
  options.steps = 6;
  const RunResult whole = run(training.program, training.model, training.plan, *training.source, options);
  options.checkpoints.resume = folder.path();
  const RunResult on = run(training.program, training.model, training.plan, *training.source, options);
  ASSERT_EQ(on.steps.size(), 2U);
  EXPECT_EQ(on.steps.back().loss, whole.steps.back().loss);
  EXPECT_TRUE(on.parameters == whole.parameters);
}

TEST(ProcessesRun, ADeadProcessEndsTheRunOfAllOthers) {
  const Training training(tiny_llama(), {.dp = 4}, 4);
  const auto results = in_processes(3, [&](const StoreSettings& settings, const std::function<void(int)>& meeting) {
    RunOptions options = training.options;
    options.steps = 1000;
    options.progress = [&](const StepReport& s) {
      if (settings.process == 1 && s.step == 2) _exit(9);
    };
    training.together(settings, meeting, options);
    return std::string("came to an end");
  });
  EXPECT_THAT(results[0], EndsWith("process 1 of 3 has died"));
  EXPECT_EQ(results[1], "");
  EXPECT_THAT(results[2], EndsWith("process 1 of 3 has died"));
}

// Fails at its third window.
class BadTokens final : public TokenSource {
 public:
  explicit BadTokens(const TokenSource& good) : good_(good) {}
  std::string description() const override { return good_.description(); }
  std::int64_t vocabulary() const override { return good_.vocabulary(); }
  void window(std::int64_t sample, std::span<std::int32_t> tokens) const override {
    if (++windows_ == 3) throw Error("tokens.bin", "the disk has gone", "look for it");
    good_.window(sample, tokens);
  }

 private:
  const TokenSource& good_;
  mutable std::atomic<int> windows_{0};
};

TEST(ProcessesRun, ARankThatFailsIsNamedInAllProcesses) {
  Training training(tiny_llama(), {.dp = 2}, 2);
  const auto results = in_processes(2, [&](const StoreSettings& settings, const std::function<void(int)>& meeting) {
    if (settings.process == 1) training.source = std::make_unique<BadTokens>(*training.source.release());
    training.together(settings, meeting, training.options);
    return std::string("came to an end");
  });
  EXPECT_THAT(results[0], EndsWith("rank 1: tokens.bin: the disk has gone\n  hint: look for it"));
  EXPECT_EQ(results[1], "rank 1: tokens.bin: the disk has gone\n  hint: look for it");
}

TEST(ProcessesRun, ProcessesThatRunDifferentPlansAreTold) {
  const Training a(tiny_llama(), {.dp = 2}, 2), b(tiny_llama(), {.tp = 2}, 2);
  const auto results = in_processes(2, [&](const StoreSettings& settings, const std::function<void(int)>& meeting) {
    const Training& mine = settings.process == 0 ? a : b;
    mine.together(settings, meeting, mine.options);
    return std::string("came to an end");
  });
  EXPECT_THAT(results[0], HasSubstr("process 1 runs another plan than process 0"));
  EXPECT_THAT(results[1], HasSubstr("another plan than process"));
}

}  // namespace
}  // namespace orrery::executor
