// Runs that end and go on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "core/error.h"
#include "executor/checkpoint/checkpoint.h"
#include "run/alone.h"
#include "run/runs.h"
#include "support/temporary_folder.h"

namespace orrery::executor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

template <class Body>
std::string refusal(Body body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

Plan plan_with(const Layout& l, std::int64_t batch) {
  Plan p = plan_of(l);
  p.batch.global = batch;
  return p;
}

RunResult go(const Model& model, const Layout& l, const TokenSource& source, RunOptions o) {
  o.poison = o.keep_parameters = true;
  return run_layout(model, l, plan_with(l, 8), source, std::move(o));
}

// Four steps, a checkpoint, and four more.
RunResult in_two_parts(const Model& model, const Layout& first, const Layout& second, const TokenSource& source) {
  const TemporaryFolder folder;
  RunOptions o;
  o.steps = 4;
  o.checkpoints.folder = folder.path();
  const RunResult a = go(model, first, source, o);
  EXPECT_EQ(a.checkpoint, 4);
  o.steps = 8, o.checkpoints = {};
  o.checkpoints.resume = folder.path();
  RunResult b = go(model, second, source, o);
  EXPECT_EQ(b.first_step, 4);
  EXPECT_EQ(b.steps.front().step, 4);
  b.steps.insert(b.steps.begin(), a.steps.begin(), a.steps.end());
  return b;
}

RunResult in_one(const Model& model, const Layout& l, const TokenSource& source) {
  RunOptions o;
  o.steps = 8;
  return go(model, l, source, o);
}

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> all{{},
                                       {.dp = 2, .tp = 2, .pp = 2, .sp = true, .zero = 1},
                                       {.dp = 4, .zero = 3},
                                       {.dp = 2, .pp = 2, .schedule = "interleaved", .recompute = true, .vp = 2},
                                       {.dp = 2, .cp = 2, .cp_kind = "p2p"}};
  return all;
}

TEST(Resume, OnTheSameRanksIsTheSameRunToTheBit) {
  for (const Model& model : {tiny_llama(), tiny_gpt2()}) {
    const auto source = open_tokens("markov", model.vocab, 16, 1);
    for (const Layout& l : layouts()) {
      const RunResult whole = in_one(model, l, *source), parts = in_two_parts(model, l, l, *source);
      ASSERT_EQ(parts.steps.size(), 8U);
      for (std::size_t i = 0; i < 8; ++i) {
        EXPECT_EQ(whole.steps[i].loss, parts.steps[i].loss) << name(l) << ", step " << i;
        EXPECT_EQ(whole.steps[i].gradient_norm, parts.steps[i].gradient_norm) << name(l) << ", step " << i;
      }
      EXPECT_EQ(whole.parameters, parts.parameters) << name(l);
      EXPECT_EQ(parts.replica_difference, 0);
    }
  }
}

TEST(Resume, OnOtherRanksIsTheSameRunWithinRounding) {
  const Model model = tiny_llama();
  const auto source = open_tokens("markov", model.vocab, 16, 1);
  const RunResult whole = in_one(model, {}, *source);
  for (std::size_t i = 0; i < layouts().size(); ++i) {
    const Layout &from = layouts()[i], &to = layouts()[(i + 1) % layouts().size()];
    const RunResult parts = in_two_parts(model, from, to, *source);
    for (std::size_t k = 0; k < 8; ++k) {
      EXPECT_LE(relative(whole.steps[k].loss, parts.steps[k].loss), 1e-5) << name(from) << " to " << name(to) << ", step " << k;
      EXPECT_LE(relative(whole.steps[k].gradient_norm, parts.steps[k].gradient_norm), 1e-5) << name(from) << " to " << name(to) << ", step " << k;
    }
  }
}

TEST(Resume, OfExpertsOnOtherRanks) {
  const Model model = tiny_mixture();
  const auto source = open_tokens("markov", model.vocab, 16, 1);
  const Layout from{.dp = 4, .zero = 1, .ep = 4}, to{.dp = 2, .tp = 2, .sp = true, .data = "robin", .ep = 2};
  const RunResult whole = in_one(model, from, *source), same = in_two_parts(model, from, from, *source),
                  other = in_two_parts(model, from, to, *source);
  for (std::size_t k = 0; k < 8; ++k) {
    EXPECT_EQ(whole.steps[k].loss, same.steps[k].loss) << k;
    EXPECT_LE(relative(whole.steps[k].loss, other.steps[k].loss), 1e-5) << k;
  }
}

// What narrow types keep beside their numbers: masters; random rounding, which is of step and element; the scales of delayed scaling.
TEST(Resume, InLowPrecisionIsTheSameRunToTheBit) {
  Model model = tiny_llama();
  model.intermediate = 64;
  const auto source = open_tokens("markov", model.vocab, 16, 1);
  const auto change = [](const std::string& kind, Plan& p) {
    p.precision.compute = p.precision.params = DType::bf16;
    if (kind == "random") p.optimizer.stochastic_rounding = true;
    if (kind == "delayed") p.precision.compute = DType::fp8, p.precision.recipe = "delayed";
  };
  for (const std::string kind : {"masters", "random", "delayed"})
    for (const Layout& l : {Layout{}, Layout{.dp = 2, .tp = 2, .sp = true, .zero = 1}}) {
      Plan p = plan_with(l, 8);
      change(kind, p);
      const TemporaryFolder folder;
      RunOptions o;
      o.steps = 4, o.poison = o.keep_parameters = true;
      o.checkpoints.folder = folder.path();
      run_layout(model, l, p, *source, o);
      o.steps = 8, o.checkpoints = {};
      const RunResult whole = run_layout(model, l, p, *source, o);
      o.checkpoints.resume = folder.path();
      const RunResult on = run_layout(model, l, p, *source, o);
      for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(whole.steps[4 + i].loss, on.steps[i].loss) << kind << ", " << name(l) << ", step " << 4 + i;
      EXPECT_EQ(whole.parameters, on.parameters) << kind << ", " << name(l);
      EXPECT_EQ(on.replica_difference, 0) << kind << ", " << name(l);
    }
}

