// Names in one line.
#include "gui/view/name_line.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

namespace orrery::view {
namespace {

TEST(NameLine, StandsApartWhereThereIsRoom) {
  const auto places = line_up({40, 60}, 16, 500);
  ASSERT_EQ(places.size(), 2U);
  EXPECT_EQ(places[0].x, 0);
  EXPECT_EQ(places[0].width, 70);  // 16 + 40 + 14
  EXPECT_EQ(places[1].x, 70);
  EXPECT_EQ(places[1].room, 60);
}

TEST(NameLine, MovesTogetherBeforeAnythingIsCutShort) {
  const auto places = line_up({40, 60}, 16, 150);  // 150 - 2 x 16 - 100 = 18: 9 for each gap
  EXPECT_EQ(places[0].width, 65);
  EXPECT_EQ(places[1].room, 60);
}

TEST(NameLine, CutsTheLongestFirst) {
  const auto places = line_up({30, 100, 90}, 16, 178);  // 178 - 48 - 18 = 112 for names: 30 + 41 + 41
  EXPECT_EQ(places[0].room, 30);
  EXPECT_EQ(places[1].room, 41);
  EXPECT_EQ(places[2].room, 41);
}

TEST(NameLine, OfNothingIsNothing) { EXPECT_TRUE(line_up({}, 16, 100).empty()); }

// As long as names of the shortest length fit, nothing reaches beyond the line.
RC_GTEST_PROP(NameLineLaw, NothingReachesBeyondTheLine, ()) {
  const auto widths = *rc::gen::container<std::vector<double>>(rc::gen::map(rc::gen::inRange(1, 200), [](int w) { return static_cast<double>(w); }));
  const double room = *rc::gen::inRange(0, 2000);
  const auto places = line_up(widths, 16, room);
  RC_ASSERT(places.size() == widths.size());
  if (room < static_cast<double>(widths.size()) * (16 + 24 + 6 + 1)) return;
  double x = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    RC_ASSERT(places[i].x == x);
    RC_ASSERT(places[i].room <= widths[i]);
    x += places[i].width;
  }
  RC_ASSERT(x <= room + 1e-6);
}

}  // namespace
}  // namespace orrery::view
