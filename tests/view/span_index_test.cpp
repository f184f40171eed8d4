// What the index shows of a timeline, against looking at every span.
#include "gui/view/span_index.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "view/timelines.h"

namespace orrery::view {
namespace {

using testing::any_timeline;
using testing::shared;
using testing::span;

Timeline by_hand(std::vector<Span> spans, std::int64_t step) {
  Timeline t;
  t.streams = {"compute", "tp"};
  t.ranks = {"pp0", "pp1"};
  t.kinds = testing::kinds_of_all_classes();
  t.spans = std::move(spans);
  t.step = Picoseconds{step};
  return t;
}

// Brute force: of every time slot of [begin, end) of a lane what it was for, picosecond by picosecond in principle, by overlap in fact.
Totals brute_totals(const Timeline& t, std::uint32_t rank, std::uint16_t stream, TimeRange range, bool waits_on_all = true) {
  Totals result;
  const auto overlap = [&](std::int64_t a, std::int64_t b) {
    return Picoseconds{std::max<std::int64_t>(0, std::min(b, range.end.v) - std::max(a, range.begin.v))};
  };
  bool first = true;
  for (const Span& s : t.spans) {
    if (s.rank != rank || s.stream != stream) continue;
    const std::int64_t waited = first ? std::max<std::int64_t>(0, std::min(s.waited.v, s.start.v)) : s.waited.v;
    first = false;
    const auto cause = static_cast<std::size_t>(s.cause);
    if (stream == 0 || waits_on_all) result.waiting[cause] += overlap(s.start.v - waited, s.start.v);
    const SpanKind& kind = t.kinds[s.kind];
    const Picoseconds own = overlap(s.start.v, s.end.v);
    if (kind.work == WorkClass::control) {
      if (stream == 0 || waits_on_all) result.waiting[cause] += own;
    } else if (s.recompute && !is_communication(kind.work)) {
      result.work[kRecomputeSlot] += own;
    } else {
      result.work[static_cast<std::size_t>(hue(kind.work))] += own;
    }
  }
  return result;
}

TEST(SpanIndex, SplitsATimelineIntoLanes) {
  const SpanIndex index(shared(by_hand({span(0, 0, 0, 10), span(0, 0, 10, 30), span(0, 1, 5, 9, WorkClass::tp_comm), span(1, 0, 40, 50)}, 60)));
  ASSERT_EQ(index.lanes().size(), 3U);
  EXPECT_EQ(index.lane_of(0, 1), 1U);
  EXPECT_EQ(index.lane_of(1, 1), std::nullopt);
  EXPECT_EQ(index.lanes()[0].totals.busy().v, 30);
  EXPECT_TRUE(index.lanes()[0].compute);
  EXPECT_FALSE(index.lanes()[1].compute);
  EXPECT_EQ(index.whole(), (TimeRange{Picoseconds{0}, Picoseconds{60}}));
}

TEST(SpanIndex, AnEmptyTimelineIsAnIndexToo) {
  const SpanIndex index(shared(Timeline{}));
  EXPECT_TRUE(index.lanes().empty());
  EXPECT_TRUE(index.whole().empty());
  EXPECT_EQ(index.density(4).size(), 4U);
}

TEST(SpanIndex, SpansOfHalfAPixelAreRunsAndSmallerOnesAreMixed) {
  // 100 pixels of 1000 ps: a span of 20 pixels; in pixel 30 spans of 200, 100 and 100 ps.
  std::vector<Span> spans{span(0, 0, 0, 20'000), span(0, 0, 30'100, 30'300), span(0, 0, 30'600, 30'700),
                          span(0, 0, 30'700, 30'800, WorkClass::tp_comm)};
  const SpanIndex index(shared(by_hand(spans, 100'000)));
  Visible seen;
  index.visible(0, TimeAxis(index.whole(), 100), seen);
  ASSERT_EQ(seen.runs.size(), 1U);
  EXPECT_EQ(seen.runs[0].x0, 0);
  EXPECT_EQ(seen.runs[0].x1, 20);
  ASSERT_EQ(seen.columns.size(), 1U);
  EXPECT_EQ(seen.columns[0].x0, 30);
  EXPECT_EQ(seen.columns[0].mix.share[static_cast<std::size_t>(Hue::gemm)], 77);  // 0.3 x 255 = 76.5
  EXPECT_EQ(seen.columns[0].mix.share[static_cast<std::size_t>(Hue::tp)], 26);    // 0.1 x 255 = 25.5
}

TEST(SpanIndex, WaitsOfTheComputeStreamAreGaps) {
  std::vector<Span> spans{span(0, 0, 0, 20'000), span(0, 0, 50'000, 90'000)};
  spans[1].waited = Picoseconds{25'000};  // idle since 20,000; the instruction was the next from 25,000 on
  spans[1].cause = WaitCause::pp;
  const SpanIndex index(shared(by_hand(spans, 100'000)));
  Visible seen;
  index.visible(0, TimeAxis(index.whole(), 100), seen);
  ASSERT_EQ(seen.gaps.size(), 1U);
  EXPECT_EQ(seen.gaps[0].x0, 25);
  EXPECT_EQ(seen.gaps[0].x1, 50);
  EXPECT_EQ(seen.gaps[0].before, 1U);
  EXPECT_EQ(index.waiting(0, Picoseconds{30'000}), 1U);
  EXPECT_EQ(index.waiting(0, Picoseconds{22'000}), kNoSpan);
  EXPECT_EQ(index.waiting(0, Picoseconds{10'000}), kNoSpan);
  EXPECT_EQ(index.wait_before(1), (TimeRange{Picoseconds{25'000}, Picoseconds{50'000}}));
}

TEST(SpanIndex, PassesAreThoseOfTheComputeStream) {
  Timeline t = by_hand({span(0, 0, 0, 10), span(0, 0, 10, 20), span(0, 1, 0, 5, WorkClass::tp_comm), span(1, 0, 0, 10)}, 60);
  t.spans[1].pass = 1;
  const SpanIndex index(shared(std::move(t)));
  EXPECT_EQ(index.passes(0).size(), 2U);
  EXPECT_TRUE(index.passes(1).empty());
  EXPECT_EQ(index.passes(2).size(), 1U);
}

TEST(SpanIndex, ArrowsAreFoundAtBothEnds) {
  Timeline t = by_hand({span(0, 0, 0, 10), span(0, 0, 10, 20), span(1, 0, 20, 40), span(1, 0, 50, 60)}, 60);
  t.flows = {{1, 2}, {0, 2}, {0, 3}};  // not in order
  const SpanIndex index(shared(std::move(t)));
  EXPECT_EQ(index.flows_of(0), (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(index.flows_of(2), (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(index.flows_of(3), (std::vector<std::uint32_t>{2}));
}

TEST(SpanIndex, DensityWeighsRanksByHowManyTheyStandFor) {
  Timeline t = by_hand({span(0, 0, 0, 50'000), span(1, 0, 50'000, 100'000)}, 100'000);
  t.weights = {3, 1};
  const SpanIndex index(shared(std::move(t)));
  const std::vector<Mix> density = index.density(2);
  EXPECT_EQ(density[0].share[0], 191);  // three quarters of 255
  EXPECT_EQ(density[1].share[0], 64);
}

// A trace that somebody edited: no order, overlaps, absurd times. Nothing of it is undefined (the sanitizers look on), and what is there is found.
TEST(SpanIndex, SpansInAnyOrderAreFound) {
  std::vector<Span> spans{span(1, 0, 40, 50), span(0, 0, 10, 30), span(0, 0, 0, 15), span(0, 1, 5, 9, WorkClass::tp_comm)};
  spans.push_back(span(1, 1, INT64_MIN, INT64_MAX, WorkClass::dp_comm));
  spans.back().waited = Picoseconds{INT64_MAX};
  const SpanIndex index(shared(by_hand(spans, INT64_MAX)));
  ASSERT_EQ(index.lanes().size(), 4U);
  EXPECT_EQ(index.hit(*index.lane_of(0, 0), Picoseconds{3}), 2U);
  EXPECT_EQ(index.hit(*index.lane_of(0, 0), Picoseconds{20}), 1U);
  EXPECT_EQ(index.next(2), 1U);
  EXPECT_EQ(index.previous(1), 2U);
  EXPECT_EQ(index.hit(*index.lane_of(1, 1), Picoseconds{77}), 4U);
  Visible seen;
  for (std::size_t l = 0; l < 4; ++l) index.visible(l, TimeAxis(index.whole(), 100), seen);
  for (std::size_t l = 0; l < 4; ++l) index.totals(l, index.whole());
}

RC_GTEST_PROP(SpanIndexLaw, TotalsOfARangeAreThoseOfItsSpans, ()) {
  const Timeline t = any_timeline({{0, 0, *rc::gen::inRange(0, 200)}, {0, 1, *rc::gen::inRange(0, 100)}});
  const SpanIndex index(shared(t));
  const auto begin = *rc::gen::inRange<std::int64_t>(-2000, t.step.v + 1);
  const TimeRange range{Picoseconds{begin}, Picoseconds{*rc::gen::inRange<std::int64_t>(begin, t.step.v + 2000)}};
  for (std::size_t l = 0; l < index.lanes().size(); ++l) {
    const auto& lane = index.lanes()[l];
    RC_ASSERT(index.totals(l, range) == brute_totals(t, lane.rank, lane.stream, range));
    RC_ASSERT(lane.totals == brute_totals(t, lane.rank, lane.stream, {Picoseconds{-1'000'000'000}, Picoseconds{INT64_MAX / 2}}));
  }
}

// Whatever the zoom, what is shown adds up to what is there: columns by their shares, runs and gaps by their pixels. And there is at most one of each
// a pixel.
RC_GTEST_PROP(SpanIndexLaw, NoZoomLosesTime, ()) {
  const Timeline t = any_timeline({{0, 0, *rc::gen::inRange(1, 6000)}, {0, 1, *rc::gen::inRange(1, 2000)}});
  const SpanIndex index(shared(t));
  const int width = *rc::gen::inRange(20, 500);
  TimeAxis axis(index.whole(), width);
  axis.zoom(*rc::gen::inRange(0, width), std::pow(2.0, *rc::gen::inRange(0, 12)));
  const double pixel = static_cast<double>(axis.range().length().v) / width;
  Visible seen;
  for (std::size_t l = 0; l < index.lanes().size(); ++l) {
    const auto& lane = index.lanes()[l];
    index.visible(l, axis, seen);
    const Totals expected = brute_totals(t, lane.rank, lane.stream, axis.range(), false);
    std::array<double, kSlots> found{};
    double waiting = 0;
    std::vector<int> columns(static_cast<std::size_t>(width)), runs(columns);
    for (const Column& c : seen.columns) {
      RC_ASSERT(c.x0 < c.x1 && c.x0 >= 0 && c.x1 <= width);
      for (int x = c.x0; x < c.x1; ++x) RC_ASSERT(++columns[static_cast<std::size_t>(x)] == 1);
      for (std::size_t s = 0; s < kSlots; ++s) found[s] += c.mix.share[s] / 255.0 * (c.x1 - c.x0) * pixel;
      waiting += c.mix.waiting / 255.0 * (c.x1 - c.x0) * pixel;
    }
    for (const Run& r : seen.runs) {
      for (int x = r.x0; x < r.x1; ++x) RC_ASSERT(++runs[static_cast<std::size_t>(x)] == 1);
      found[slot(t.kinds[t.spans[r.span].kind].work, t.spans[r.span].recompute)] += (r.x1 - r.x0) * pixel;
    }
    for (const Gap& g : seen.gaps) waiting += (g.x1 - g.x0) * pixel;
    // Each of them is wrong by at most a pixel at either end, or by rounding a share: to a 255th, or up to the first of them.
    const double slack = pixel * (2 + static_cast<double>(seen.runs.size() + seen.gaps.size()) + static_cast<double>(seen.columns.size()) / 100.0) +
                         pixel * static_cast<double>(std::min<std::size_t>(seen.columns.size(), 4));
    for (std::size_t s = 0; s < kSlots; ++s) RC_ASSERT(std::abs(found[s] - static_cast<double>(expected.work[s].v)) <= slack);
    RC_ASSERT(std::abs(waiting - static_cast<double>(expected.waited().v)) <= slack);
  }
}

// Where the pyramid is used, each of its buckets says what brute force says of that stretch.
RC_GTEST_PROP(SpanIndexLaw, EveryBucketIsTheMixOfItsStretch, ()) {
  const Timeline t = any_timeline({{0, 0, *rc::gen::inRange(2000, 5000)}}, 2'000);
  const SpanIndex index(shared(t));
  const int width = *rc::gen::inRange(20, 200);
  const TimeAxis axis(index.whole(), width);
  Visible seen;
  index.visible(0, axis, seen);
  RC_ASSERT(!seen.columns.empty());
  // A bucket is the power of two of picoseconds that is one to two pixels long.
  const double pixel = static_cast<double>(axis.range().length().v) / width;
  std::int64_t bucket = 1;
  while (static_cast<double>(bucket) < pixel) bucket *= 2;
  if (!seen.runs.empty()) return;
  for (const Column& c : seen.columns) {
    const std::int64_t middle = axis.time((c.x0 + c.x1) / 2.0).v;
    const std::int64_t begin = (middle < 0 ? (middle - bucket + 1) / bucket : middle / bucket) * bucket;
    const Totals expected = brute_totals(t, 0, 0, {Picoseconds{begin}, Picoseconds{begin + bucket}}, false);
    for (std::size_t s = 0; s < kSlots; ++s) {
      const double share = static_cast<double>(expected.work[s].v) / static_cast<double>(bucket) * 255;
      RC_ASSERT(std::abs(c.mix.share[s] - share) <= 1.0);
      RC_ASSERT((c.mix.share[s] > 0) == (expected.work[s].v > 0));
    }
  }
}

RC_GTEST_PROP(SpanIndexLaw, HitFindsTheSpanUnderTheTimeOrTheLongestNearby, ()) {
  const Timeline t = any_timeline({{0, 0, *rc::gen::inRange(1, 200)}});
  const SpanIndex index(shared(t));
  const Picoseconds time{*rc::gen::inRange<std::int64_t>(-1000, t.step.v + 1000)};
  const Picoseconds tolerance{*rc::gen::element<std::int64_t>(0, 100, 5000)};
  SpanId inside = kNoSpan, nearest = kNoSpan;
  std::int64_t longest = 0, least = INT64_MAX;
  for (SpanId i = 0; i < t.spans.size(); ++i) {
    const Span& s = t.spans[i];
    if (t.kinds[s.kind].work == WorkClass::control || s.start == s.end) continue;
    if (s.start <= time && time < s.end) inside = i;
    if (s.start.v <= time.v + tolerance.v && s.end.v > time.v - tolerance.v) longest = std::max(longest, s.end.v - s.start.v);
    const std::int64_t distance = s.start > time ? s.start.v - time.v : s.end <= time ? time.v - s.end.v + 1 : 0;
    if (distance < least) {
      least = distance;
      nearest = i;
    }
  }
  const SpanId hit = index.hit(0, time, tolerance);
  if (inside != kNoSpan) {
    RC_ASSERT(hit == inside);
  } else {
    RC_ASSERT((hit == kNoSpan) == (longest == 0));
    if (hit != kNoSpan) RC_ASSERT(t.spans[hit].end.v - t.spans[hit].start.v == longest);
  }
  const SpanId near = index.nearest(0, time);
  RC_ASSERT((near == kNoSpan) == (nearest == kNoSpan));
  if (near != kNoSpan) {
    const Span& s = t.spans[near];
    const std::int64_t distance = s.start > time ? s.start.v - time.v : s.end <= time ? time.v - s.end.v + 1 : 0;
    RC_ASSERT(distance == least);
  }
}

RC_GTEST_PROP(SpanIndexLaw, WaitingIsTheSpanWhoseWaitHoldsTheTime, ()) {
  const Timeline t = any_timeline({{0, 0, *rc::gen::inRange(1, 100)}});
  const SpanIndex index(shared(t));
  const Picoseconds time{*rc::gen::inRange<std::int64_t>(0, t.step.v + 1)};
  SpanId expected = kNoSpan;
  for (SpanId i = 0; i < t.spans.size(); ++i) {
    const Span& s = t.spans[i];
    const bool control = t.kinds[s.kind].work == WorkClass::control;
    if ((s.start - s.waited <= time && time < s.start) || (control && s.start <= time && time < s.end)) expected = i;
  }
  RC_ASSERT(index.waiting(0, time) == expected);
}

RC_GTEST_PROP(SpanIndexLaw, NextAndPreviousWalkTheLane, ()) {
  const Timeline t = any_timeline({{0, 0, *rc::gen::inRange(1, 60)}, {1, 0, *rc::gen::inRange(1, 60)}});
  const SpanIndex index(shared(t));
  std::vector<SpanId> expected;
  for (SpanId i = 0; i < t.spans.size(); ++i)
    if (t.spans[i].rank == 0 && t.spans[i].end > t.spans[i].start && t.kinds[t.spans[i].kind].work != WorkClass::control) expected.push_back(i);
  if (expected.empty()) return;
  std::vector<SpanId> forward{expected.front()};
  while (index.next(forward.back()) != kNoSpan) forward.push_back(index.next(forward.back()));
  RC_ASSERT(forward == expected);
  std::vector<SpanId> back{expected.back()};
  while (index.previous(back.back()) != kNoSpan) back.push_back(index.previous(back.back()));
  std::reverse(back.begin(), back.end());
  RC_ASSERT(back == expected);
}

// The same spans in another order are the same lanes.
RC_GTEST_PROP(SpanIndexLaw, OrderDoesNotMatter, ()) {
  Timeline t = any_timeline({{0, 0, *rc::gen::inRange(1, 400)}, {1, 1, *rc::gen::inRange(1, 100)}});
  std::erase_if(t.spans, [](const Span& s) { return s.start == s.end; });  // of those at the same time either may come first
  Timeline mixed = t;
  std::reverse(mixed.spans.begin(), mixed.spans.end());
  const SpanIndex a(shared(t)), b(shared(mixed));
  const auto last = static_cast<SpanId>(t.spans.size() - 1);
  RC_ASSERT(a.lanes().size() == b.lanes().size());
  TimeAxis axis(a.whole(), 100);
  Visible va, vb;
  for (std::size_t l = 0; l < a.lanes().size(); ++l) {
    RC_ASSERT(a.lanes()[l].totals == b.lanes()[l].totals);
    a.visible(l, axis, va);
    b.visible(l, axis, vb);
    RC_ASSERT(va.runs.size() == vb.runs.size() && va.columns.size() == vb.columns.size() && va.gaps.size() == vb.gaps.size());
    for (std::size_t i = 0; i < va.runs.size(); ++i) RC_ASSERT(va.runs[i].span == last - vb.runs[i].span);
    for (std::size_t i = 0; i < va.columns.size(); ++i) RC_ASSERT(va.columns[i].mix == vb.columns[i].mix);
  }
}

}  // namespace
}  // namespace orrery::view
