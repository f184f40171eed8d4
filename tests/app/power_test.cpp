// Power over time: its integral is the report's energy, whatever it is spent on.
#include "app/power.h"

#include <gtest/gtest.h>

#include "app/inputs.h"
#include "app/simulate.h"
#include "cost/cost.h"

namespace orrery::app {
namespace {

// A step of 10 s; kinds of 100 J and of 30 J.
Timeline drawn() {
  Timeline t;
  t.origin = "simulated";
  t.step = Picoseconds{10'000'000'000'000};
  t.streams = {"compute", "dp"};
  t.ranks = {"a", "b"};
  t.kinds.resize(2);
  t.kinds[0].work = WorkClass::gemm, t.kinds[0].energy = Joules{100};
  t.kinds[1].work = WorkClass::dp_comm, t.kinds[1].energy = Joules{30};
  return t;
}

void run(Timeline& t, std::uint32_t rank, std::uint16_t stream, std::int64_t start, std::int64_t end) {  // seconds
  Span s;
  s.start = Picoseconds{start * 1'000'000'000'000}, s.end = Picoseconds{end * 1'000'000'000'000};
  s.rank = rank, s.stream = stream, s.kind = stream;
  t.spans.push_back(s);
}

constexpr Picoseconds seconds(std::int64_t s) { return Picoseconds{s * 1'000'000'000'000}; }

cost::Table table() {
  cost::Table cost;
  cost.idle = Watts{5};
  return cost;
}

TEST(PowerStory, SpreadsTheEnergyOfAnExecutionEvenlyOverIt) {
  Timeline t = drawn();
  run(t, 0, 0, 2, 4);  // 100 J in 2 s: 50 W
  run(t, 0, 1, 3, 6);  // 30 J in 3 s: 10 W
  Device device;
  device.tdp = Watts{70};
  const PowerStory p = power_story(t, table(), device);
  // Two devices idle at 5 W each.
  const std::vector<PowerCurve::Point> expected{
      {seconds(0), Watts{10}}, {seconds(2), Watts{60}}, {seconds(3), Watts{70}}, {seconds(4), Watts{20}}, {seconds(6), Watts{10}}};
  EXPECT_EQ(p.all.points, expected);
  EXPECT_EQ(p.all.peak, Watts{70});
  EXPECT_EQ(p.all.peak_from, seconds(3));
  EXPECT_DOUBLE_EQ(p.all.energy.v, 2 * 5 * 10 + 100 + 30);
  EXPECT_DOUBLE_EQ(p.all.mean.v, 23);
  EXPECT_DOUBLE_EQ(p.total().v, 230);
  EXPECT_DOUBLE_EQ(p.idle.v, 100);
  EXPECT_EQ(p.all.at(seconds(5)), Watts{20});
  // The other rank's device does nothing.
  EXPECT_EQ(power_of(t, table(), 1).points, (std::vector<PowerCurve::Point>{{seconds(0), Watts{5}}}));
  EXPECT_EQ(power_of(t, table(), 0).peak, Watts{65});
}

TEST(PowerStory, GoesOnAtTheBeginningWithWhatEndsBeyondTheStep) {
  Timeline t = drawn();
  run(t, 0, 0, 8, 12);  // 25 W in [8, 10) and in [0, 2)
  const PowerStory p = power_story(t, table(), Device{});
  const std::vector<PowerCurve::Point> expected{{seconds(0), Watts{35}}, {seconds(2), Watts{10}}, {seconds(8), Watts{35}}};
  EXPECT_EQ(p.all.points, expected);
  EXPECT_DOUBLE_EQ(p.all.energy.v, 200);
}

TEST(PowerStory, CountsARankAsOftenAsItStandsFor) {
  Timeline t = drawn();
  t.weights = {3, 1};
  t.all_ranks = 8;  // and four that nothing stands for
  run(t, 0, 0, 0, 10);
  const PowerStory p = power_story(t, table(), Device{});
  EXPECT_EQ(p.devices, 8);
  EXPECT_EQ(p.silent, 4);
  EXPECT_EQ(p.all.points, (std::vector<PowerCurve::Point>{{seconds(0), Watts{8 * 5 + 3 * 10}}}));
}

void expect_the_reports_energy(const PlanFlags& flags, bool unfold) {
  const Inputs inputs = load_inputs(flags);
  SimulateOptions options;
  options.timeline = true, options.unfold = unfold;
  const SimulateReport report = simulate(inputs, options);
  const cost::Table cost = cost::price(compile(inputs), inputs.cluster, nullptr);
  const PowerStory p = power_story(*report.timeline, cost, inputs.cluster.device);
  EXPECT_EQ(p.silent, 0);
  // Each of up to a million powers is rounded to a microwatt.
  EXPECT_NEAR(p.all.energy.v, report.energy.v, 1e-6 * report.energy.v);
  EXPECT_NEAR(p.total().v, report.energy.v, 1e-9 * report.energy.v);
  EXPECT_GE(p.all.peak, p.all.mean);
  EXPECT_GE(p.all.mean.v, static_cast<double>(report.devices) * cost.idle.v);
}

TEST(PowerStory, IntegratesToTheReportsEnergy) {
  PlanFlags flags;
  flags.model = "llama-3.1-8b", flags.cluster = "dgx-h100:32";
  flags.tp = 2, flags.pp = 4;
  flags.global_batch = 32, flags.micro_batch = 1, flags.sequence = 4096;
  expect_the_reports_energy(flags, false);
  expect_the_reports_energy(flags, true);
  flags.zero = 3, flags.pp = 1;  // parameters are gathered across the end of the step
  expect_the_reports_energy(flags, false);
}

}  // namespace
}  // namespace orrery::app
