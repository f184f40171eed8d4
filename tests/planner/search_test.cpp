#include "planner/search.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <atomic>
#include <set>

#include "core/cluster_json.h"
#include "core/model_json.h"
#include "cost/cost.h"
#include "planner/bound.h"
#include "program/compile.h"
#include "program/memory.h"
#include "program/schedules/schedule.h"
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
  for (const Rejected& r : outcome.refused) {
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

// Of every plan it is said once what became of it.
TEST(Search, CountsPlansThatTheBoundPrunedApartFromThoseRefused) {
  const Case c;
  Options one;
  one.top = 1;
  const Outcome outcome = search(c.model, c.cluster, c.base, {}, nullptr, one);
  ASSERT_FALSE(outcome.pruned.empty());
  EXPECT_EQ(outcome.enumerated, outcome.simulated + static_cast<std::int64_t>(outcome.refused.size() + outcome.pruned.size()));
  EXPECT_EQ(outcome.not_reached, 0);
  double least = 1e300;
  for (const Rejected& r : outcome.pruned) {
    EXPECT_EQ(r.constraint, "bound");
    EXPECT_GT(r.excess, 1.0);  // bound / the step of the plan kept
    least = std::min(least, r.excess);
  }
  const std::string line = refusal_line(outcome);
  const std::string expected =
      fmt::format("; {} pruned by the bound, by {:.1f} % and more (nearest: cannot take less than ", outcome.pruned.size(), 100 * (least - 1));
  EXPECT_NE(line.find(expected), std::string::npos) << line;
  EXPECT_NE(line.find(fmt::format(" {} refused", outcome.refused.size())), std::string::npos) << line;
}

TEST(Search, KeepsEverythingThatItSimulatedWhereThatIsAsked) {
  const Case c;
  Options options;
  options.top = 3;
  const Outcome few = search(c.model, c.cluster, c.base, {}, nullptr, options);
  options.keep_all = true;
  const Outcome all = search(c.model, c.cluster, c.base, {}, nullptr, options);
  EXPECT_EQ(static_cast<std::int64_t>(all.ranked.size()), all.simulated);
  EXPECT_EQ(all.simulated, few.simulated);  // what is pruned does not depend on it
  EXPECT_EQ(all.pruned.size(), few.pruned.size());
  ASSERT_GT(all.ranked.size(), 3U);
  for (std::size_t i = 0; i < all.ranked.size(); ++i) {
    if (i < 3) {
      EXPECT_EQ(all.ranked[i].plan, few.ranked[i].plan);
    } else {
      EXPECT_GE(all.ranked[i].step, all.ranked[i - 1].step);
    }
  }
}

TEST(Search, GroupsWhatItRefusedByTheConstraint) {
  Case c;
  c.cluster.device.memory = 12_GB;
  Options one;
  one.top = 1;
  const Outcome outcome = search(c.model, c.cluster, c.base, {}, nullptr, one);
  const std::vector<RefusalGroup> groups = refusal_groups(outcome);
  std::size_t plans = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    plans += groups[g].plans.size();
    if (g > 0 && groups[g].constraint != "bound") {
      EXPECT_LE(groups[g].plans.size(), groups[g - 1].plans.size());
    }
    for (std::size_t i = 0; i < groups[g].plans.size(); ++i) {
      EXPECT_EQ(groups[g].plans[i]->constraint, groups[g].constraint);
      if (i > 0) {
        EXPECT_GE(groups[g].plans[i]->excess, groups[g].plans[i - 1]->excess);
      }
    }
  }
  EXPECT_EQ(plans, outcome.refused.size() + outcome.pruned.size());
}

TEST(Search, SaysWhichPlansItDidNotReach) {
  const Case c;
  std::atomic<bool> cancel{false};
  Options options;
  options.threads = 1;
  options.cancel = &cancel;
  // In the middle of looking at the plans: nothing was simulated.
  options.progress = [&](std::int64_t done, std::int64_t of) { cancel = cancel || 4 * done >= of; };
  Outcome outcome = search(c.model, c.cluster, c.base, {}, nullptr, options);
  EXPECT_TRUE(outcome.cancelled);
  EXPECT_EQ(outcome.simulated, 0);
  EXPECT_EQ(outcome.not_reached, outcome.enumerated - static_cast<std::int64_t>(outcome.refused.size()));
  EXPECT_EQ(explain(c.cluster, outcome).find("interrupted before a plan was simulated\n"), 0U);
  EXPECT_NE(refusal_line(outcome).find(fmt::format("; {} not reached", outcome.not_reached)), std::string::npos);
  // In the middle of simulating them.
  cancel = false;
  std::int64_t last = 0;
  options.progress = [&](std::int64_t done, std::int64_t of) {
    cancel = cancel || of - done == 3;
    last = done;
  };
  outcome = search(c.model, c.cluster, c.base, {}, nullptr, options);
  EXPECT_TRUE(outcome.cancelled);
  EXPECT_EQ(outcome.not_reached, 3);
  EXPECT_EQ(last, 2 * outcome.enumerated - 3);
  EXPECT_FALSE(outcome.ranked.empty());
}