TEST(Checkpoints, AreMadeEverySoManyStepsAndAtTheEnd) {
  const Model model = tiny_llama();
  const auto source = open_tokens("markov", model.vocab, 16, 1);
  for (const bool in_background : {true, false}) {
    const TemporaryFolder folder;
    RunOptions o;
    o.steps = 7, o.checkpoints = {.folder = folder.path(), .every = 3, .in_background = in_background};
    std::atomic<bool> cancel = false;
    o.cancel = &cancel;
    o.progress = [&](const StepReport& r) {
      if (r.step == 1) cancel = true;
    };
    const RunResult stopped = go(model, {.dp = 2}, *source, o);
    ASSERT_TRUE(stopped.cancelled);
    EXPECT_EQ(stopped.checkpoint, static_cast<std::int64_t>(stopped.steps.size()));  // wherever it stopped
    cancel = false;
    o.progress = {};
    o.checkpoints.resume = folder.path();
    EXPECT_EQ(go(model, {.dp = 2}, *source, o).checkpoint, 7);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator{}), 1);
  }
}

// The same samples in every step, until there are no more.
class Fixed final : public TokenSource {
 public:
  explicit Fixed(std::int64_t ends_at = std::numeric_limits<std::int64_t>::max()) : ends_at_(ends_at) {}
  std::string description() const override { return "fixed"; }
  std::int64_t vocabulary() const override { return 61; }
  void window(std::int64_t sample, std::span<std::int32_t> tokens) const override {
    if (sample >= ends_at_) throw Error("story.txt", "has no more pages");
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = static_cast<std::int32_t>((static_cast<std::size_t>(sample % 8) * 7 + i * i * 3 + i) % 61);
  }

 private:
  std::int64_t ends_at_;
};

TEST(Checkpoints, OutliveARunThatFails) {
  const TemporaryFolder folder;
  RunOptions o;
  o.steps = 9, o.checkpoints = {.folder = folder.path(), .every = 2};
  EXPECT_THAT(refusal([&] { go(tiny_llama(), {.dp = 2, .pp = 2}, Fixed(8 * 5), o); }), HasSubstr("has no more pages"));
  EXPECT_EQ(newest_checkpoint(folder.path()), folder.path() / "step-00000004");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator{}), 1);
  o.steps = 5, o.checkpoints.resume = folder.path();
  EXPECT_EQ(go(tiny_llama(), {}, Fixed(8 * 5), o).checkpoint, 5);
}

TEST(Checkpoints, GiveWeightsToBeginWith) {
  const TemporaryFolder folder;
  RunOptions o;
  o.steps = 3, o.checkpoints.folder = folder.path();
  go(tiny_llama(), {.dp = 2}, Fixed(), o);
  o.steps = 4, o.checkpoints = {};
  const RunResult on = go(tiny_llama(), {.dp = 2}, Fixed(), o);
  o.steps = 1;
  for (const fs::path& init : {folder.path(), folder.path() / "step-00000003", folder.path() / "step-00000003" / "model.safetensors"}) {
    o.checkpoints.init = init;
    const RunResult anew = go(tiny_llama(), {.dp = 2}, Fixed(), o);
    EXPECT_EQ(anew.first_step, 0);
    EXPECT_EQ(anew.steps.front().loss, on.steps.back().loss);
  }
}

TEST(Checkpoints, AreRefusedWhereAStepDoesNotEndWhole) {
  const TemporaryFolder folder;
  const auto source = open_tokens("markov", 61, 16, 1);
  RunOptions o;
  o.steps = 2, o.checkpoints.folder = folder.path();
  Plan p = plan_of({.pp = 2, .schedule = "pipedream"});
  p.optimizer.clip = 0;
  EXPECT_THAT(refusal([&] { run_layout(tiny_llama(), {.pp = 2}, p, *source, o); }), HasSubstr("an asynchronous pipeline is not empty between steps"));
  p = plan_of({.pp = 2, .schedule = "zb-h2"});
  p.optimizer.post_validation = true;
  EXPECT_THAT(refusal([&] { run_layout(tiny_llama(), {.pp = 2}, p, *source, o); }), HasSubstr("the last update may still be taken back"));
  o.checkpoints = {.resume = folder.path(), .init = folder.path()};
  EXPECT_THAT(refusal([&] { go(tiny_llama(), {}, *source, o); }), HasSubstr("give --resume or --init"));
  o.checkpoints = {.folder = folder.path()};
  go(tiny_llama(), {}, *source, o);
  o.checkpoints.resume = folder.path();
  EXPECT_THAT(refusal([&] { go(tiny_llama(), {}, *source, o); }), HasSubstr("has 2 steps already"));
}

}  // namespace
}  // namespace orrery::executor
