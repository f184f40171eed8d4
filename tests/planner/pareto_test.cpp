#include "planner/pareto.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "core/cluster_json.h"
#include "core/model_json.h"
#include "program/compile.h"
#include "sim/simulate.h"

namespace orrery::planner {
namespace {

bool dominates(const Point& a, const Point& b) { return a.x <= b.x && a.y <= b.y && (a.x < b.x || a.y < b.y); }

// Few values, so that ties and equal points are common.
RC_GTEST_PROP(ParetoFront, HoldsExactlyThePointsThatNoOtherDominates, ()) {
  std::vector<Point> points;
  for (const auto& [x, y] : *rc::gen::container<std::vector<std::pair<int, int>>>(rc::gen::pair(rc::gen::inRange(0, 8), rc::gen::inRange(0, 8))))
    points.push_back({static_cast<double>(x), static_cast<double>(y)});
  const std::vector<std::size_t> front = pareto_front(points);
  const std::set<std::size_t> members(front.begin(), front.end());
  RC_ASSERT(members.size() == front.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto beats = [&](const Point& other) { return dominates(other, points[i]); };
    RC_ASSERT(members.contains(i) != std::any_of(points.begin(), points.end(), beats));
    if (!members.contains(i)) RC_ASSERT(std::any_of(front.begin(), front.end(), [&](std::size_t m) { return beats(points[m]); }));
  }
  for (std::size_t k = 1; k < front.size(); ++k) RC_ASSERT(points[front[k - 1]].x <= points[front[k]].x);
}

TEST(ParetoFront, LeavesOutWhatIsNotANumber) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(pareto_front({{nan, 0}, {2, 1}, {1, inf}, {1, 2}, {3, 1}}), (std::vector<std::size_t>{3, 1}));
  EXPECT_TRUE(pareto_front({}).empty());
}

struct Searched {
  Model model = load_model("llama-3.2-1b");
  Cluster cluster = load_cluster("dgx-h100:8");
  Plan base;
  Searched() {
    base.model = "llama-3.2-1b";
    base.cluster = "dgx-h100:8";
    base.batch = {.global = 16, .micro = 1, .sequence = 2048};
  }
  Outcome search(const Options& options) const { return planner::search(model, cluster, base, {}, nullptr, options); }
};

TEST(Figure, OfACandidateIsWhatASimulationOfItSays) {
  Searched s;
  const Outcome outcome = s.search({});
  ASSERT_FALSE(outcome.ranked.empty());
  const Candidate& c = outcome.ranked.front();
  EXPECT_DOUBLE_EQ(*value(Figure::time, c, s.cluster), to_seconds(c.step).v);
  const program::Program program = program::compile(s.model, s.cluster, c.plan);
  const sim::Result simulated = sim::simulate(program, cost::price(program, s.cluster, nullptr), s.cluster, {.record = true});
  EXPECT_EQ(simulated.step, c.step);
  // What eight devices draw idle, and what each thing that ran took above that, for all ranks that did the same.
  const double seconds = to_seconds(c.step).v;
  const Timeline& timeline = *simulated.timeline;
  double energy = 8 * s.cluster.device.idle_power.v * seconds, work = 0;
  for (const Span& span : timeline.spans) work += timeline.kinds[span.kind].energy.v * static_cast<double>(timeline.weights.at(span.rank));
  EXPECT_GT(work, energy);  // matrix products draw several times what nothing draws
  energy += work;
  EXPECT_NEAR(*value(Figure::energy, c, s.cluster), energy, 1e-9 * energy);
  EXPECT_FALSE(value(Figure::money, c, s.cluster));  // nobody said what a device costs
  s.cluster.price_per_device_hour = 2.5;
  EXPECT_DOUBLE_EQ(*value(Figure::money, c, s.cluster), 2.5 * 8 * seconds / 3600);
}

TEST(Figure, OfAPlanThatDoesNotFitIsItsBoundWhereThatIsAsked) {
  Searched s;
  s.cluster.device.memory = 12_GB;
  Options options;
  const auto too_large = [](const Outcome& outcome) {
    std::vector<Rejected> out;
    for (const Rejected& r : outcome.refused)
      if (r.constraint == "memory") out.push_back(r);
    return out;
  };
  for (const Rejected& r : too_large(s.search(options))) EXPECT_FALSE(least(Figure::time, r, s.cluster));
  options.bound_refused = true;
  options.top = 1;  // so that others are pruned
  const Outcome outcome = s.search(options);
  std::size_t timed = 0;
  const std::vector<Rejected> refused = too_large(outcome);
  ASSERT_FALSE(refused.empty());
  for (const Rejected& r : refused) {
    const std::optional<double> memory = least(Figure::memory, r, s.cluster), time = least(Figure::time, r, s.cluster);
    ASSERT_TRUE(memory);
    EXPECT_NEAR(*memory / 12e9, r.excess, 1e-9);
    timed += time.has_value();
  }
  EXPECT_GT(timed, 0U);
  for (const Rejected& r : outcome.pruned) {
    ASSERT_TRUE(least(Figure::time, r, s.cluster));
    EXPECT_GE(*least(Figure::time, r, s.cluster), to_seconds(outcome.ranked.front().step).v);
    EXPECT_LE(*least(Figure::memory, r, s.cluster), 12e9);
  }
}

TEST(Figure, IsWrittenWithItsUnit) {
  EXPECT_EQ(text(Figure::time, 1.84), "1.84 s");
  EXPECT_EQ(text(Figure::memory, 41.7 * 1073741824), "41.7 GiB");
  EXPECT_EQ(text(Figure::energy, 3.6e7), "10 kWh");
  EXPECT_EQ(text(Figure::money, 1.5), "$1.5");
  for (const Figure f : kFigures) EXPECT_FALSE(title(f).empty() || name(f).empty());
}

}  // namespace
}  // namespace orrery::planner
