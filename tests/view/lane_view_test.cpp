// Where things stand when one looks at lanes, and where one gets from there.
#include "gui/view/lane_view.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "view/timelines.h"

namespace orrery::view {
namespace {

using testing::any_timeline;
using testing::shared;
using testing::span;

Timeline two_ranks() {
  Timeline t;
  t.streams = {"compute", "tp"};
  t.ranks = {"pp0", "pp1"};
  t.kinds = testing::kinds_of_all_classes();
  // 0, 1, 2: compute of rank 0; 3: its tp; 4, 5: compute of rank 1
  t.spans = {span(0, 0, 0, 400'000),         span(0, 0, 400'000, 500'000),
             span(0, 0, 600'000, 1'000'000), span(0, 1, 380'000, 420'000, WorkClass::tp_comm),
             span(1, 0, 100'000, 300'000),   span(1, 0, 700'000, 900'000)};
  t.spans[5].waited = Picoseconds{400'000};
  t.spans[5].cause = WaitCause::pp;
  t.step = Picoseconds{1'000'000};
  return t;
}

std::shared_ptr<const SpanIndex> indexed(Timeline t) { return std::make_shared<const SpanIndex>(shared(std::move(t))); }

// A thousand picoseconds a pixel, and all rows in sight.
LaneView thousand() {
  LaneView view;
  view.resize(1000, 400);
  view.show(indexed(two_ranks()));
  return view;
}

TEST(LaneView, ShowsAllAtFirst) {
  const LaneView view = thousand();
  EXPECT_EQ(view.axis().range(), (TimeRange{Picoseconds{0}, Picoseconds{1'000'000}}));
  EXPECT_EQ(view.layout()->rows().size(), 3U);
  EXPECT_EQ(view.scroll_limit(), 0);
}

TEST(LaneView, ASpanIsWhereItsBoxIs) {
  const LaneView view = thousand();
  for (const SpanId id : {0U, 1U, 2U, 3U, 4U, 5U}) {
    const auto box = view.box_of({id, false});
    ASSERT_TRUE(box);
    EXPECT_EQ(view.span_at(box->x + box->width / 2, box->y + box->height / 2), (SpanAt{id, false}));
  }
  const auto box = view.box_of({1, false});
  EXPECT_DOUBLE_EQ(box->x, 400);
  EXPECT_DOUBLE_EQ(box->width, 100);
  // Below the names of the passes.
  EXPECT_EQ(box->y, view.layout()->rows()[0].y + kRibbon + 1);
  EXPECT_FALSE(view.box_of({99, false}));
  EXPECT_FALSE(view.box_of({0, true}));  // nothing lies over it
}

TEST(LaneView, BetweenSpansIsWhatWaits) {
  const LaneView view = thousand();
  const Row& row = view.layout()->rows()[2];
  EXPECT_FALSE(view.span_at(500, row.y + 5));
  EXPECT_EQ(view.waiting_at(500, row.y + 5), (SpanAt{5, false}));
  EXPECT_FALSE(view.waiting_at(950, row.y + 5));
}

TEST(LaneView, NeighboursAreBesideAndAbove) {
  const LaneView view = thousand();
  EXPECT_EQ(view.beside({0, false}, 1), (SpanAt{1, false}));
  EXPECT_EQ(view.beside({1, false}, -1), (SpanAt{0, false}));
  EXPECT_FALSE(view.beside({2, false}, 1));
  EXPECT_EQ(view.above({1, false}, 1), (SpanAt{3, false}));
  EXPECT_EQ(view.above({3, false}, 1), (SpanAt{4, false}));  // its middle, 400,000, is nearest to 300,000
  EXPECT_EQ(view.above({3, false}, -1), (SpanAt{1, false}));
  EXPECT_FALSE(view.above({4, false}, 1));
  EXPECT_EQ(view.first_in_sight(), (SpanAt{1, false}));  // 500,000 is the first picosecond that it does not hold
}

TEST(LaneView, WhatIsRevealedUnfoldsAndIsLongEnoughToBeSeen) {
  LaneView view = thousand();
  view.fold(0, false);
  EXPECT_EQ(view.layout()->rows().size(), 2U);
  EXPECT_FALSE(view.box_of({3, false}));
  view.reveal({3, false});
  EXPECT_TRUE(view.box_of({3, false}));
  view.set_folded({"tp"});
  view.reveal({3, false});
  EXPECT_TRUE(view.choice().folded.empty());

  Timeline t = two_ranks();
  t.spans[4].end = t.spans[4].start + Picoseconds{1000};  // a pixel
  view.show(indexed(t));
  view.reveal({4, false});
  EXPECT_GE(view.box_of({4, false})->width, 3);
  EXPECT_TRUE(view.axis().range().contains(t.spans[4].start));
}

TEST(LaneView, RanksFoldOneByOneOrAllWithOne) {
  LaneView view = thousand();
  view.fold(0, false);
  EXPECT_EQ(view.choice().collapsed, (std::set<std::uint32_t>{0}));
  view.fold(1, true);
  EXPECT_EQ(view.choice().collapsed, (std::set<std::uint32_t>{0, 1}));
  view.fold(0, true);
  EXPECT_TRUE(view.choice().collapsed.empty());
  view.fold(0, false);
  view.fold(0, false);
  EXPECT_TRUE(view.choice().collapsed.empty());
}

TEST(LaneView, MovesAtTheSameZoomToAPlaceAndToTheEnds) {
  LaneView view = thousand();
  view.axis().show({Picoseconds{200'000}, Picoseconds{300'000}});
  view.centre_on(Picoseconds{700'000});
  EXPECT_EQ(view.axis().range(), (TimeRange{Picoseconds{650'000}, Picoseconds{750'000}}));
  view.go_to(LaneView::End::end);
  EXPECT_EQ(view.axis().range(), (TimeRange{Picoseconds{900'000}, Picoseconds{1'000'000}}));
  view.go_to(LaneView::End::begin);
  EXPECT_EQ(view.axis().range(), (TimeRange{Picoseconds{0}, Picoseconds{100'000}}));
}

TEST(LaneView, AnotherTimelineKeepsTheRangeAsFarAsItReaches) {
  LaneView view = thousand();
  view.axis().show({Picoseconds{200'000}, Picoseconds{300'000}});
  Timeline longer = two_ranks();
  longer.step = Picoseconds{3'000'000};
  view.show(indexed(longer));
  EXPECT_EQ(view.axis().range(), (TimeRange{Picoseconds{200'000}, Picoseconds{300'000}}));
  view.axis().fit();
  view.show(indexed(two_ranks()));
  EXPECT_EQ(view.axis().range(), view.axis().whole());  // all stays all
}

TEST(LaneView, TheOneLaidOverHasRowsOfItsOwnAndMayReachFurther) {
  LaneView view = thousand();
  Timeline longer = two_ranks();
  longer.step = Picoseconds{3'000'000};
  view.lay_over(indexed(longer));
  EXPECT_EQ(view.layout()->rows().size(), 9U);  // each, the other, and how they differ
  EXPECT_EQ(view.axis().range().end, Picoseconds{3'000'000});
  const auto box = view.box_of({1, true});
  ASSERT_TRUE(box);
  EXPECT_EQ(view.span_at(box->x + 1, box->y + 1), (SpanAt{1, true}));
  EXPECT_EQ(view.above({1, false}, 1), (SpanAt{1, true}));
  EXPECT_EQ(view.beside({1, true}, 1), (SpanAt{2, true}));
  view.lay_over(nullptr);
  EXPECT_EQ(view.layout()->rows().size(), 3U);
  EXPECT_EQ(view.axis().range().end, Picoseconds{1'000'000});
}

TEST(LaneView, ManyRowsBeginCollapsed) {
  Timeline t;
  t.streams = {"compute", "tp"};
  t.kinds = testing::kinds_of_all_classes();
  t.step = Picoseconds{1'000'000};
  for (std::uint32_t rank = 0; rank < 40; ++rank) {
    t.ranks.push_back("r");
    t.spans.push_back(span(rank, 0, 0, 1000));
    t.spans.push_back(span(rank, 1, 0, 1000, WorkClass::tp_comm));
  }
  LaneView view;
  view.resize(800, 300);
  view.show(indexed(t));
  EXPECT_EQ(view.layout()->rows().size(), 40U);  // of 80
  EXPECT_GT(view.scroll_limit(), 0);
  view.scroll_to(1e9);
  EXPECT_EQ(view.scroll(), view.scroll_limit());
  view.reveal({0, false});
  EXPECT_EQ(view.scroll(), 0);
  view.reveal({79, false});  // the last row, folded away until now
  const auto box = view.box_of({79, false});
  EXPECT_GE(box->y, 0);
  EXPECT_LE(box->y + box->height, 300);
}

TEST(LaneView, OfNothingHasNothing) {
  LaneView view;
  view.resize(100, 100);
  EXPECT_FALSE(view.span_at(50, 50));
  EXPECT_FALSE(view.waiting_at(50, 50));
  EXPECT_FALSE(view.first_in_sight());
  view.reveal({0, false});
  view.fit({0, true});
  view.show(indexed(two_ranks()));
  view.show(nullptr);
  EXPECT_TRUE(view.layout()->rows().empty());
  EXPECT_FALSE(view.has({0, false}));
}

// Wherever one looks: what is revealed is in sight, with at least three pixels unless it has no length, and is found where it stands.
RC_GTEST_PROP(LaneViewLaw, WhatIsRevealedIsFoundWhereItStands, ()) {
  Timeline t = any_timeline({{0, 0, *rc::gen::inRange(1, 200)}, {0, 1, *rc::gen::inRange(1, 50)}, {3, 0, *rc::gen::inRange(1, 100)}});
  LaneView view;
  view.resize(*rc::gen::inRange(150, 2000), *rc::gen::inRange(60, 900));
  view.show(indexed(t));
  view.axis().zoom(*rc::gen::inRange(0, 50), std::pow(2.0, *rc::gen::inRange(0, 12)));
  view.scroll_to(*rc::gen::inRange(0, 300));
  const auto id = static_cast<SpanId>(*rc::gen::inRange<std::size_t>(0, t.spans.size()));
  const Span& s = t.spans[id];
  if (s.end == s.start || t.kinds[s.kind].work == WorkClass::control) return;
  view.reveal({id, false});
  const auto box = view.box_of({id, false});
  if (!box) return;  // its stream did nothing but wait
  RC_ASSERT(box->x + box->width > 0 && box->x < view.width());
  RC_ASSERT(box->width >= 3 || view.axis().range().length() <= TimeAxis::kClosest + Picoseconds{1});
  RC_ASSERT(box->y + box->height > 0 && box->y < view.height());
  if (box->width < 3) return;  // less than a pixel at the closest zoom: a longer one beside it may be nearer to the pixel's middle
  const double x = std::clamp(box->x + box->width / 2, 0.0, view.width() - 1);
  RC_ASSERT(view.span_at(x, std::clamp(box->y + box->height / 2, 0.0, view.height() - 1)) == (SpanAt{id, false}));
}

}  // namespace
}  // namespace orrery::view
