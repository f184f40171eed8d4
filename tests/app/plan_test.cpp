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
