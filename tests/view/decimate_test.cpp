#include "gui/view/decimate.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <map>

namespace orrery::view {
namespace {

using planner::Point;

// What is painted of each column of pixels does not change: its first, least, greatest and last point.
RC_GTEST_PROP(Decimate, KeepsTheEndsAndExtremesOfEveryColumn, ()) {
  std::vector<Point> points;
  const int n = *rc::gen::inRange(0, 400);
  points.reserve(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) points.push_back({static_cast<double>(i), static_cast<double>(*rc::gen::inRange(-50, 50))});
  const LinearAxis axis(0, std::max(1, n), 0, *rc::gen::inRange(1, 60));
  struct Column {
    double first = 0, least = 0, most = 0, last = 0;
    bool operator==(const Column&) const = default;
  };
  const auto columns = [&](const std::vector<Point>& of) {
    std::map<double, Column> out;
    for (const Point& p : of) {
      const auto [it, added] = out.try_emplace(std::floor(axis.pixel(p.x)), Column{p.y, p.y, p.y, p.y});
      it->second.least = std::min(it->second.least, p.y);
      it->second.most = std::max(it->second.most, p.y);
      it->second.last = p.y;
    }
    return out;
  };
  const std::vector<Point> few = decimate(points, axis);
  RC_ASSERT(columns(few) == columns(points));
  RC_ASSERT(few.size() <= 4 * columns(points).size());
  for (std::size_t i = 1; i < few.size(); ++i) RC_ASSERT(few[i - 1].x < few[i].x);
}

TEST(Decimate, LeavesOutWhatIsNotANumber) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(decimate({{0, 1}, {1, nan}, {2, inf}, {3, 2}}, LinearAxis(0, 3, 0, 30)), (std::vector<Point>{{0, 1}, {3, 2}}));
  EXPECT_TRUE(decimate({}, LinearAxis(0, 1, 0, 1)).empty());
}

}  // namespace
}  // namespace orrery::view
