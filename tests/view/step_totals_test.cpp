// Where the time of a step went.
#include "gui/view/step_totals.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <numeric>

#include "view/timelines.h"

namespace orrery::view {
namespace {

using testing::any_timeline;
using testing::shared;
using testing::span;

Timeline two_ranks() {
  Timeline t;
  t.streams = {"compute", "tp"};
  t.ranks = {"pp0", "pp1, the \"last\""};
  t.weights = {3, 1};
  t.kinds = testing::kinds_of_all_classes();
  t.spans = {span(0, 0, 0, 40), span(0, 1, 0, 10, WorkClass::tp_comm), span(1, 0, 60, 100)};
  t.spans[2].waited = Picoseconds{20};
  t.spans[2].cause = WaitCause::pp;
  t.step = Picoseconds{100};
  return t;
}

TEST(StepTotals, AreTheMeanOfAllRanksThatThereAre) {
  const SpanIndex index(shared(two_ranks()));
  const MeanTotals mean = mean_of_ranks(index);
  EXPECT_DOUBLE_EQ(mean.work[0], 40);  // 40 of each; tp's stream does not count
  EXPECT_DOUBLE_EQ(mean.waiting, 5);   // 20 of one rank in four
  EXPECT_DOUBLE_EQ(mean.idle, 55);     // 60 of three, 40 of one
  const MeanTotals half = mean_of_ranks(index, TimeRange{Picoseconds{0}, Picoseconds{50}});
  EXPECT_DOUBLE_EQ(half.work[0], 30);   // 40 of three, none of one
  EXPECT_DOUBLE_EQ(half.waiting, 2.5);  // from 40 on, of one
}

TEST(StepTotals, AreATableOfLanes) {
  const SpanIndex index(shared(two_ranks()));
  EXPECT_EQ(totals_csv(index),
            "rank,name,ranks_like_it,stream,what,seconds\n"
            "0,pp0,3,compute,matrix products,4e-11\n"
            "0,pp0,3,tp,tp,1e-11\n"
            "1,\"pp1, the \"\"last\"\"\",1,compute,matrix products,4e-11\n"
            "1,\"pp1, the \"\"last\"\"\",1,compute,waiting,2e-11\n");
}

TEST(StepTotals, OfNothingAreNothing) {
  const SpanIndex index(shared(Timeline{}));
  EXPECT_EQ(mean_of_ranks(index), MeanTotals{});
}

RC_GTEST_PROP(StepTotalsLaw, PartsAddUpToTheRange, ()) {
  const Timeline t = any_timeline({{0, 0, *rc::gen::inRange(1, 100)}, {1, 0, *rc::gen::inRange(1, 100)}, {1, 1, 20}});
  const SpanIndex index(shared(t));
  const auto begin = *rc::gen::inRange<std::int64_t>(-2000, t.step.v);
  const TimeRange range{Picoseconds{begin}, Picoseconds{*rc::gen::inRange<std::int64_t>(begin + 1, t.step.v + 2000)}};
  const MeanTotals mean = mean_of_ranks(index, range);
  const double sum = std::accumulate(mean.work.begin(), mean.work.end(), mean.waiting + mean.idle);
  bool any = false;
  for (const auto& lane : index.lanes()) any = any || (lane.compute && lane.works);
  const auto whole = static_cast<double>(range.length().v);
  RC_ASSERT(std::abs(sum - (any ? whole : 0)) <= whole * 1e-6);
}

}  // namespace
}  // namespace orrery::view
