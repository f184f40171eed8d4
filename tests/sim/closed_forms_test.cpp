// Runs whose length is known by arithmetic.
#include <gtest/gtest.h>

#include <numeric>

#include "core/error.h"
#include "sim/simulate.h"
#include "support/timed_programs.h"

namespace orrery::sim {
namespace {

using program::Axis;
using program::mask;
using test::after;
using test::kCompute;
using test::kSide;
using test::on_event;
using test::on_stream;
using test::Timed;

Result run(const Timed& t, const Options& options = {}) { return simulate(t.program, t.cost, t.cluster, options); }

std::int64_t total(const Waterfall& w) {
  const auto parts = w.parts();
  return std::accumulate(parts.begin(), parts.end(), std::int64_t{0}, [](std::int64_t sum, Picoseconds p) { return sum + p.v; });
}

TEST(Engine, AddsUpOneStream) {
  Timed t;
  const auto pass = t.pass(0);
  for (const int d : {100, 20, 3}) t.compute(0, d);
  t.body(0, {{pass, 0}, {pass, 1}});
  const Result r = run(t);
  EXPECT_EQ(r.step.v, 246);  // 2 x (100 + 20 + 3)
  EXPECT_EQ(r.makespan.v, 246);
  EXPECT_TRUE(r.steady);
  EXPECT_EQ(r.periods, 2);
  EXPECT_EQ(r.instructions, 12U);  // 2 periods x 2 passes x 3
  EXPECT_EQ(r.busy.at(0).v, 246);
}

TEST(Engine, RunsAnEmptyProgramInNoTime) {
  Timed t;
  const Result r = run(t);
  EXPECT_EQ(r.step.v, 0);
  EXPECT_EQ(r.instructions, 0U);
}

TEST(Pipeline, GPipeTakesMicrobatchesPlusStagesMinusOne) {
  for (const int p : {1, 2, 4, 7})
    for (const int m : {1, 2, 5, 8}) {
      const Result r = run(test::gpipe(p, m, test::equal_stages(p, 10, 20)));
      EXPECT_EQ(r.step.v, (m + p - 1) * 30) << p << " stages, " << m << " micro-batches";  // (m + p − 1)(F + B), Huang et al. 2019
      EXPECT_TRUE(r.steady);
    }
}

TEST(Pipeline, OneForwardOneBackwardTakesAsLongAsGPipe) {
  for (const int p : {1, 2, 4, 7})
    for (const int m : {1, 2, 5, 8, 16}) {
      const Result r = run(test::one_f_one_b(p, m, test::equal_stages(p, 10, 20)));
      EXPECT_EQ(r.step.v, (m + p - 1) * 30) << p << " stages, " << m << " micro-batches";
      EXPECT_EQ(r.waterfall.bubble.v + r.waterfall.exposed_pp.v, (p - 1) * 30);  // every stage idles (p − 1)(F + B)
      EXPECT_EQ(total(r.waterfall), r.step.v);
    }
}

TEST(Pipeline, ATransferDelaysTheFirstMicrobatchOnEveryStage) {
  // GPipe: the last stage's first forward starts after 3 forwards and 3 transfers, and the first stage's last backward ends after 3 transfers back:
  // (8 + 4 − 1) x 30 + 2 x 3 x 7. In between, transfers of 7 hide behind passes of 10.
  const Result r = run(test::gpipe(4, 8, test::equal_stages(4, 10, 20, 7)));
  EXPECT_EQ(r.step.v, 11 * 30 + 2 * 3 * 7);
}

TEST(Pipeline, TheSlowestStageSetsThePace) {
  // GPipe, stage 1 twice as slow: forward 10 + 8 x 20 + 10, backward 20 + 8 x 40 + 20.
  test::PipelineCost cost = test::equal_stages(3, 10, 20);
  cost.forward[1] = 20;
  cost.backward[1] = 40;
  const Result r = run(test::gpipe(3, 8, cost));
  EXPECT_EQ(r.step.v, 10 + 160 + 10 + 20 + 320 + 20);
}

TEST(Pipeline, WithoutASynchronisationTheNextStepStartsInTheBubble) {
  // Forward only, 4 stages, 8 micro-batches of 10: the first step takes (8 + 3) x 10, each further one only 8 x 10, since stages do not wait for it.
  test::PipelineCost cost = test::equal_stages(4, 10, 20);
  cost.synchronise = false;
  std::vector<test::OrderedPass> forward;
  for (std::uint16_t m = 0; m < 8; ++m) forward.push_back({true, m});
  const Result r = run(test::pipeline({4, forward}, cost));
  EXPECT_EQ(r.makespan.v, 110);
  EXPECT_EQ(r.step.v, 80);
  EXPECT_TRUE(r.steady);
  EXPECT_EQ(total(r.waterfall), 80);
  EXPECT_EQ(r.waterfall.bubble.v, 0);
}

TEST(PointToPoint, BothEndsWaitForEachOtherAndEndTogether) {
  Timed t{{1, 1, 1, 2}};
  t.pass(0);
  t.compute(0, 50);
  t.transfer(0, true, 1, 0, test::kSendForward, 7, {after(0)});
  t.wait(0, {after(1)});
  t.pass(1);
  t.transfer(1, false, -1, 0, test::kRecvForward, 7);
  t.compute(1, 30, {after(0)});
  t.body(0, {{0, 0}});
  t.body(1, {{0, 0}});
  const Result r = run(t, {.record = true});
  EXPECT_EQ(r.makespan.v, 50 + 7 + 30);
  const Timeline& timeline = *r.timeline;
  ASSERT_EQ(timeline.flows.size(), 1U);
  const Span &from = timeline.spans[timeline.flows[0].from], &to = timeline.spans[timeline.flows[0].to];
  EXPECT_EQ(from.rank, 0U);
  EXPECT_EQ(to.rank, 1U);
  EXPECT_EQ(from.start, to.start);
  EXPECT_EQ(from.end, to.end);
}

TEST(PointToPoint, MessagesOfOneChannelMeetInIssueOrder) {
  // Two messages of different length: the k-th send meets the k-th receive, which sees the longer of both prices.
  Timed t{{1, 1, 1, 2}};
  t.pass(0);
  t.transfer(0, true, 1, 3, test::kSendForward, 5);
  t.transfer(0, true, 1, 3, test::kSendForward, 11);
  t.pass(1);
  t.transfer(1, false, -1, 3, test::kRecvForward, 5);
  t.transfer(1, false, -1, 3, test::kRecvForward, 11);
  t.compute(1, 100, {after(0)});
  t.compute(1, 100, {after(1)});
  t.body(0, {{0, 0}});
  t.body(1, {{0, 0}});
  EXPECT_EQ(run(t).makespan.v, 5 + 100 + 100);
}

TEST(Overlap, ADataParallelReductionHidesBehindCompute) {
  // Backward of 100 gives a bucket, whose reduction of 80 runs beside another backward of 100; a second reduction of 80 is exposed.
  Timed t{{1, 1, 4, 1}};
  const auto dp = t.group(program::kDpAxes, WorkClass::dp_comm);
  t.pass(0);
  t.compute(0, 100);
  t.collective(0, dp, kSide, 80, {after(0)});
  t.compute(0, 100);
  t.collective(0, dp, kSide, 80, {after(2)});
  t.wait(0, {after(1), after(3)});
  t.body(0, {{0, 0}});
  const Result r = run(t);
  EXPECT_EQ(r.step.v, 280);
  EXPECT_EQ(r.waterfall.exposed_dp.v, 80);
  EXPECT_EQ(r.waterfall.bubble.v, 0);
  EXPECT_EQ(r.waterfall.host.v, 0);
  EXPECT_EQ(r.critical_path.by_class.size(), 2U);  // 200 of compute, 80 of the reduction
  EXPECT_EQ(r.critical_path.by_class[0], (std::pair{WorkClass::gemm, Picoseconds{200}}));
  EXPECT_EQ(r.critical_path.by_class[1], (std::pair{WorkClass::dp_comm, Picoseconds{80}}));
}

TEST(Overlap, AQueueOfReductionsIsExposedAsAWhole) {
  // Three reductions of 80 behind a backward of 100: the compute stream waits 240, all of which is data moving, not only the last 80.
  Timed t{{1, 1, 4, 1}};
  const auto dp = t.group(program::kDpAxes, WorkClass::dp_comm);
  t.pass(0);
  t.compute(0, 100);
  for (int i = 0; i < 3; ++i) t.collective(0, dp, kSide, 80, {after(0)});
  t.wait(0, {after(3)});
  t.body(0, {{0, 0}});
  const Result r = run(t, {.record = true});
  EXPECT_EQ(r.step.v, 340);
  EXPECT_EQ(r.waterfall.exposed_dp.v, 240);
  const auto& spans = r.timeline->spans;
  const auto wait = std::find_if(spans.begin(), spans.end(), [](const Span& s) { return s.instruction == 4; });
  EXPECT_EQ(wait->cause, WaitCause::dp);
  EXPECT_EQ(wait->waited.v, 240);
  EXPECT_EQ(wait->transfer.v, 240);
}

TEST(Overlap, ATensorParallelReductionIsExposed) {
  Timed t{{4, 1, 1, 1}};
  const auto tp = t.group(mask(Axis::tp), WorkClass::tp_comm);
  t.pass(0);
  t.compute(0, 100);
  t.collective(0, tp, kSide, 25, {after(0)});
  t.compute(0, 100, {after(1)});
  t.collective(0, tp, kSide, 25, {after(2)});
  t.wait(0, {after(3)});
  t.body(0, {{0, 0}});
  const Result r = run(t);
  EXPECT_EQ(r.step.v, 250);
  EXPECT_EQ(r.waterfall.exposed_tp.v, 50);
}

TEST(Collective, OnTheComputeStreamIsExposedToo) {
  Timed t{{4, 1, 1, 1}};
  const auto tp = t.group(mask(Axis::tp), WorkClass::tp_comm);
  t.pass(0);
  t.compute(0, 100);
  t.collective(0, tp, kCompute, 25);
  t.compute(0, 100);
  t.body(0, {{0, 0}});
  const Result r = run(t);
  EXPECT_EQ(r.step.v, 225);
  EXPECT_EQ(r.waterfall.exposed_tp.v, 25);
  EXPECT_EQ(r.busy[0].v, 200);
}

TEST(Collective, StartsWhenTheLastMemberArrives) {
  // Stages with 10, 30 and 20 of work meet for 5, then go on for 1.
  Timed t{{1, 1, 1, 3}};
  const auto all = t.group(mask(Axis::pp), WorkClass::pp_comm);
  const std::int64_t work[] = {10, 30, 20};
  for (std::size_t s = 0; s < 3; ++s) {
    t.pass(s);
    t.compute(s, work[s]);
    t.collective(s, all, kSide, 5, {after(0)});
    t.compute(s, 1, {after(1)});
    t.body(s, {{0, 0}});
  }
  const Result r = run(t);
  EXPECT_EQ(r.step.v, 36);
  EXPECT_EQ(r.critical_path.by_class.at(0).second.v, 31);  // the second stage's work and the last instruction
  EXPECT_EQ(r.critical_path.by_class.at(1), (std::pair{WorkClass::pp_comm, Picoseconds{5}}));
  EXPECT_EQ(r.waterfall.exposed_pp.v, 5);
  EXPECT_EQ(r.waterfall.imbalance.v, 10);  // (20 + 0 + 10) / 3: less work than the busiest
  EXPECT_EQ(r.waterfall.bubble.v, 0);
}

TEST(Launch, AHostThatIssuesSlowerThanTheDeviceWorksSetsTheStep) {
  Timed t;
  t.cost.issue = Picoseconds{50};
  t.pass(0);
  for (int i = 0; i < 10; ++i) t.compute(0, 20);
  t.body(0, {{0, 0}});
  const Result r = run(t);
  EXPECT_EQ(r.step.v, 500);  // 10 x 50; the last kernel's 20 hides behind the next step's first launch
  EXPECT_EQ(r.makespan.v, 520);
  EXPECT_EQ(r.waterfall.host.v, 300);
  EXPECT_EQ(r.critical_path.unattributed.v, 480);
}

TEST(Launch, AHostThatIssuesFasterRunsAhead) {
  Timed t;
  t.cost.issue = Picoseconds{5};
  t.pass(0);
  for (int i = 0; i < 10; ++i) t.compute(0, 20);
  t.body(0, {{0, 0}});
  const Result r = run(t);
  EXPECT_EQ(r.makespan.v, 205);
  EXPECT_EQ(r.step.v, 200);
  EXPECT_TRUE(r.steady);
}

TEST(Launch, WaitsOfStreamsCostTheHostNothing) {
  Timed t;
  t.cost.issue = Picoseconds{50};
  t.pass(0);
  t.compute(0, 20);
  t.wait(0, {after(0)});
  t.host_wait(0, {after(0)});
  t.body(0, {{0, 0}});
  EXPECT_EQ(run(t).step.v, 70);  // launch 50, run 20, wait for it; then the next launch
}

TEST(Launch, AHostWaitHoldsBackWhatIsIssuedAfterIt) {
  // A side kernel of 300 runs beside a compute kernel of 100; the host waits for the former before it launches the next 100.
  Timed t;
  t.pass(0);
  t.compute(0, 300, {}, program::kNone, kSide);
  t.compute(0, 100);
  t.host_wait(0, {after(0)});
  t.compute(0, 100);
  t.body(0, {{0, 0}});
  const Result r = run(t);
  EXPECT_EQ(r.makespan.v, 400);
  EXPECT_EQ(r.step.v, 300);  // the next side kernel is issued at 300 and runs beside the second compute kernel
}

TEST(Launch, ABlockedStreamDoesNotBlockOthers) {
  // The compute stream waits for a message that the peer sends only after it has heard from the side stream, issued later.
  Timed t{{1, 1, 1, 2}};
  t.pass(0);
  t.transfer(0, false, 1, 1, test::kRecvBackward, 3);
  t.compute(0, 100, {after(0)});
  t.compute(0, 40, {}, program::kNone, kSide);
  t.transfer(0, true, 1, 0, test::kSendForward, 3, {after(2)});
  t.pass(1);
  t.transfer(1, false, -1, 0, test::kRecvForward, 3);
  t.compute(1, 10, {after(0)});
  t.transfer(1, true, -1, 1, test::kSendBackward, 3, {after(1)});
  t.body(0, {{0, 0}});
  t.body(1, {{0, 0}});
  EXPECT_EQ(run(t).makespan.v, 40 + 3 + 10 + 3 + 100);
}

TEST(Launch, RunningOnTheHostOccupiesIt) {
  // On a GPU the side kernel would run beside; run inline, computation of any stream is one thread's.
  Timed t;
  t.pass(0);
  t.compute(0, 100);
  t.compute(0, 100, {}, program::kNone, kSide);
  t.body(0, {{0, 0}});
  EXPECT_EQ(run(t).step.v, 100);
  t.program.launch = program::Launch::inline_host;
  EXPECT_EQ(run(t).step.v, 200);
}

TEST(Events, AreThoseOfTheirMicrobatch) {
  // Forward signals per micro-batch from a side stream; backward of micro-batch 0 waits only for its own.
  Timed t;
  const auto ready = t.event(0);
  const auto forward = t.pass(0);
  t.compute(0, 100, {}, ready, kSide);
  const auto backward = t.pass(0);
  t.compute(0, 10, {on_event(ready)});
  t.body(0, {{forward, 0}, {forward, 1}, {backward, 0}, {backward, 1}});
  EXPECT_EQ(run(t).makespan.v, 210);
  t.body(0, {{forward, 0}, {forward, 1}, {backward, 1}, {backward, 0}});
  EXPECT_EQ(run(t).makespan.v, 220);
}

TEST(Events, CrossTheEndOfTheStep) {
  // The parameter gather of 90 at the step's end is waited for by the next step's first instruction; nothing waits for it in the first step.
  Timed t{{1, 1, 2, 1}};
  const auto dp = t.group(program::kDpAxes, WorkClass::dp_comm);
  const auto gathered = t.event(0, false);
  t.pass(0);
  t.compute(0, 50, {on_event(gathered)});
  t.collective(0, dp, kSide, 90, {after(0)}, gathered);
  t.compute(0, 60);
  t.body(0, {{0, 0}});
  const Result r = run(t);
  EXPECT_EQ(r.makespan.v, 140);
  EXPECT_EQ(r.step.v, 140);  // 50 + 90; the 60 hide behind the gather
  EXPECT_EQ(r.waterfall.exposed_dp.v, 30);
  EXPECT_EQ(total(r.waterfall), 140);
}

TEST(Lists, AMessageMaySetOutInOneStepAndArriveInTheNext) {
  // Stage 0 computes 10 and sends (1), once before the first step and then in each; stage 1 receives in each step what was sent in the one before.
  // The prologue's message arrives at 11, the first step's at 21, while stage 1 computes from 11 to 21.
  Timed t{{1, 1, 1, 2}};
  t.pass(0);
  t.compute(0, 10);
  t.transfer(0, true, 1, 0, test::kSendForward, 1, {after(0)});
  t.pass(1);
  t.transfer(1, false, -1, 0, test::kRecvForward, 1);
  t.compute(1, 10, {after(0)});
  t.program.roles[0].prologue = {{0, 0}};
  t.body(0, {{0, 0}});
  t.body(1, {{0, 0}});
  t.program.roles[1].epilogue = {{0, 0}};
  const Result r = run(t);
  EXPECT_EQ(r.makespan.v, 10);  // 21 - 11
  EXPECT_EQ(r.step.v, 10);
  EXPECT_TRUE(r.steady);
  EXPECT_EQ(total(r.waterfall), 10);
  EXPECT_EQ(run(t, {.max_periods = 1}).makespan.v, 10);  // the epilogue takes the last message
}

TEST(Lists, WhatTheirPrologueSignalsHoldsInEveryStep) {
  Timed t;
  const auto ready = t.event(0, false);
  const auto once = t.pass(0);
  t.compute(0, 1000, {}, ready, kSide);
  const auto always = t.pass(0);
  t.compute(0, 30, {on_event(ready)});
  t.program.roles[0].prologue = {{once, 0}};
  t.body(0, {{always, 0}});
  const Result r = run(t);
  EXPECT_EQ(r.makespan.v, 30);  // counted from the prologue's end
  EXPECT_EQ(r.step.v, 30);
  EXPECT_EQ(r.instructions, 3U);  // the prologue once, the step in two periods
}

TEST(Deadlock, IsToldRankByRank) {
  Timed t{{1, 1, 1, 2}};
  for (const std::size_t s : {0U, 1U}) {
    t.pass(s);
    t.transfer(s, false, s == 0 ? 1 : -1, 0, test::kRecvForward, 3);
    t.compute(s, 100, {after(0)});
    t.transfer(s, true, s == 0 ? 1 : -1, 0, test::kSendForward, 3, {after(1)});
    t.body(s, {{0, 0}});
  }
  try {
    run(t);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.message(),
              "its ranks wait for each other for ever: rank 0 (stage 0) waits at instruction 0 (recv) of 'pass 0', micro-batch 0; "
              "rank 1 (stage 1) waits at instruction 0 (recv) of 'pass 0', micro-batch 0");
  }
}

TEST(Overflow, IsRefused) {
  // A step of 11 days: up to 8 periods and one run in isolation are 99 days, which fit; one of 12 days does not.
  constexpr std::int64_t kDay = 86'400'000'000'000'000;
  Timed t;
  t.pass(0);
  t.compute(0, 11 * kDay);
  t.body(0, {{0, 0}});
  EXPECT_EQ(run(t).step.v, 11 * kDay);
  t.cost.entries[0].duration = Picoseconds{12 * kDay};
  EXPECT_THROW(run(t), Error);
  t.cost.entries[0].duration = kForever;
  EXPECT_THROW(run(t), Error);
  // A device whose peak is absurd beside what was measured: the ideal times cannot be added up.
  t.cost.entries[0].duration = Picoseconds{1000};
  EXPECT_EQ(run(t).step.v, 1000);
  t.cost.entries[0].ideal = Picoseconds{12 * kDay};
  EXPECT_THROW(run(t), Error);
}

TEST(Overflow, DoesNotHappenBecauseAnActivityIsSlowedDownForAWhile) {
  // Four ranks on one core: three short ones, one of 40 days, which at a quarter of the core would end in 160 days; the short ones leave it to it.
  constexpr std::int64_t kDay = 86'400'000'000'000'000;
  Timed t{{1, 1, 1, 4}};
  t.cluster.shared_cores = 1;
  for (std::size_t s = 0; s < 4; ++s) {
    t.pass(s);
    t.add(s, program::Opcode::compute, kCompute, {}, {.duration = s == 0 ? 40 * kDay : 1000, .core = 1});
    t.body(s, {{0, 0}});
  }
  EXPECT_EQ(run(t, {.max_periods = 1}).makespan.v, 40 * kDay + 3000);
}

TEST(Timeline, NamesRanksThatWereFoldedAway) {
  const Timed t = test::one_f_one_b(2, 4, test::equal_stages(2, 10, 20), 2, 2);
  const Result r = run(t, {.record = true, .ranks = {1, 6}});  // tp, dp, pp = 1, 0, 0 and 0, 1, 1
  EXPECT_EQ(r.timeline->ranks.at(1), "pp0 dp0 tp1");
  EXPECT_EQ(r.timeline->ranks.at(6), "pp1 dp1 tp0");
  EXPECT_TRUE(r.timeline->flows.empty());  // they are not each other's neighbours
  EXPECT_FALSE(run(t, {.record = true, .ranks = {1, 5}}).timeline->flows.empty());
  EXPECT_THROW(run(t, {.record = true, .ranks = {8}}), Error);
}

// Four ranks of dp that compute 10 and then reduce for 5. One takes 1.3 times as long: all step with it, 13 + 5, and the three others wait 3 each.
TEST(SlowDevices, MakeTheOthersWaitForThem) {
  Timed t{{1, 1, 4, 1}};
  const auto dp = t.group(program::kDpAxes, WorkClass::dp_comm);
  t.pass(0);
  t.add(0, program::Opcode::compute, kCompute, {}, {.duration = 10, .energy = 2});
  t.collective(0, dp, test::kSide, 5, {test::after(0)});
  t.wait(0, {test::after(1)});
  t.body(0, {{0, 0}});
  ASSERT_EQ(run(t).step.v, 15);
  t.cluster.slow = {{.device = 2, .factor = 1.3}};
  const Result r = run(t);
  EXPECT_EQ(r.step.v, 18);
  EXPECT_EQ(r.simulated_ranks, (std::vector<std::int64_t>{2, 0}));
  EXPECT_EQ(r.weights, (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(r.energy.at(0).v, 2 * 1.3);
  EXPECT_EQ(r.energy.at(1).v, 2.0);
  EXPECT_EQ(r.waterfall.imbalance.v, 2);  // 3 x 3 / 4, in whole picoseconds that add up to the step
  EXPECT_EQ(r.waterfall.exposed_dp.v, 5);
  EXPECT_EQ(run(t, {.unfold = true}).trace_hash, r.trace_hash);
}

// Of 16 ranks, tp 2 x dp 4 x pp 2, those are simulated that differ in whether they share the slow one's place on tp and on dp: 2 x 2 of each stage.
TEST(SlowDevices, TellApartOnlyWhatSharesTheirCoordinates) {
  Timed t = test::one_f_one_b(2, 4, test::equal_stages(2, 10, 20), 4, 2);
  t.cluster.slow = {{.device = 5, .factor = 2}};
  const Result r = run(t);
  EXPECT_EQ(r.simulated_ranks.size(), 8U);
  EXPECT_EQ(std::accumulate(r.weights.begin(), r.weights.end(), std::int64_t{0}), 16);
}

TEST(SlowDevices, AreRefusedWhereRanksShareCores) {
  Timed t{{1, 1, 2, 1}};
  t.pass(0);
  t.add(0, program::Opcode::compute, kCompute, {}, {.duration = 10, .core = 1});
  t.body(0, {{0, 0}});
  t.cluster.shared_cores = 2;
  t.cluster.slow = {{.device = 1, .factor = 2}};
  EXPECT_THROW(run(t), Error);
}

TEST(Energy, IsTheSumOfWhatRan) {
  Timed t;
  t.pass(0);
  t.add(0, program::Opcode::compute, kCompute, {}, {.duration = 10, .energy = 2.5});
  t.add(0, program::Opcode::compute, kCompute, {}, {.duration = 10, .energy = 1.5});
  t.body(0, {{0, 0}, {0, 1}});
  EXPECT_EQ(run(t).energy.at(0).v, 8.0);
}

TEST(Energy, StandsInTheTimelineByKindOfSpan) {
  Timed t;
  t.pass(0);
  t.add(0, program::Opcode::compute, kCompute, {}, {.duration = 10, .energy = 2.5});
  t.add(0, program::Opcode::compute, kCompute, {}, {.duration = 10, .energy = 1.5});
  t.body(0, {{0, 0}, {0, 1}});
  const Result r = run(t, {.record = true});
  double energy = 0;
  for (const Span& s : r.timeline->spans) energy += r.timeline->kinds[s.kind].energy.v;
  EXPECT_EQ(energy, r.energy.at(0).v);
}

// Two stages, four micro-batches, 1F1B; stage 0 is a little faster, so that only one chain is the longest: its first forward (9), the four forwards
// and backwards of stage 1 without a pause (4 * 30 = 120), and its last backward (18).
TEST(CriticalPath, GoesThroughThePipelinesLastStage) {
  const Timed t = test::one_f_one_b(2, 4, {.forward = {9, 10}, .backward = {18, 20}});
  const Result r = run(t, {.max_periods = 1, .record = true});
  ASSERT_EQ(r.step.v, 147);
  std::int64_t on_stage[2] = {0, 0};
  const Timeline& timeline = *r.timeline;
  for (const std::uint32_t i : timeline.critical) {
    const Span& s = timeline.spans.at(i);
    if (!is_communication(timeline.kinds[s.kind].work)) on_stage[s.rank] += s.end.v - s.start.v;
  }
  EXPECT_EQ(on_stage[0], 27);
  EXPECT_EQ(on_stage[1], 120);
  EXPECT_TRUE(run(t, {.record = true, .ranks = {0}}).timeline->critical.size() < timeline.critical.size());
}

}  // namespace
}  // namespace orrery::sim