TEST(Search, GivesMemoryInUnitsThatFit) {
  Case c;
  c.model = load_model("cpu-llama-tiny");
  c.base.model = "cpu-llama-tiny";
  c.cluster.device.memory = 1_MB;
  const Outcome outcome = search(c.model, c.cluster, c.base, {}, nullptr);
  ASSERT_FALSE(outcome.refused.empty());
  for (const Rejected& r : outcome.refused) {
    EXPECT_EQ(r.reason.find(" 0 "), std::string::npos) << r.reason;
    EXPECT_EQ(r.reason.find("0.0 GiB"), std::string::npos) << r.reason;
  }
}

// What the search leaves uncompiled it refuses rightly: with all else equal, a larger micro-batch never needs less memory.
TEST(Search, RefusesForMemoryExactlyWhatDoesNotFit) {
  Case c;
  c.base.batch.global = 64;
  c.cluster.device.memory = 14_GB;
  std::set<std::string> too_large, refused;
  for (const Evaluated& e : brute_force(c, {}))
    if (e.peak > c.cluster.device.memory.v) too_large.insert(label(c.cluster, e.plan));
  bool skipped = false;
  for (const Rejected& r : search(c.model, c.cluster, c.base, {}, nullptr).refused) {
    if (r.constraint == "memory") refused.insert(label(c.cluster, r.plan));
    skipped = skipped || r.reason.starts_with("already micro=");
  }
  EXPECT_EQ(refused, too_large);
  EXPECT_GT(refused.size(), 20U);
  EXPECT_TRUE(skipped);
}

// CPU nodes whose ranks share their cores, two and more of them.
RC_GTEST_PROP(Bound, IsAdmissibleOnSeveralCpuNodes, ()) {
  Case c;
  const bool mixture = *rc::gen::arbitrary<bool>();
  c.model = load_model(mixture ? "cpu-mixtral-tiny" : "cpu-llama-tiny");
  c.base.model = c.model.name;
  if (mixture) c.base.parallel.ep = *rc::gen::element<std::int64_t>(1, 2, 4);
  c.base.optimizer.post_validation = *rc::gen::arbitrary<bool>();
  c.base.precision.compute = c.base.precision.params = DType::fp32;
  Cluster& cluster = c.cluster;
  cluster = Cluster{};
  cluster.name = "cpu-nodes";
  cluster.device = load_device("cpu-core");
  cluster.device.memory = 8_GB;
  cluster.node_size = *rc::gen::element<std::int64_t>(1, 2, 4);
  const std::int64_t nodes = *rc::gen::element<std::int64_t>(2, 3, 4);
  cluster.devices = nodes * cluster.node_size;
  cluster.shared_cores = *rc::gen::inRange<std::int64_t>(1, cluster.node_size + 1);
  const Seconds latency{1e-6 * static_cast<double>(*rc::gen::inRange(1, 100))};
  if (cluster.node_size > 1) cluster.levels.push_back({"shared-memory", cluster.node_size, BytesPerSecond{5e9}, 1.0, latency, "for this test"});
  cluster.levels.push_back({"ethernet", cluster.devices, BytesPerSecond{1e9}, 1.0, latency, "for this test"});
  c.base.batch = {.global = cluster.devices * *rc::gen::element<std::int64_t>(1, 2, 4), .micro = 1, .sequence = 32};
  std::vector<Plan> plans;
  Space space;
  space.zero = {0, 1, 2, 3};
  for (const Plan& plan : enumerate(c.model, cluster, c.base, space))
    if (program::refusals(c.model, cluster, plan).empty()) plans.push_back(plan);
  RC_PRE(!plans.empty());
  const Plan plan = *rc::gen::elementOf(plans);
  const program::Program program = program::compile(c.model, cluster, plan);
  const cost::Table cost = cost::price(program, cluster, nullptr);
  RC_ASSERT(time_bound(program, cost, cluster) <= sim::simulate(program, cost, cluster).step);
  std::int64_t peak = 0;
  for (const program::Role& role : program.roles) peak = std::max(peak, program::memory(program, role).peak_live);
  RC_ASSERT(memory_bound(c.model, cluster, plan).v <= peak);
}

