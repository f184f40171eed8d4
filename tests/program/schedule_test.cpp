#include "program/schedules/schedule.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "core/error.h"
#include "program/schedules/replay.h"

namespace orrery::program {
namespace {

Schedule schedule_of(const std::string& name, std::int64_t ranks, std::int64_t microbatches) {
  return make_schedule(name, {.ranks = ranks, .microbatches = microbatches});
}

std::string in_letters(const std::vector<Pass>& passes) {
  std::vector<std::string> words;
  for (const Pass& pass : passes) words.push_back(fmt::format("{}{}", pass.kind == PassKind::forward ? 'F' : 'B', pass.microbatch));
  return fmt::format("{}", fmt::join(words, " "));
}

template <class T>
std::vector<T> numbers(std::istringstream& line) {
  return {std::istream_iterator<T>(line), std::istream_iterator<T>()};
}

TEST(Schedule, OrdersTimesAndPeaksEqualTheRecordedReplays) {
  std::ifstream file(ORRERY_SOURCE_DIR "/tests/program/data/schedule_orders.txt");
  ASSERT_TRUE(file.is_open());
  Schedule schedule;
  Replay got;
  std::size_t rank = 0;
  int cases = 0, orders = 0;
  std::string text, word, where;
  while (std::getline(file, text)) {
    if (text.empty() || text.front() == '#') continue;
    std::istringstream line(text);
    line >> word;
    if (word == "case") {
      std::string name;
      std::int64_t p = 0, m = 0, makespan = 0;
      PassCosts costs;
      line >> name >> p >> m >> costs.forward >> costs.input_grad >> costs.weight_grad >> costs.latency >> makespan;
      where = text;
      schedule = schedule_of(name, p, m);
      got = replay(schedule, costs);
      EXPECT_EQ(got.makespan, makespan) << where;
      rank = 0;
      ++cases;
    } else if (word == "busy") {
      EXPECT_EQ(got.busy, numbers<std::int64_t>(line)) << where;
    } else if (word == "peak") {
      EXPECT_EQ(got.peak_until_weight_grad, numbers<std::int64_t>(line)) << where;
    } else if (word == "order") {
      ASSERT_LT(rank, schedule.order.size());
      EXPECT_EQ("order " + in_letters(schedule.order[rank]), text) << where;
      ++orders;
    } else {
      ASSERT_EQ(word, "times");
      std::string times = "times";
      for (const PassTimes& t : got.passes[rank]) times += fmt::format(" {}-{}", t.start, t.end);
      EXPECT_EQ(times, text) << where << ", rank " << rank;
      ++rank;
    }
  }
  EXPECT_EQ(cases, 16);   // 4 (schedule, ranks, micro-batches) with 4 cost sets each
  EXPECT_EQ(orders, 40);  // 2 of the cost sets of each recorded: 2 · (4 + 4 + 8 + 4) ranks
}

// The closed forms of the literature, over a grid: idle (p − 1)(F + B) on every rank; GPipe holds m activations, 1F1B min(p − r, m).
TEST(Schedule, BubblesAndPeaksFollowTheClosedForms) {
  for (const std::int64_t p : {1, 2, 3, 4, 8, 16})
    for (const std::int64_t m : {1, 2, 3, 5, 8, 16, 33})
      for (const auto& [f, i, w] : {std::array<std::int64_t, 3>{1, 1, 1}, {2, 3, 2}, {10, 12, 8}})
        for (const std::string name : {"gpipe", "1f1b"}) {
          const Replay got = replay(schedule_of(name, p, m), {.forward = f, .input_grad = i, .weight_grad = w});
          for (std::int64_t r = 0; r < p; ++r) {
            const auto at = static_cast<std::size_t>(r);
            EXPECT_EQ(got.idle_in_makespan[at], (p - 1) * (f + i + w)) << name << " p=" << p << " m=" << m << " rank " << r;
            EXPECT_EQ(got.peak_until_weight_grad[at], name == "gpipe" ? m : std::min(p - r, m)) << name << " p=" << p << " m=" << m << " rank " << r;
          }
          // Rank 0 runs the first forward and the last backward, so its span is the makespan.
          EXPECT_EQ(got.idle_in_span[0], (p - 1) * (f + i + w));
        }
}

// Golden: F = 1, I = 1.2, W = 0.8 in tenths. 1F1B p = 8, m = 32: 32·3 + 7·3 = 117.0. GPipe p = 4, m = 8: 8·3 + 3·3 = 33.0.
TEST(Schedule, MakespansEqualThePublishedGoldenValues) {
  const PassCosts costs{.forward = 10, .input_grad = 12, .weight_grad = 8};
  EXPECT_EQ(replay(schedule_of("1f1b", 8, 32), costs).makespan, 1170);
  EXPECT_EQ(replay(schedule_of("gpipe", 4, 8), costs).makespan, 330);
}

// With a latency c between ranks that nothing hides, GPipe idles (p − 1)(F + B) + 2c(p − 1), and 1F1B (p − 1)(F + B) + 2c[(p − 1)·m/p + (p − 2)]:
// its pairs of F and B wait for each other once per p micro-batches.
TEST(Schedule, LatencyLengthensTheBubbleByItsClosedForm) {
  for (const std::int64_t p : {2, 3, 4, 8})
    for (const std::int64_t times : {1, 2, 4})
      for (const std::int64_t c : {1, 2, 5}) {
        const std::int64_t m = p * times;
        const PassCosts costs{.forward = 100, .input_grad = 120, .weight_grad = 80, .latency = c};
        const Replay got = replay(schedule_of("1f1b", p, m), costs);
        EXPECT_EQ(got.idle_in_makespan[0], (p - 1) * 300 + 2 * c * ((p - 1) * m / p + (p - 2))) << "p=" << p << " m=" << m << " c=" << c;
        EXPECT_EQ(replay(schedule_of("gpipe", p, m), costs).idle_in_makespan[0], (p - 1) * 300 + 2 * c * (p - 1))
            << "p=" << p << " m=" << m << " c=" << c;
      }
}

// (p − 1) / (m + p − 1) of the makespan, with equal stages: 15/31 for 16 stages and 16 micro-batches.
TEST(Schedule, BubbleFractionIsIdleShareOfTheMakespan) {
  EXPECT_DOUBLE_EQ(bubble_fraction(schedule_of("1f1b", 16, 16)), 15.0 / 31);
  EXPECT_DOUBLE_EQ(bubble_fraction(schedule_of("gpipe", 4, 8)), 3.0 / 11);
  EXPECT_DOUBLE_EQ(bubble_fraction(schedule_of("1f1b", 1, 5)), 0);
}

RC_GTEST_PROP(ScheduleProperty, EveryRankRunsEveryPassOnceForwardBeforeBackward, ()) {
  const auto p = *rc::gen::inRange<std::int64_t>(1, 20);
  const auto m = *rc::gen::inRange<std::int64_t>(1, 60);
  const std::string name = *rc::gen::elementOf(schedule_names());
  const PassOrder order = schedule_of(name, p, m).order;
  RC_ASSERT(order.size() == static_cast<std::size_t>(p));
  for (const auto& passes : order) {
    std::set<std::int32_t> forward, backward;
    for (const Pass& pass : passes) {
      if (pass.kind == PassKind::forward) {
        RC_ASSERT(forward.insert(pass.microbatch).second);
      } else {
        RC_ASSERT(forward.count(pass.microbatch) == 1U);
        RC_ASSERT(backward.insert(pass.microbatch).second);
      }
    }
    RC_ASSERT(forward.size() == static_cast<std::size_t>(m));
    RC_ASSERT(backward == forward);
  }
}

RC_GTEST_PROP(ScheduleProperty, NoScheduleBeatsItsCriticalPathOrItsBusyTime, ()) {
  const auto p = *rc::gen::inRange<std::int64_t>(1, 12);
  const auto m = *rc::gen::inRange<std::int64_t>(1, 40);
  const std::string name = *rc::gen::elementOf(schedule_names());
  PassCosts c;
  c.forward = *rc::gen::inRange<std::int64_t>(1, 50);
  c.input_grad = *rc::gen::inRange<std::int64_t>(1, 50);
  c.weight_grad = *rc::gen::inRange<std::int64_t>(0, 50);
  c.latency = *rc::gen::inRange<std::int64_t>(0, 20);
  const Replay got = replay(schedule_of(name, p, m), c);
  const std::int64_t whole = c.forward + c.input_grad + c.weight_grad;
  RC_ASSERT(got.makespan >= p * whole + 2 * (p - 1) * c.latency);               // one micro-batch there and back
  RC_ASSERT(got.makespan >= m * whole + (p - 1) * (c.forward + c.input_grad));  // the last rank's work, after its first input and before the way back
  for (const std::int64_t busy : got.busy) RC_ASSERT(busy == m * whole);
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
