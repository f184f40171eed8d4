#include "program/schedules/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "program/schedules/replay.h"

namespace orrery::program {
namespace {

Schedule schedule_of(const std::string& name, std::int64_t ranks, std::int64_t microbatches) {
  return make_schedule(name, {.ranks = ranks, .microbatches = microbatches});
}

// (p − 1) / (m + p − 1) of the makespan, with equal stages: 15/31 for 16 stages and 16 micro-batches.
TEST(Schedule, BubbleFractionIsIdleShareOfTheMakespan) {
  EXPECT_DOUBLE_EQ(bubble_fraction(schedule_of("1f1b", 16, 16)), 15.0 / 31);
  EXPECT_DOUBLE_EQ(bubble_fraction(schedule_of("gpipe", 4, 8)), 3.0 / 11);
  EXPECT_DOUBLE_EQ(bubble_fraction(schedule_of("1f1b", 1, 5)), 0);
}

TEST(Schedule, AnUnknownNameIsRefusedWithTheNearestOne) {
  try {
    (void)make_schedule("1f1", {.ranks = 2, .microbatches = 2});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.where(), "schedule");
    EXPECT_EQ(e.message(), "'1f1' is not a schedule that is built");
    EXPECT_EQ(e.hint(), "did you mean '1f1b'?");
  }
}

TEST(Schedule, WhatAScheduleCannotHonourIsRefusedByField) {
  const auto where = [](const ScheduleInput& input) {
    try {
      (void)make_schedule("gpipe", input);
    } catch (const Error& e) {
      return e.where();
    }
    return std::string{};
  };
  EXPECT_EQ(where({.ranks = 0, .microbatches = 1}), "ranks");
  EXPECT_EQ(where({.ranks = 1, .microbatches = 70000}), "microbatches");
  EXPECT_EQ(where({.ranks = 2, .microbatches = 2, .chunks = 2}), "chunks");
  EXPECT_EQ(where({.ranks = 2, .microbatches = 2, .group = 2}), "group");
  EXPECT_EQ(where({.ranks = 2, .microbatches = 2, .splits = 2}), "splits");
  EXPECT_EQ(where({.ranks = 2, .microbatches = 2, .replicas = {1, 1}}), "replicas");
  EXPECT_EQ(where({.ranks = 2, .microbatches = 2}), "");
}

std::string failure(const Schedule& schedule) {
  try {
    check(schedule);
  } catch (const Error& e) {
    return e.message();
  }
  return {};
}

TEST(Replay, ADeadlockOfOneRankIsReportedByItsPass) {
  // Rank 0 wants micro-batch 1 back before it has sent it forward.
  Schedule schedule = schedule_of("gpipe", 2, 2);
  std::swap(schedule.order[0][1], schedule.order[0][3]);
  EXPECT_EQ(failure(schedule), "deadlock: rank 0 in its pass 1 (backward of micro-batch 1) waits for the forward of micro-batch 1 on rank 0");
}

TEST(Replay, ADeadlockIsReportedAsItsCycleOfRanks) {
  // Rank 0 wants micro-batch 0 back before it sends micro-batch 1; rank 1 wants both before it sends one back. Rank 2 waits and is not to blame.
  Schedule schedule = schedule_of("gpipe", 3, 2);
  std::swap(schedule.order[0][1], schedule.order[0][2]);
  EXPECT_EQ(
      failure(schedule),
      "deadlock: rank 0 in its pass 1 (backward of micro-batch 0) waits for the backward of micro-batch 0 on rank 1; rank 1 in its pass 1 (forward "
      "of micro-batch 1) waits for the forward of micro-batch 1 on rank 0");
}

TEST(Replay, APassThatComesTwiceIsReported) {
  Schedule schedule = schedule_of("gpipe", 1, 2);
  schedule.order[0][1] = schedule.order[0][0];
  EXPECT_EQ(failure(schedule), "rank 0 runs the forward of micro-batch 0 twice");
}

TEST(Replay, APassThatIsMissingIsReportedByRankAndMicroBatch) {
  Schedule schedule = schedule_of("1f1b", 2, 3);
  schedule.order[0].pop_back();
  EXPECT_EQ(failure(schedule), "rank 0 never runs the backward of micro-batch 2");
  schedule = schedule_of("1f1b", 2, 3);
  schedule.order[1].pop_back();
  EXPECT_EQ(failure(schedule),
            "rank 0 in its pass 5 (backward of micro-batch 2) waits for the backward of micro-batch 2 on rank 1, which never runs it");
}

TEST(Replay, APassThatNoRankHasIsReported) {
  Schedule schedule = schedule_of("gpipe", 1, 2);
  schedule.order[0][1].microbatch = 2;
  EXPECT_EQ(failure(schedule), "there is no forward of micro-batch 2 for rank 0 to run in its pass 1");
  schedule.order[0][1] = {.kind = PassKind::optimizer};
  EXPECT_EQ(failure(schedule), "replay has no rule for a pass of kind 'optimizer'");
}

TEST(Replay, AMemoryLimitIsKeptOrReported) {
  EXPECT_NO_THROW(check(schedule_of("1f1b", 4, 8), 4));
  EXPECT_THROW(check(schedule_of("1f1b", 4, 8), 3), Error);
}

// Backward split in two on one rank, F = 3, I = 2, W = 1: F0 I0 F1 W0 I1 W1 takes 12; counted until its weight gradient 2 activations are live at
// once, until its input gradient 1.
TEST(Replay, AWeightGradientReleasesTheActivation) {
  Schedule schedule = schedule_of("gpipe", 1, 2);
  schedule.order = {{{.kind = PassKind::forward, .microbatch = 0},
                     {.kind = PassKind::input_grad, .microbatch = 0},
                     {.kind = PassKind::forward, .microbatch = 1},
                     {.kind = PassKind::weight_grad, .microbatch = 0},
                     {.kind = PassKind::input_grad, .microbatch = 1},
                     {.kind = PassKind::weight_grad, .microbatch = 1}}};
  const Replay got = replay(schedule, {.forward = 3, .input_grad = 2, .weight_grad = 1});
  EXPECT_EQ(got.makespan, 12);
  EXPECT_EQ(got.peak_until_weight_grad, std::vector<std::int64_t>{2});
  EXPECT_EQ(got.peak_until_input_grad, std::vector<std::int64_t>{1});
  EXPECT_EQ(got.passes[0][3], (PassTimes{8, 9}));
}

// One rank, F = 2, B = 4, a pair in 5: F0 ends at 2, the pair of F1 and B0 at 7, B1 at 11.
TEST(Replay, AnOverlappedPairNeedsBothHalvesAndEndsBoth) {
  Schedule s;
  s.ranks = 1, s.microbatches = 2;
  s.order = {{{.kind = PassKind::forward, .microbatch = 0},
              {.kind = PassKind::forward_backward, .microbatch = 1, .backward_microbatch = 0},
              {.kind = PassKind::backward, .microbatch = 1}}};
  const Replay got = replay(s, {.forward = 2, .input_grad = 2, .weight_grad = 2, .forward_backward = 5});
  EXPECT_EQ(got.makespan, 2 + 5 + 4);
  EXPECT_EQ(got.peak_until_weight_grad, std::vector<std::int64_t>{2});  // while the pair runs, micro-batch 0 is still there
  EXPECT_NO_THROW(check(s));
}

TEST(Placement, EveryStageIsAtHomeWhereItsChunkSays) {
  for (const Placement placement : {Placement::loop, Placement::vee, Placement::mirrored})
    for (const std::int64_t p : {1, 2, 5})
      for (std::int64_t direction = 0; direction < (placement == Placement::mirrored ? 2 : 1); ++direction)
        for (std::int64_t s = 0; s < stages(placement, p, 2); ++s) {
          const Home h = home(placement, p, s, direction);
          EXPECT_EQ(stage_of(placement, p, h.rank, h.chunk), s) << name(placement) << " p=" << p << " stage " << s;
          EXPECT_TRUE(placement != Placement::mirrored || h.chunk == direction);
        }
  EXPECT_EQ(home(Placement::loop, 4, 6, 0), (Home{2, 1}));      // 6 = 1·4 + 2
  EXPECT_EQ(home(Placement::vee, 4, 6, 0), (Home{1, 1}));       // 6 = 2·4 − 1 − 1
  EXPECT_EQ(home(Placement::mirrored, 4, 3, 1), (Home{0, 1}));  // direction 1 ends on rank 0
}

}  // namespace
}  // namespace orrery::program
