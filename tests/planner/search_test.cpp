#include "planner/search.h"

#include <gtest/gtest.h>

#include <set>

#include "core/cluster_json.h"
#include "core/model_json.h"
#include "cost/cost.h"
#include "planner/bound.h"
#include "program/compile.h"
#include "program/memory.h"
#include "sim/simulate.h"

namespace orrery::planner {
namespace {

struct Case {
  Model model = load_model("llama-3.2-1b");
  Cluster cluster = load_cluster("dgx-h100:8");
  Plan base;
  Case() {
    base.model = "llama-3.2-1b";
    base.cluster = "dgx-h100:8";
    base.batch = {.global = 16, .micro = 1, .sequence = 2048};
  }
};

struct Evaluated {
  Plan plan;
  Picoseconds step, bound;
  std::int64_t peak = 0, least = 0;
};

// Every legal plan, simulated without any pruning.
std::vector<Evaluated> brute_force(const Case& c, const Space& space) {
  std::vector<Evaluated> all;
  for (const Plan& plan : enumerate(c.model, c.cluster, c.base, space)) {
    if (!program::refusals(c.model, c.cluster, plan).empty()) continue;
    const program::Program program = program::compile(c.model, c.cluster, plan);
    const cost::Table cost = cost::price(program, c.cluster, nullptr);
    Evaluated e{plan, sim::simulate(program, cost, c.cluster).step, time_bound(program, cost, c.cluster), 0,
                memory_bound(c.model, c.cluster, plan).v};
    for (const program::Role& role : program.roles) e.peak = std::max(e.peak, program::memory(program, role).peak_live);
    all.push_back(std::move(e));
  }
  return all;
}

TEST(Search, ReturnsTheOptimumOfASpaceSmallEnoughToEnumerate) {
  const Case c;
  const Space space;
  Picoseconds best{INT64_MAX};
  for (const Evaluated& e : brute_force(c, space))
    if (e.peak <= c.cluster.device.memory.v) best = std::min(best, e.step);
  Options one;
  one.top = 1;
  const Outcome outcome = search(c.model, c.cluster, c.base, space, nullptr, one);
  ASSERT_EQ(outcome.ranked.size(), 1U);
  EXPECT_EQ(outcome.ranked.front().step, best);
}

TEST(Search, RanksByStepTimeWhateverTheNumberOfThreads) {
  const Case c;
  Options options;
  options.top = 5;
  options.threads = 1;
  const Outcome alone = search(c.model, c.cluster, c.base, {}, nullptr, options);
  options.threads = 3;
  const Outcome together = search(c.model, c.cluster, c.base, {}, nullptr, options);
  ASSERT_EQ(alone.ranked.size(), 5U);
  ASSERT_EQ(together.ranked.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(alone.ranked[i].plan, together.ranked[i].plan);
    if (i > 0) {
      EXPECT_GE(alone.ranked[i].step, alone.ranked[i - 1].step);
    }
  }
  EXPECT_EQ(alone.simulated, together.simulated);
  EXPECT_EQ(explain(c.cluster, alone), explain(c.cluster, together));
}

TEST(Search, SaysWhichConstraintKilledAPlanAndByHowMuch) {
  Case c;
  c.cluster.device.memory = 12_GB;  // Llama-3.2-1B with AdamW needs 1.24e9 · 18 B = 22 GB of states in one device
  const Outcome outcome = search(c.model, c.cluster, c.base, {}, nullptr);
  std::set<std::string> constraints;
  for (const Rejected& r : outcome.rejected) {
    constraints.insert(r.constraint);
    if (r.constraint == "memory") {
      EXPECT_GT(r.excess, 1.0);
      EXPECT_NE(r.reason.find("needs"), std::string::npos);
    }
  }
  EXPECT_TRUE(constraints.contains("memory"));
  for (const Candidate& candidate : outcome.ranked) EXPECT_LE(candidate.peak_memory, candidate.capacity);
}

TEST(Search, SaysSoWhenNoPlanFits) {
  Case c;
  c.cluster.device.memory = 100_MB;
  const Outcome outcome = search(c.model, c.cluster, c.base, {}, nullptr);
  EXPECT_TRUE(outcome.ranked.empty());
  EXPECT_EQ(explain(c.cluster, outcome).substr(0, 12), "no plan fits");
}

TEST(Bound, IsAdmissibleForEveryPlanOfTheSpace) {
  const Case c;
  int seen = 0;
  for (const Evaluated& e : brute_force(c, {})) {
    EXPECT_LE(e.bound, e.step) << label(c.cluster, e.plan);
    EXPECT_LE(e.least, e.peak) << label(c.cluster, e.plan);
    ++seen;
  }
  EXPECT_GT(seen, 30);
}

TEST(Space, VariesOnlyWhatMatters) {
  const Case c;
  for (const Plan& plan : enumerate(c.model, c.cluster, c.base, {})) {
    const std::int64_t dp = 8 / (plan.parallel.tp * plan.parallel.pp);
    EXPECT_EQ(plan.parallel.tp * plan.parallel.pp * dp, 8);
    if (plan.parallel.pp == 1) {
      EXPECT_EQ(plan.schedule, "1f1b");
    }
    if (dp == 1) {
      EXPECT_EQ(plan.sharding.zero, 0);
    }
    EXPECT_EQ(plan.parallel.sp, plan.parallel.tp > 1);
  }
}

}  // namespace
}  // namespace orrery::planner