TEST(Space, TriesEveryMicroBatchThatDividesTheSequencesOfAReplica) {
  Case c;
  c.base.batch.global = 8 * 48;
  Space space;
  space.tp = space.pp = {1};
  space.schedule = {"1f1b"};
  space.recompute = {"none"};
  space.zero = {0};
  std::vector<std::int64_t> micros;
  for (const Plan& plan : enumerate(c.model, c.cluster, c.base, space)) micros.push_back(plan.batch.micro);
  EXPECT_EQ(micros, (std::vector<std::int64_t>{1, 2, 3, 4, 6, 8, 12, 16, 24, 48}));  // 384 sequences / 8 replicas = 48
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

// Schedules that defer weight gradients, overlap passes, begin at both ends or never drain break what is true of 1F1B.
TEST(Bound, IsAdmissibleForEverySchedule) {
  Case c;
  c.base.batch.global = 64;
  c.model.tie_embeddings = false, c.base.optimizer.clip = 0;  // asynchronous stages share no weights and no norm
  Space space;
  space.tp = {1}, space.pp = {2, 4}, space.micro = {1}, space.recompute = {"none"}, space.zero = {0};
  space.schedule = program::schedule_names();
  std::set<std::string> seen;
  for (const Evaluated& e : brute_force(c, space)) {
    EXPECT_LE(e.bound, e.step) << label(c.cluster, e.plan);
    EXPECT_LE(e.least, e.peak) << label(c.cluster, e.plan);
    seen.insert(e.plan.schedule);
  }
  EXPECT_TRUE(seen.contains("pipedream"));
  EXPECT_GE(seen.size(), 13U);
}

std::vector<std::pair<std::string, std::int64_t>> schedules_and_chunks(const Case& c, Space space) {
  space.tp = {1}, space.pp = {4}, space.micro = {1}, space.recompute = {"none"}, space.zero = {0};
  std::vector<std::pair<std::string, std::int64_t>> out;
  for (const Plan& plan : enumerate(c.model, c.cluster, c.base, space)) out.emplace_back(plan.schedule, plan.parallel.vp);
  return out;
}

TEST(Space, TriesTheChunksThatAScheduleCanHave) {
  using Expected = std::vector<std::pair<std::string, std::int64_t>>;
  Case c;
  Space space;
  EXPECT_EQ(schedules_and_chunks(c, space), (Expected{{"1f1b", 1}, {"gpipe", 1}}));
  space.vp = {1, 2, 4};
  EXPECT_EQ(schedules_and_chunks(c, space), (Expected{{"1f1b", 1}, {"gpipe", 1}, {"interleaved", 2}, {"interleaved", 4}}));
  space.schedule = {"zbv", "1f1b", "dualpipe", "looped-bfs"};
  EXPECT_EQ(schedules_and_chunks(c, space),
            (Expected{{"zbv", 2}, {"1f1b", 1}, {"dualpipe", 1}, {"looped-bfs", 1}, {"looped-bfs", 2}, {"looped-bfs", 4}}));
  space.vp = {};  // a sensible number of each
  EXPECT_EQ(schedules_and_chunks(c, space), (Expected{{"zbv", 2}, {"1f1b", 1}, {"dualpipe", 1}, {"looped-bfs", 2}}));
  space.schedule = {"1f1b"}, space.vp = {3};  // asked for: refused by name, and not left out in silence
  EXPECT_EQ(schedules_and_chunks(c, space), (Expected{{"1f1b", 3}}));
  c.base.schedule = "interleaved", c.base.parallel.vp = 4;
  space.schedule = {"interleaved"}, space.vp = {};
  EXPECT_EQ(schedules_and_chunks(c, space), (Expected{{"interleaved", 4}}));
}

TEST(Space, LeavesTheArgumentsOfAScheduleToIt) {
  Case c;
  c.base.schedule = "interleaved", c.base.parallel.vp = 2, c.base.schedule_args.group = 8;
  Space space;
  space.schedule = {"interleaved", "1f1b"};
  for (const Plan& plan : enumerate(c.model, c.cluster, c.base, space))
    EXPECT_EQ(plan.schedule_args.group.has_value(), plan.schedule == "interleaved");
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
