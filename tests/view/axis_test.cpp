// Axes: pixels and values are inverse to each other, zooming holds what is under the mouse, ticks are round.
#include "gui/view/axis.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

namespace orrery::view {
namespace {

constexpr std::int64_t kMs = 1'000'000'000;
constexpr std::int64_t kSecond = 1'000'000'000'000;

TimeRange range(std::int64_t begin, std::int64_t end) { return {Picoseconds{begin}, Picoseconds{end}}; }

std::vector<std::string> labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> result;
  for (const Tick& tick : ticks) result.push_back(tick.label);
  return result;
}

// 1, 2 or 5 and zeros, as an oracle that knows no logarithms.
bool is_125(std::int64_t step) {
  while (step % 10 == 0) step /= 10;
  return step == 1 || step == 2 || step == 5;
}

// An axis somewhere in a step of up to 100 s, zoomed and moved by chance.
TimeAxis any_axis() {
  const auto length = *rc::gen::inRange<std::int64_t>(20'000, 100 * kSecond);
  TimeAxis axis(range(0, length), *rc::gen::inRange(50, 4000));
  const auto begin = *rc::gen::inRange<std::int64_t>(0, length);
  const auto end = *rc::gen::inRange<std::int64_t>(begin, length);
  axis.show(range(begin, end));
  return axis;
}

TEST(TimeAxis, ShowsTheWholeAtFirst) {
  const TimeAxis axis(range(0, 2 * kSecond), 1000);
  EXPECT_EQ(axis.pixel(Picoseconds{0}), 0);
  EXPECT_EQ(axis.pixel(Picoseconds{kSecond}), 500);  // 1 s of 2 s on 1000 pixels
  EXPECT_EQ(axis.time(250), Picoseconds{kSecond / 2});
}

TEST(TimeAxis, ZoomingTwiceAboutThePixelAtAQuarterShowsHalf) {
  TimeAxis axis(range(0, 2 * kSecond), 1000);
  axis.zoom(250, 2);  // half of 2 s, with 0.5 s at a quarter of it: 0.25 s to 1.25 s
  EXPECT_EQ(axis.range(), range(kSecond / 4, kSecond / 4 * 5));
}

TEST(TimeAxis, LabelsAreInOneUnitWithTheDecimalsOfTheStep) {
  TimeAxis axis(range(0, 2 * kSecond), 1000);
  // 90 pixels are 0.18 s: steps of 0.2 s.
  EXPECT_EQ(labels(axis.ticks(90).ticks),
            (std::vector<std::string>{"0.0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1.0 s", "1.2 s", "1.4 s", "1.6 s", "1.8 s", "2.0 s"}));
  axis.show(range(0, 4 * kMs));
  // 90 pixels are 0.36 ms: steps of 0.5 ms.
  EXPECT_EQ(labels(axis.ticks(90).ticks),
            (std::vector<std::string>{"0.0 ms", "0.5 ms", "1.0 ms", "1.5 ms", "2.0 ms", "2.5 ms", "3.0 ms", "3.5 ms", "4.0 ms"}));
  EXPECT_EQ(axis.ticks(90).base, "");
}

TEST(TimeAxis, DeepInsideLabelsCountFromABase) {
  TimeAxis axis(range(0, 2 * kSecond), 1000);
  axis.show(range(kSecond + 300 * kMs + 100'000, kSecond + 300 * kMs + 500'000));  // 400 ns
  const TimeTicks ticks = axis.ticks(90);
  EXPECT_EQ(ticks.step.v, 50'000);  // 90 pixels are 36 ns
  EXPECT_EQ(ticks.base, "1.300000 s");
  EXPECT_EQ(labels(ticks.ticks),
            (std::vector<std::string>{"+100 ns", "+150 ns", "+200 ns", "+250 ns", "+300 ns", "+350 ns", "+400 ns", "+450 ns", "+500 ns"}));
}

TEST(TimeAxis, FitLeavesATwentiethOnEitherSide) {
  TimeAxis axis(range(0, 2 * kSecond), 1000);
  axis.fit(range(kSecond, kSecond + 200 * kMs));
  EXPECT_EQ(axis.range(), range(kSecond - 10 * kMs, kSecond + 210 * kMs));
  axis.fit(range(0, kSecond));  // nothing before the beginning: moved right, 1.1 s long
  EXPECT_EQ(axis.range(), range(0, kSecond + 100 * kMs));
}

TEST(TimeAxis, RevealMovesAsLittleAsItMust) {
  TimeAxis axis(range(0, 10 * kSecond), 1000);
  axis.show(range(4 * kSecond, 6 * kSecond));
  axis.reveal(range(5 * kSecond, 5 * kSecond + kMs));
  EXPECT_EQ(axis.range(), range(4 * kSecond, 6 * kSecond));
  axis.reveal(range(6 * kSecond, 7 * kSecond));
  EXPECT_EQ(axis.range(), range(5 * kSecond, 7 * kSecond));
  axis.reveal(range(kSecond, 2 * kSecond));
  EXPECT_EQ(axis.range(), range(kSecond, 3 * kSecond));
  axis.reveal(range(2 * kSecond, 9 * kSecond));  // longer than two seconds: from its begin
  EXPECT_EQ(axis.range(), range(2 * kSecond, 4 * kSecond));
}

TEST(TimeAxis, AWholeOfNothingIsStillAnAxis) {
  TimeAxis axis(range(0, 0), 0);
  EXPECT_EQ(axis.range(), range(0, TimeAxis::kClosest.v));
  axis.zoom(0, 100);
  EXPECT_EQ(axis.range(), range(0, TimeAxis::kClosest.v));
  EXPECT_FALSE(axis.ticks().ticks.empty());
}

RC_GTEST_PROP(TimeAxisLaw, PixelOfTheTimeOfAPixelIsThePixel, ()) {
  const TimeAxis axis = any_axis();
  const double x = *rc::gen::inRange(0, 4000);
  RC_ASSERT(std::abs(axis.pixel(axis.time(x)) - x) <= axis.pixels_per_picosecond() / 2 + 1e-9);
}

RC_GTEST_PROP(TimeAxisLaw, ZoomKeepsTheTimeUnderThePixelUnlessTheWholeEnds, ()) {
  TimeAxis axis = any_axis();
  const double at = *rc::gen::inRange(0, static_cast<int>(axis.width()));
  const double factor = *rc::gen::element(0.25, 0.8, 1.25, 3.0);
  const Picoseconds under = axis.time(at);
  axis.zoom(at, factor);
  const TimeRange shown = axis.range();
  RC_ASSERT(shown.begin >= axis.whole().begin && shown.end <= axis.whole().end);
  RC_ASSERT(shown.length() >= TimeAxis::kClosest);
  if (shown.begin > axis.whole().begin && shown.end < axis.whole().end)
    RC_ASSERT(std::abs(axis.pixel(under) - at) <= axis.pixels_per_picosecond() * 1.01);
}

RC_GTEST_PROP(TimeAxisLaw, PanIsUndoneByPanningBackUnlessTheWholeEnds, ()) {
  TimeAxis axis = any_axis();
  const TimeRange before = axis.range();
  const double by = *rc::gen::inRange(-500, 500);
  axis.pan(by);
  RC_ASSERT(axis.range().length() == before.length());
  if (axis.range().begin == axis.whole().begin || axis.range().end == axis.whole().end) return;
  axis.pan(-by);
  RC_ASSERT(axis.range() == before);
}

RC_GTEST_PROP(TimeAxisLaw, TicksAreOneTwoFiveStepsThatCoverTheRange, ()) {
  const TimeAxis axis = any_axis();
  const double apart = *rc::gen::inRange(40, 150);
  const TimeTicks ticks = axis.ticks(apart);
  RC_ASSERT(is_125(ticks.step.v));
  RC_ASSERT(static_cast<double>(ticks.step.v) * axis.pixels_per_picosecond() >= apart * (1 - 1e-9));
  RC_ASSERT(static_cast<double>(ticks.step.v) * axis.pixels_per_picosecond() <= std::max(2.5 * apart, axis.pixels_per_picosecond()) * (1 + 1e-9));
  RC_ASSERT(ticks.times.size() == ticks.ticks.size());
  // Oracle: the multiples of the step that lie in the range, one after the other.
  std::int64_t expected = (axis.range().begin.v + ticks.step.v - 1) / ticks.step.v * ticks.step.v;
  for (const Picoseconds t : ticks.times) {
    RC_ASSERT(t.v == expected);
    expected += ticks.step.v;
  }
  RC_ASSERT(expected > axis.range().end.v);
  std::set<std::string> seen;
  for (const Tick& tick : ticks.ticks) RC_ASSERT(seen.insert(tick.label).second);
  for (const Tick& tick : ticks.ticks) RC_ASSERT(tick.label.size() <= 12);
}

TEST(FormatTime, IsAsPreciseAsAskedFor) {
  const Picoseconds t{5'018'256'449'900};
  EXPECT_EQ(format_time(t, Picoseconds{1'000'000}), "5.018256 s");
  EXPECT_EQ(format_time(t, Picoseconds{9'999'999}), "5.018256 s");  // at least as precise
  EXPECT_EQ(format_time(t, Picoseconds{10'000'000'000}), "5.02 s");
  EXPECT_EQ(format_time(t, Picoseconds{100}), "5.0182564499 s");
  EXPECT_EQ(format_time(Picoseconds{-18'256'000'000}, Picoseconds{10'000'000}), "-18.26 ms");
  EXPECT_EQ(format_time(Picoseconds{999'999'999}, Picoseconds{1'000'000}), "1.000 ms");
  EXPECT_EQ(format_time(Picoseconds{400}, Picoseconds{1'000}), "0 s");
  EXPECT_EQ(format_time(Picoseconds{7'000}, Picoseconds{0}), "7.000 ns");
}

TEST(LinearAxis, GrowsUpwardWhereItsPixelsRunDown) {
  const LinearAxis axis(0, 80, 400, 0);
  EXPECT_EQ(axis.pixel(0), 400);
  EXPECT_EQ(axis.pixel(20), 300);
  EXPECT_EQ(axis.value(100), 60);
}

TEST(LinearAxis, TicksAreRoundAndLabelled) {
  // 60 pixels of 400 are 0.15: steps of 0.2.
  EXPECT_EQ(labels(LinearAxis(0, 1, 400, 0).ticks(60)), (std::vector<std::string>{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  const LinearAxis::Label percent = [](double v) { return fmt::format("{:.0f} %", v * 100); };
  EXPECT_EQ(labels(LinearAxis(0, 1, 400, 0).ticks(60, false, percent)), (std::vector<std::string>{"0 %", "20 %", "40 %", "60 %", "80 %", "100 %"}));
}

TEST(LinearAxis, BytesAreMarkedAtBinarySteps) {
  const double gib = 0x1p30;
  const LinearAxis axis(0, 80 * gib, 400, 0);  // 60 pixels are 12 GiB: steps of 20 GiB
  std::vector<double> values;
  for (const Tick& tick : axis.ticks(60, true)) values.push_back(tick.value / gib);
  EXPECT_EQ(values, (std::vector<double>{0, 20, 40, 60, 80}));
}

TEST(LinearAxis, LogarithmicAxesMarkOneTwoFive) {
  const LinearAxis axis(1, 100, 0, 600, LinearAxis::Scale::logarithmic);
  EXPECT_EQ(axis.pixel(10), 300);  // the middle of two decades
  EXPECT_EQ(labels(axis.ticks(60)), (std::vector<std::string>{"1", "2", "5", "10", "20", "50", "100"}));
  // 100 pixels for six decades: one in four has words, with 60 pixels between them.
  const LinearAxis narrow(1, 1e6, 0, 100, LinearAxis::Scale::logarithmic);
  EXPECT_EQ(labels(narrow.ticks(60)), (std::vector<std::string>{"1", "", "", "", "10000", "", ""}));
}

TEST(LinearAxis, WhatCannotBeAnAxisIsMended) {
  EXPECT_EQ(LinearAxis(5, 5, 0, 100).low(), 4.5);
  EXPECT_EQ(LinearAxis(0, 0, 0, 100).high(), 1);
  EXPECT_EQ(LinearAxis(3, 1, 0, 100).low(), 1);
  EXPECT_EQ(LinearAxis(NAN, INFINITY, 0, 100).high(), 1);
  EXPECT_GT(LinearAxis(0, 10, 0, 100, LinearAxis::Scale::logarithmic).low(), 0);
  EXPECT_GT(LinearAxis(-3, -1, 0, 100, LinearAxis::Scale::logarithmic).low(), 0);
}

TEST(NiceStep, IsTheNextOfOneTwoFive) {
  EXPECT_EQ(nice_step(0.3), 0.5);
  EXPECT_EQ(nice_step(5), 5);
  EXPECT_EQ(nice_step(5.1), 10);
  EXPECT_EQ(nice_step(700, true), 1024);
  EXPECT_EQ(nice_step(0x1p30 * 30, true), 0x1p30 * 50);
}

LinearAxis any_linear(LinearAxis::Scale scale) {
  const double low = *rc::gen::inRange(1, 1'000'000) * std::pow(10.0, *rc::gen::inRange(-6, 6));
  const double length = *rc::gen::inRange(1, 1'000'000) * std::pow(10.0, *rc::gen::inRange(-3, 6)) * low / 1e3;
  const double pixels = *rc::gen::inRange(50, 2000);
  return *rc::gen::arbitrary<bool>() ? LinearAxis(low, low + length, 0, pixels, scale) : LinearAxis(low, low + length, pixels, 0, scale);
}

RC_GTEST_PROP(LinearAxisLaw, ValueOfThePixelOfAValueIsTheValue, ()) {
  const auto scale = *rc::gen::element(LinearAxis::Scale::linear, LinearAxis::Scale::logarithmic);
  const LinearAxis axis = any_linear(scale);
  const double x = axis.low_pixel() + *rc::gen::inRange(0, 1000) / 1000.0 * (axis.high_pixel() - axis.low_pixel());
  RC_ASSERT(std::abs(axis.pixel(axis.value(x)) - x) <= 1e-3);
}

RC_GTEST_PROP(LinearAxisLaw, ZoomKeepsTheValueUnderThePixel, ()) {
  LinearAxis axis = any_linear(*rc::gen::element(LinearAxis::Scale::linear, LinearAxis::Scale::logarithmic));
  const double x = std::abs(axis.high_pixel() - axis.low_pixel()) * *rc::gen::inRange(0, 100) / 100.0;
  const double value = axis.value(x);
  axis.zoom(x, *rc::gen::element(0.5, 1.25, 2.0));
  RC_ASSERT(std::abs(axis.pixel(value) - x) <= 1e-2);
}

RC_GTEST_PROP(LinearAxisLaw, TicksAreApartAndInside, ()) {
  const LinearAxis axis = any_linear(LinearAxis::Scale::linear);
  const bool binary = *rc::gen::arbitrary<bool>();
  const std::vector<Tick> ticks = axis.ticks(60, binary);
  for (std::size_t i = 0; i < ticks.size(); ++i) {
    RC_ASSERT(ticks[i].pixel >= -1e-3 && ticks[i].pixel <= std::max(axis.low_pixel(), axis.high_pixel()) + 1e-3);
    if (i > 0) RC_ASSERT(std::abs(ticks[i].pixel - ticks[i - 1].pixel) >= 60 * (1 - 1e-6));
  }
  const LinearAxis round = axis.rounded(60, binary);
  RC_ASSERT(round.low() <= axis.low() * (1 + 1e-6) && round.high() >= axis.high() * (1 - 1e-6));
}

}  // namespace
}  // namespace orrery::view
