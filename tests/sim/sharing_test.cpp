// Ranks that share cores and a memory bus.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "sim/sharing.h"
#include "sim/simulate.h"
#include "support/timed_programs.h"

namespace orrery::sim {
namespace {

using program::Axis;
using program::mask;
using test::after;
using test::kCompute;
using test::kSide;
using test::Timed;

Result run(const Timed& t, const Options& options = {}) { return simulate(t.program, t.cost, t.cluster, options); }

// `ranks` ranks (data parallel: one role) that each run `work` on `cores` cores.
Timed side_by_side(std::int64_t ranks, std::int64_t cores, const test::Cost& work) {
  Timed t{{1, 1, ranks, 1}};
  t.cluster.shared_cores = cores;
  t.program.launch = program::Launch::inline_host;
  t.pass(0);
  t.add(0, program::Opcode::compute, kCompute, {}, work);
  t.body(0, {{0, 0}});
  return t;
}

TEST(Sharing, AloneTakesExactlyItsDuration) {
  for (const std::int64_t d : {1L, 3L, 999'999'999'999L}) {
    EXPECT_EQ(run(side_by_side(1, 1, {.duration = d, .core = 1, .memory = 1})).step.v, d);
    EXPECT_EQ(run(side_by_side(4, 4, {.duration = d, .core = 1, .memory = 0.25})).step.v, d);
  }
}

TEST(Sharing, TwoRanksOnOneCoreTakeTwiceAsLong) {
  const Timed t = side_by_side(2, 1, {.duration = 1000, .core = 1});
  EXPECT_EQ(run(t).step.v, 2000);
  EXPECT_EQ(run(t, {.unfold = true}).step.v, 2000);
}

TEST(Sharing, ThreeRanksOnTwoCoresTakeHalfAsLongAgain) {
  // 3 x 1 s on 2 cores: 1.5 s. The rate 2/3 is rounded down at 2^-32, the end up: at most 10^12 x 1.5^2 x 2^-32 + 1 = 525 ps late.
  const std::int64_t step = run(side_by_side(3, 2, {.duration = 1'000'000'000'000, .core = 1})).step.v;
  EXPECT_GE(step, 1'500'000'000'000);
  EXPECT_LE(step, 1'500'000'000'525);
}

TEST(Sharing, TheMemoryBusSlowsDownWhatFillsIt) {
  // Four ranks on four cores that each use 0.4 of the bandwidth alone: 1.6 of 1, so 1.6 times as long.
  const std::int64_t step = run(side_by_side(4, 4, {.duration = 1'000'000, .core = 1, .memory = 0.4})).step.v;
  EXPECT_EQ(step, 1'599'976);  // 0.4 is 26214 / 65536: 4 x 26214 / 65536 x 10^6 = 1,599,975.6
}

TEST(Sharing, HalfACoreAsksForHalfTheBandwidth) {
  // Two ranks on one core, each 0.9 of the bandwidth at full speed: at half speed 2 x 0.45 fits.
  EXPECT_EQ(run(side_by_side(2, 1, {.duration = 1000, .core = 1, .memory = 0.9})).step.v, 2000);
}

TEST(Sharing, WhoeverEndsLeavesItsCoreToTheOthers) {
  // One core, two stages: 100 and 300 from time 0. Both at half speed until 200, when the first ends; the second has 200 left: 400.
  Timed t{{1, 1, 1, 2}};
  t.cluster.shared_cores = 1;
  const std::int64_t work[] = {100, 300};
  for (std::size_t s = 0; s < 2; ++s) {
    t.pass(s);
    t.add(s, program::Opcode::compute, kCompute, {}, {.duration = work[s], .core = 1});
    t.body(s, {{0, 0}});
  }
  const Result r = run(t, {.max_periods = 1, .record = true});
  EXPECT_EQ(r.makespan.v, 400);
  EXPECT_EQ(r.timeline->spans[0].end.v, 200);
  EXPECT_EQ(r.timeline->spans[1].end.v, 400);
}

TEST(Sharing, ALateArrivalSlowsDownWhatRuns) {
  // One core. Stage 0 runs 100 from 0; stage 1 waits for a core-less 40 and then runs 100. Until 40 stage 0 alone (60 left), then both at half speed:
  // stage 0 ends at 160 (stage 1 has 40 left), stage 1 at 200.
  Timed t{{1, 1, 1, 2}};
  t.cluster.shared_cores = 1;
  t.pass(0);
  t.add(0, program::Opcode::compute, kCompute, {}, {.duration = 100, .core = 1});
  t.pass(1);
  t.compute(1, 40, {}, program::kNone, kSide);
  t.add(1, program::Opcode::compute, kCompute, {after(0)}, {.duration = 100, .core = 1});
  t.body(0, {{0, 0}});
  t.body(1, {{0, 0}});
  const Result r = run(t, {.max_periods = 1, .record = true});
  EXPECT_EQ(r.timeline->spans[0].end.v, 160);
  EXPECT_EQ(r.makespan.v, 200);
}

TEST(Sharing, RanksOfOtherNodesDoNotHinder) {
  Timed t = side_by_side(4, 1, {.duration = 1000, .core = 1});
  t.cluster.node_size = 2;
  EXPECT_EQ(run(t).step.v, 2000);
  EXPECT_EQ(run(t).simulated_ranks.size(), 1U);
  t.cluster.node_size = 3;  // three on one node and one on the other: they differ, and are not folded
  const Result r = run(t, {.max_periods = 1});
  EXPECT_EQ(r.simulated_ranks.size(), 4U);
  EXPECT_NEAR(static_cast<double>(r.makespan.v), 3000, 1);
  EXPECT_EQ(r.busy[3].v, 1000);
}

TEST(Sharing, AReductionOccupiesTheCoresOfItsMembers) {
  // Two ranks on one core, no launch on the host: a reduction of 100 by both (200 on one core) while both compute 100. Four parts of 100 on one core.
  Timed t{{1, 1, 2, 1}};
  t.cluster.shared_cores = 1;
  const auto dp = t.group(program::kDpAxes, WorkClass::dp_comm);
  t.pass(0);
  t.collective(0, dp, kSide, 100, {}, program::kNone, 1);
  t.add(0, program::Opcode::compute, kCompute, {}, {.duration = 100, .core = 1});
  t.wait(0, {after(0)});
  t.body(0, {{0, 0}});
  EXPECT_EQ(run(t).makespan.v, 400);
  EXPECT_EQ(run(t, {.unfold = true}).makespan.v, 400);
}

TEST(Sharing, ATransferEndsWhenTheLastPartDoes) {
  // One core. The receiver's copy of 50 (the sender's costs nothing) runs beside the sender's next computation of 50: both end 100 later.
  Timed t{{1, 1, 1, 2}};
  t.cluster.shared_cores = 1;
  t.pass(0);
  t.add(0, program::Opcode::compute, kCompute, {}, {.duration = 30, .core = 1});
  t.transfer(0, true, 1, 0, test::kSendForward, 50, {after(0)});
  t.add(0, program::Opcode::compute, kCompute, {}, {.duration = 50, .core = 1});
  t.pass(1);
  t.transfer(1, false, -1, 0, test::kRecvForward, 50, {}, program::kNone, 1);
  t.body(0, {{0, 0}});
  t.body(1, {{0, 0}});
  const Result r = run(t, {.max_periods = 1, .record = true});
  EXPECT_EQ(r.makespan.v, 130);
  for (const Span& s : r.timeline->spans) {
    if (r.timeline->kinds[s.kind].name != "linear_forward") {
      EXPECT_EQ(s.end.v, 130);
    }
  }
}

TEST(Sharing, GivesADomainWithoutCoresNothingToShare) {
  // Cost entries without a core share are not in the domain.
  EXPECT_EQ(run(side_by_side(4, 1, {.duration = 1000})).step.v, 1000);
}

// --- The solver ----------------------------------------------------------------------------------------------------------------------------------

// Max-min by its definition, in doubles: raise everybody's level together until they have what they want or the capacity is used up.
std::vector<double> water_level(std::vector<double> wanted, const std::vector<double>& weight, double capacity) {
  double low = 0, high = 1e9;
  for (int i = 0; i < 200; ++i) {
    const double level = (low + high) / 2;
    double used = 0;
    for (std::size_t k = 0; k < wanted.size(); ++k) used += weight[k] * std::min(wanted[k], level);
    (used <= capacity ? low : high) = level;
  }
  for (double& w : wanted) w = std::min(w, low);
  return wanted;
}

std::vector<Demand> arbitrary_demands() {
  std::vector<Demand> out(*rc::gen::inRange<std::size_t>(1, 9));
  for (Demand& d : out) {
    d.cores = *rc::gen::inRange<std::uint32_t>(1, 3U << kShareBits);
    d.memory = *rc::gen::inRange<std::uint32_t>(0, 1U << kShareBits);
    d.weight = *rc::gen::inRange<std::uint32_t>(1, 5);
  }
  return out;
}

void solve(std::uint32_t cores, std::vector<Demand>& demands) {
  std::vector<Demand*> pointers;
  for (Demand& d : demands) pointers.push_back(&d);
  share(cores, pointers);
}

RC_GTEST_PROP(Sharing, IsMaxMinOnCoresThenOnMemory, ()) {
  const auto cores = *rc::gen::inRange<std::uint32_t>(1, 9);
  auto demands = arbitrary_demands();
  solve(cores, demands);
  std::vector<double> core, weight, memory;
  for (const Demand& d : demands) {
    core.push_back(std::min<double>(d.cores, cores * 65536.0));
    weight.push_back(d.weight);
  }
  const auto got = water_level(core, weight, cores * 65536.0);
  for (std::size_t i = 0; i < demands.size(); ++i) memory.push_back(demands[i].memory * got[i] / core[i]);
  const auto bus = water_level(memory, weight, 65536.0);
  for (std::size_t i = 0; i < demands.size(); ++i) {
    const double rate = demands[i].memory == 0 ? got[i] / core[i] : std::min(got[i] / core[i], bus[i] / demands[i].memory);
    RC_ASSERT(std::abs(static_cast<double>(demands[i].rate) / static_cast<double>(kFullRate) - rate) < 1e-6);
  }
}

RC_GTEST_PROP(Sharing, NeverGivesMoreThanThereIs, ()) {
  const auto cores = *rc::gen::inRange<std::uint32_t>(1, 9);
  auto demands = arbitrary_demands();
  solve(cores, demands);
  unsigned __int128 core = 0, memory = 0;
  for (const Demand& d : demands) {
    RC_ASSERT(d.rate >= 1 && d.rate <= kFullRate);
    core += static_cast<unsigned __int128>(std::min<std::uint64_t>(d.cores, std::uint64_t{cores} << kShareBits)) * d.rate * d.weight;
    memory += static_cast<unsigned __int128>(d.memory) * d.rate * d.weight;
  }
  RC_ASSERT(core <= static_cast<unsigned __int128>(cores) << (kShareBits + kRateBits));
  RC_ASSERT(memory <= static_cast<unsigned __int128>(1) << (kShareBits + kRateBits));
}

RC_GTEST_PROP(Sharing, DoesNotDependOnOrderOrOnFolding, ()) {
  const auto cores = *rc::gen::inRange<std::uint32_t>(1, 9);
  auto demands = arbitrary_demands();
  std::vector<Demand> unfolded;
  std::vector<std::size_t> from;
  for (std::size_t i = demands.size(); i-- > 0;)
    for (std::uint32_t k = 0; k < demands[i].weight; ++k) {
      unfolded.push_back(demands[i]);
      unfolded.back().weight = 1;
      from.push_back(i);
    }
  solve(cores, demands);
  solve(cores, unfolded);
  for (std::size_t k = 0; k < unfolded.size(); ++k) RC_ASSERT(unfolded[k].rate == demands[from[k]].rate);
}

}  // namespace
}  // namespace orrery::sim
