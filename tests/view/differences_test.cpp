// Two timelines of the same instructions.
#include "gui/view/differences.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "view/timelines.h"

namespace orrery::view {
namespace {

using testing::span;

std::shared_ptr<const SpanIndex> indexed(Timeline t) { return std::make_shared<const SpanIndex>(testing::shared(std::move(t))); }

Timeline one_lane(std::vector<Span> spans) {
  Timeline t;
  t.streams = {"compute"};
  t.ranks = {"pp0"};
  t.kinds = testing::kinds_of_all_classes();
  for (std::size_t i = 0; i < spans.size(); ++i) spans[i].instruction = static_cast<std::uint16_t>(i);
  t.spans = std::move(spans);
  t.step = Picoseconds{100'000};
  return t;
}

TEST(Differences, SayHowMuchLaterAndLonger) {
  const Differences d(indexed(one_lane({span(0, 0, 0, 10'000), span(0, 0, 10'000, 20'000)})),
                      indexed(one_lane({span(0, 0, 0, 20'000), span(0, 0, 21'000, 26'000)})));
  EXPECT_EQ(d.matched(), 2U);
  EXPECT_EQ(d.delta(0).longer.v, 10'000);
  EXPECT_EQ(d.delta(0).later.v, 0);
  EXPECT_EQ(d.delta(1).longer.v, -5'000);
  EXPECT_EQ(d.delta(1).later.v, 11'000);
  EXPECT_EQ(d.tint(0).longer, 127);   // twice as long
  EXPECT_EQ(d.tint(1).longer, -127);  // half
  EXPECT_EQ(d.tint(1).later, 127);    // 11 % of the step: more than a twentieth
  std::vector<TintColumn> seen;
  d.visible(0, TimeAxis({Picoseconds{0}, Picoseconds{100'000}}, 100), seen);
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].x1, 10);
  EXPECT_EQ(seen[1].x0, 10);
  EXPECT_EQ(seen[1].x1, 20);
}

TEST(Differences, WhatOnlyOneOfThemDidHasNone) {
  Timeline other = one_lane({span(0, 0, 0, 20'000), span(0, 0, 21'000, 26'000)});
  other.spans[1].pass = 7;
  const Differences d(indexed(one_lane({span(0, 0, 0, 10'000), span(0, 0, 10'000, 20'000)})), indexed(std::move(other)));
  EXPECT_EQ(d.matched(), 1U);
  EXPECT_EQ(d.match(1), kNoSpan);
  EXPECT_EQ(d.match_of_other(1), kNoSpan);
  EXPECT_FALSE(d.tint(1).known);
}

// Another order of execution, spans that are missing: matched as a map from addresses to spans would.
RC_GTEST_PROP(DifferencesLaw, MatchesAreThoseOfTheSameAddress, ()) {
  const Timeline a = testing::any_timeline({{0, 0, *rc::gen::inRange(1, 300)}, {1, 2, *rc::gen::inRange(1, 100)}});
  Timeline b = a;
  std::swap(b.streams[2], b.streams[3]);  // the same stream has another number there
  for (Span& s : b.spans)
    if (s.stream == 2) s.stream = 3;
  std::vector<Span> kept;
  std::int64_t at = 0;
  const int every = *rc::gen::inRange(2, 9);
  for (std::size_t i = 0; i < b.spans.size(); ++i) {
    if (i % static_cast<std::size_t>(every) == 1) continue;
    Span s = b.spans[i];
    const std::int64_t length = (s.end - s.start).v * 2;
    s.start = Picoseconds{at};
    s.end = Picoseconds{at + length};
    at += length + 3;
    kept.push_back(s);
  }
  b.spans = kept;
  using Address = std::tuple<std::uint32_t, std::string, std::uint32_t, std::uint16_t>;
  std::map<Address, SpanId> there;
  for (SpanId i = 0; i < b.spans.size(); ++i) there[{b.spans[i].rank, b.streams[b.spans[i].stream], b.spans[i].pass, b.spans[i].instruction}] = i;
  const Differences d(indexed(a), indexed(b));
  std::size_t matched = 0;
  for (SpanId i = 0; i < a.spans.size(); ++i) {
    const auto found = there.find({a.spans[i].rank, a.streams[a.spans[i].stream], a.spans[i].pass, a.spans[i].instruction});
    RC_ASSERT(d.match(i) == (found == there.end() ? kNoSpan : found->second));
    if (found == there.end()) continue;
    ++matched;
    RC_ASSERT(d.match_of_other(found->second) == i);
  }
  RC_ASSERT(d.matched() == matched);
}

// Where all took 1.5 times as long, every column of every zoom says so: log2(1.5) x 127 = 74.
RC_GTEST_PROP(DifferencesLaw, AnEvenSlowdownIsTheSameTintAtEveryZoom, ()) {
  Timeline a = testing::any_timeline({{0, 0, *rc::gen::inRange(500, 3000)}});
  for (Span& s : a.spans) {  // multiples of 1000, so that rounding is small
    s.start = Picoseconds{s.start.v * 1000};
    s.end = Picoseconds{s.end.v * 1000};
  }
  a.step = Picoseconds{a.step.v * 1000};
  Timeline b = a;
  for (Span& s : b.spans) {
    s.start = Picoseconds{s.start.v / 2 * 3};
    s.end =
        s.start +
        Picoseconds{(a.spans[static_cast<std::size_t>(&s - b.spans.data())].end - a.spans[static_cast<std::size_t>(&s - b.spans.data())].start).v /
                    2 * 3};
  }
  const auto index = indexed(a);
  const Differences d(index, indexed(b));
  TimeAxis axis(index->whole(), *rc::gen::inRange(20, 800));
  axis.zoom(*rc::gen::inRange(0, static_cast<int>(axis.width())), std::pow(2.0, *rc::gen::inRange(0, 10)));
  std::vector<TintColumn> seen;
  d.visible(0, axis, seen);
  std::int32_t last = 0;
  for (const TintColumn& c : seen) {
    RC_ASSERT(c.x0 >= last && c.x1 > c.x0);
    last = c.x1;
    RC_ASSERT(std::abs(c.tint.longer - 74) <= 1);
  }
}

}  // namespace
}  // namespace orrery::view
