#include "gui/view/scatter.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>

namespace orrery::view {
namespace {

using planner::Figure;

planner::Candidate candidate(double seconds, std::int64_t bytes, double joules = 1) {
  planner::Candidate c;
  c.step = to_picoseconds(Seconds{seconds});
  c.peak_memory = Bytes{bytes};
  c.energy = Joules{joules};
  return c;
}

planner::Rejected rejected(const std::string& constraint, double seconds, std::int64_t bytes) {
  planner::Rejected r;
  r.constraint = constraint;
  r.least_time = to_picoseconds(Seconds{seconds});
  r.memory = Bytes{bytes};
  return r;
}

Cluster cluster() {
  Cluster c;
  c.devices = 8;
  c.device.memory = Bytes{100};
  return c;
}

planner::Outcome outcome() {
  planner::Outcome o;
  o.ranked = {candidate(1, 90), candidate(2, 50), candidate(2.5, 60), candidate(3, 40)};  // the third is dominated by the second
  o.refused = {rejected("memory", 0.5, 120), rejected("memory", 0, 130), rejected("memory", 0.5, 10'000), rejected("tp divides heads", 0, 0)};
  o.pruned = {rejected("bound", 4, 30)};
  return o;
}

TEST(Scatter, MarksTheFrontAndKeepsWhatWasNotSimulated) {
  const Scatter s = scatter(outcome(), cluster(), Figure::time, Figure::memory);
  std::vector<std::pair<PlanMark, std::size_t>> marks;
  for (const PlanPoint& p : s.points) marks.emplace_back(p.mark, p.index);
  EXPECT_EQ(marks, (std::vector<std::pair<PlanMark, std::size_t>>{{PlanMark::pruned, 0},
                                                                  {PlanMark::too_large, 0},
                                                                  {PlanMark::simulated, 2},
                                                                  {PlanMark::front, 0},
                                                                  {PlanMark::front, 1},
                                                                  {PlanMark::front, 3}}));
  EXPECT_EQ(s.unknown, 1U);  // refused[1] has no time
  EXPECT_EQ(s.beyond, 1U);   // refused[2] needs a hundred devices' memory
  EXPECT_EQ(s.capacity, 100.0);
}

TEST(Scatter, HasNoPointWithoutBothFigures) {
  const Scatter s = scatter(outcome(), cluster(), Figure::money, Figure::time);
  EXPECT_TRUE(s.points.empty());  // nobody said what a device costs
  EXPECT_FALSE(s.capacity);
  EXPECT_FALSE(nearest(s, scatter_axes(s, {0, 0, 100, 100}), 50, 50, 1000));
  Cluster priced = cluster();
  priced.price_per_device_hour = 1;
  // Money is proportional to time: only the fastest is on the front. 3 s of 8 devices at $1 an hour.
  const Scatter with = scatter(outcome(), priced, Figure::money, Figure::time);
  EXPECT_EQ(std::count_if(with.points.begin(), with.points.end(), [](const PlanPoint& p) { return p.mark == PlanMark::front; }), 1);
  const auto slowest = std::find_if(with.points.begin(), with.points.end(), [](const PlanPoint& p) { return p.index == 3; });
  EXPECT_DOUBLE_EQ(slowest->at.x, 3.0 * 8 / 3600);
}

TEST(ScatterAxes, HoldEveryPointAndTheCapacity) {
  const Scatter s = scatter(outcome(), cluster(), Figure::time, Figure::memory);
  const ScatterAxes axes = scatter_axes(s, {40, 10, 400, 300});
  for (const PlanPoint& p : s.points) {
    EXPECT_GE(axes.x.pixel(p.at.x), 40);
    EXPECT_LE(axes.x.pixel(p.at.x), 400);
    EXPECT_GE(axes.y.pixel(p.at.y), 10);
    EXPECT_LE(axes.y.pixel(p.at.y), 300);
  }
  EXPECT_GT(axes.y.pixel(*s.capacity), 10);
  EXPECT_EQ(axes.x.scale(), LinearAxis::Scale::linear);
}

TEST(ScatterAxes, AreLogarithmicWherePlansSpreadFar) {
  planner::Outcome o;
  o.ranked = {candidate(1, 10), candidate(40, 10)};
  const ScatterAxes axes = scatter_axes(scatter(o, cluster(), Figure::time, Figure::memory), {0, 0, 100, 100});
  EXPECT_EQ(axes.x.scale(), LinearAxis::Scale::logarithmic);
  EXPECT_EQ(axes.y.scale(), LinearAxis::Scale::linear);
}

RC_GTEST_PROP(Nearest, FindsNoPointFartherThanAnother, ()) {
  planner::Outcome o;
  for (int n = *rc::gen::inRange(1, 20); n > 0; --n) o.ranked.push_back(candidate(*rc::gen::inRange(1, 50), *rc::gen::inRange(1, 100)));
  const Scatter s = scatter(o, cluster(), Figure::time, Figure::memory);
  const ScatterAxes axes = scatter_axes(s, {0, 0, 300, 200});
  const double px = *rc::gen::inRange(0, 300), py = *rc::gen::inRange(0, 200), radius = *rc::gen::inRange(1, 60);
  const auto distance = [&](const PlanPoint& p) { return std::hypot(axes.x.pixel(p.at.x) - px, axes.y.pixel(p.at.y) - py); };
  const auto found = nearest(s, axes, px, py, radius);
  for (const PlanPoint& p : s.points) RC_ASSERT(distance(p) >= (found ? distance(s.points[*found]) : radius) - 1e-9);
  if (found) RC_ASSERT(distance(s.points[*found]) <= radius + 1e-9);
}

}  // namespace
}  // namespace orrery::view
