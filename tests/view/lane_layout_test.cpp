// Which lanes stand where.
#include "gui/view/lane_layout.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "view/timelines.h"

namespace orrery::view {
namespace {

using testing::shared;
using testing::span;

Timeline two_ranks() {
  Timeline t;
  t.streams = {"compute", "tp", "dp"};
  t.ranks = {"pp0", "pp1"};
  t.kinds = testing::kinds_of_all_classes();
  t.spans = {span(0, 0, 0, 10), span(0, 1, 0, 10, WorkClass::tp_comm), span(0, 2, 0, 10, WorkClass::control), span(1, 0, 0, 10),
             span(1, 2, 3, 5, WorkClass::dp_comm)};
  t.step = Picoseconds{20};
  return t;
}

std::vector<std::string> words(const LaneLayout& layout) {
  std::vector<std::string> result;
  for (const Row& r : layout.rows()) {
    const char* kind = r.kind == RowKind::lane ? "" : r.kind == RowKind::other ? " other" : " difference";
    result.push_back(std::to_string(r.rank) + " " + r.stream + kind);
  }
  return result;
}
using Words = std::vector<std::string>;

TEST(LaneLayout, ShowsTheStreamsThatDidSomething) {
  const SpanIndex index(shared(two_ranks()));
  const LaneLayout layout(index, nullptr, {});
  EXPECT_EQ(words(layout), (Words{"0 compute", "0 tp", "1 compute", "1 dp"}));  // rank 0's dp stream only waited
  EXPECT_EQ(layout.streams(), (Words{"compute", "tp", "dp"}));
  EXPECT_TRUE(layout.rows()[0].first_of_rank);
  EXPECT_FALSE(layout.rows()[1].first_of_rank);
  // 20 + 2 + 13 + 7 + 20 + 2 + 13
  EXPECT_EQ(layout.height(), 77);
  EXPECT_EQ(layout.rows()[2].y, 42);
}

TEST(LaneLayout, RanksCollapseAndStreamsFold) {
  const SpanIndex index(shared(two_ranks()));
  LayoutChoice choice;
  choice.collapsed = {1};
  EXPECT_EQ(words(LaneLayout(index, nullptr, choice)), (Words{"0 compute", "0 tp", "1 compute"}));
  choice.folded = {"tp"};
  EXPECT_EQ(words(LaneLayout(index, nullptr, choice)), (Words{"0 compute", "1 compute"}));
  EXPECT_EQ(LaneLayout(index, nullptr, choice).streams().size(), 3U);
}

TEST(LaneLayout, ASecondTimelineStandsUnderTheFirstWithTheDifferences) {
  const SpanIndex index(shared(two_ranks()));
  Timeline t = two_ranks();
  t.streams = {"compute", "host", "tp"};  // other numbers for the same names
  t.spans = {span(0, 0, 0, 10), span(0, 1, 0, 10), span(0, 2, 0, 10, WorkClass::tp_comm)};
  const SpanIndex over(shared(std::move(t)));
  EXPECT_EQ(words(LaneLayout(index, &over, {})), (Words{"0 compute", "0 compute other", "0 compute difference", "0 tp", "0 tp other",
                                                        "0 tp difference", "0 host other", "1 compute", "1 dp"}));
}

TEST(LaneLayout, GrowsToFillWhatIsThere) {
  const SpanIndex index(shared(two_ranks()));
  LayoutChoice choice;
  choice.available = 110;  // 11 of gaps, 66 of rows: 99 / 66 = 1.5 times as tall: 30 and 19
  const LaneLayout layout(index, nullptr, choice);
  EXPECT_EQ(layout.rows()[0].height, 30);
  EXPECT_EQ(layout.rows()[1].height, 19);
  choice.available = 1000;
  EXPECT_EQ(LaneLayout(index, nullptr, choice).rows()[0].height, 40);  // twice, no more
}

RC_GTEST_PROP(LaneLayoutLaw, RowsAreFoundWhereTheyStand, ()) {
  std::vector<testing::LaneSpec> lanes;
  for (std::uint32_t r = 0; r < 4; ++r)
    for (std::uint16_t s = 0; s < 4; ++s)
      if (*rc::gen::arbitrary<bool>()) lanes.push_back({r, s, 20});
  const SpanIndex index(shared(testing::any_timeline(lanes)));
  LayoutChoice choice;
  choice.available = *rc::gen::inRange(0, 800);
  const LaneLayout layout(index, nullptr, choice);
  double end = 0;
  for (std::size_t i = 0; i < layout.rows().size(); ++i) {
    const Row& row = layout.rows()[i];
    RC_ASSERT(row.y >= end && row.height >= 1);
    end = row.y + row.height;
    RC_ASSERT(layout.row_at(row.y) == i && layout.row_at(end - 0.5) == i && layout.row_at(end + 0.5) != i);
    RC_ASSERT(layout.row_of(RowKind::lane, *row.lane) == i);
  }
  RC_ASSERT(layout.height() == end);
  const double y0 = *rc::gen::inRange(-50, 900), y1 = y0 + *rc::gen::inRange(1, 900);
  const auto [first, last] = layout.rows_between(y0, y1);
  for (std::size_t i = 0; i < layout.rows().size(); ++i) {
    const Row& row = layout.rows()[i];
    RC_ASSERT((row.y < y1 && row.y + row.height > y0) == (first <= i && i < last));
  }
}

}  // namespace
}  // namespace orrery::view
