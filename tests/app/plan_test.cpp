// The search as a verb.
#include "app/plan.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/simulate.h"
#include "core/error.h"

namespace orrery::app {
namespace {

Inputs small() {
  PlanFlags f;
  f.model = "cpu-llama-tiny";
  f.cluster = "dgx-h100:8";
  f.global_batch = 16;
  f.sequence = 128;
  return load_inputs(f);
}

TEST(PlanReport, ChoosesThePlanThatSimulatesFastest) {
  const PlanReport report = plan(small(), {}, {});
  ASSERT_FALSE(report.outcome.ranked.empty());
  EXPECT_EQ(report.inputs.plan, report.outcome.ranked.front().plan);
  EXPECT_EQ(simulate(report.inputs).summary.step, report.outcome.ranked.front().step);
  for (std::size_t i = 1; i < report.outcome.ranked.size(); ++i) EXPECT_LE(report.outcome.ranked[i - 1].step, report.outcome.ranked[i].step);
  EXPECT_EQ(report.outcome.enumerated,
            report.outcome.simulated + static_cast<std::int64_t>(report.outcome.refused.size() + report.outcome.pruned.size()));
  const auto j = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(j["plans"].size(), report.outcome.ranked.size());
  EXPECT_EQ(j["refused"].size(), report.outcome.refused.size());
  EXPECT_EQ(j["pruned"].size(), report.outcome.pruned.size());
  EXPECT_EQ(j["not_reached"], 0);
  EXPECT_EQ(j["enumerated"].get<std::int64_t>(), report.outcome.enumerated);
}

// What is set is not searched: `--set parallel.tp=2` means what `--tp 2` means.
TEST(PlanReport, SearchesTheSameSpaceForAFlagAndItsSetting) {
  planner::Space flags, none;
  flags.tp = {2};
  flags.schedule = {"gpipe"};
  const std::vector<std::string> settings{"parallel.tp=2", "plan.schedule=gpipe"};
  Inputs set = small();
  set.plan.parallel.tp = 2;
  set.plan.schedule = "gpipe";
  EXPECT_EQ(to_json(plan(set, pinned(none, set.plan, settings), {})), to_json(plan(set, flags, {})));
  // Sequence parallelism stays as it is said to be.
  set.plan.parallel.sp = false;
  const PlanReport without = plan(set, pinned(none, set.plan, {"parallel.tp=2", "parallel.sp=false"}), {});
  ASSERT_FALSE(without.outcome.ranked.empty());
  for (const planner::Candidate& c : without.outcome.ranked) EXPECT_FALSE(c.plan.parallel.sp);
}

// A plan that was found is the question again, by settings alone.
TEST(AskingFor, MakesTheQuestionWhoseAnswerThePlanIs) {
  planner::Options all;
  all.top = 1000;
  PlanFlags bare;  // whose global batch follows from the replicas
  bare.model = "cpu-llama-tiny", bare.cluster = "dgx-h100:8", bare.sequence = 128;
  PlanFlags flags = bare;
  flags.global_batch = 16, flags.tp = 2, flags.sp = false;
  PlanFlags staged = flags;  // with what a search drops where it does not hold
  staged.settings = {"parallel.pp=2", "plan.parallel.vp=2", "schedule=interleaved", "schedule_args.group=4", "stages=[1,1,1,1]"};
  for (const PlanFlags& base : {bare, flags, staged}) {
    const Inputs inputs = load_inputs(base);
    planner::Space space;
    space.schedule = {"1f1b", "interleaved"};
    const PlanReport report = plan(inputs, space, all);
    ASSERT_GT(report.outcome.ranked.size(), 3U);
    for (const planner::Candidate& c : report.outcome.ranked) {
      const PlanFlags asked = asking_for(base, c.plan);
      EXPECT_EQ(load_inputs(asked).plan, c.plan) << planner::label(inputs.cluster, c.plan);
      EXPECT_EQ(asking_for(asked, c.plan).settings, asked.settings);
    }
  }
}

TEST(SearchingFrom, SaysNothingAboutWhatASearchVaries) {
  PlanFlags f;
  f.model = "cpu-llama-tiny", f.cluster = "dgx-h100:8", f.sequence = 128;
  f.tp = 2, f.stages = "2,2", f.recompute = "full";
  f.settings = {"parallel.pp=2", "plan.schedule_args.group=4", "schedule=interleaved", "parallel.vp=2",
                "seed=7",        "recompute.modules=[]",       "stages=[1,1,1,1]"};
  const PlanFlags from = searching_from(f);
  // Without a word on it the global batch is one micro-batch for each replica: 8 / (2 · 2) = 2, and 8 of plans with neither tp nor pp.
  EXPECT_EQ(from.settings, (std::vector<std::string>{"seed=7", "recompute.modules=[]", "batch.global=2"}));
  EXPECT_FALSE(from.tp || from.stages || from.recompute);
  EXPECT_EQ(load_inputs(from).plan.batch.global, load_inputs(f).plan.batch.global);
  EXPECT_EQ(load_inputs(from).plan.parallel.tp, 1);
  EXPECT_EQ(searching_from(from), from);
}

TEST(SearchingFrom, FreesWhatASettingAroundItSays) {
  PlanFlags f;
  f.model = "cpu-llama-tiny", f.cluster = "dgx-h100:8";
  f.settings = {"parallel.ep=2", R"(parallel={"tp": 2, "cp": 2})", R"(plan.batch={"global": 24, "micro": 2, "sequence": 128})",
                R"(recompute={"kind": "full", "layers": 2})"};
  const PlanFlags from = searching_from(f);
  for (const char* path : {"parallel.tp", "parallel.pp", "batch.micro", "recompute.kind"}) EXPECT_FALSE(sets(from.settings, path)) << path;
  const Plan asked = load_inputs(f).plan, plan = load_inputs(from).plan;
  EXPECT_EQ(plan.parallel.tp, 1);
  EXPECT_EQ(plan.batch.micro, 1);
  // What such a setting says of other fields stays: that there is no ep, too, for it came after the word on it.
  EXPECT_EQ(plan.parallel.cp, 2);
  EXPECT_EQ(plan.parallel.ep, 1);
  EXPECT_EQ(plan.batch.global, 24);
  EXPECT_EQ(plan.batch.sequence, 128);
  EXPECT_EQ(plan.recompute.layers, asked.recompute.layers);
  EXPECT_EQ(searching_from(from), from);
}

TEST(PlanReport, GivesEnergyAndMoneyAsASimulationOfThePlanDoes) {
  PlanFlags f;
  f.model = "cpu-llama-tiny", f.cluster = "dgx-h100:8", f.global_batch = 16, f.sequence = 128;
  f.settings = {"cluster.price_per_device_hour=3"};
  const PlanReport report = plan(load_inputs(f), {}, {});
  const auto j = nlohmann::json::parse(to_json(report))["plans"][0];
  SimulateOptions options;
  options.tokens = 16 * 128;  // one step
  const SimulateReport simulated = simulate(report.inputs, options);
  EXPECT_DOUBLE_EQ(j["energy_j"].get<double>(), simulated.energy.v);
  EXPECT_NEAR(j["dollars"].get<double>(), *simulated.run->dollars, 1e-12);
  EXPECT_TRUE(nlohmann::json::parse(to_json(plan(small(), {}, {})))["plans"][0]["dollars"].is_null());
}

TEST(PlanReport, RefusesValuesThatNoPlanMayHold) {
  const auto refuses = [](auto change) {
    planner::Space space;
    change(space);
    EXPECT_THROW(plan(small(), space, {}), Error);
  };
  refuses([](planner::Space& s) { s.tp = {0}; });
  refuses([](planner::Space& s) { s.pp = {1, -2}; });
  refuses([](planner::Space& s) { s.micro = {0}; });
  refuses([](planner::Space& s) { s.micro = {17}; });
  refuses([](planner::Space& s) { s.zero = {4}; });
  refuses([](planner::Space& s) { s.vp = {0}; });
  refuses([](planner::Space& s) { s.schedule = {"1f1d"}; });
  refuses([](planner::Space& s) { s.recompute = {"half"}; });
}

}  // namespace
}  // namespace orrery::app
