#include "gui/view/waterfall.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace orrery::view {
namespace {

// Whatever the parts, kernels above peak (a negative part) included; the step is their sum.
app::Summary any_summary() {
  Waterfall w;
  for (Picoseconds* part : {&w.ideal, &w.kernel_efficiency, &w.other_kernels, &w.recompute, &w.exposed_tp, &w.exposed_pp, &w.bubble, &w.host})
    if (*rc::gen::arbitrary<bool>())
      *part = Picoseconds{*rc::gen::inRange<std::int64_t>(part == &w.kernel_efficiency ? -1000 : 1, 1'000'000) * 1'000'000};
  for (const Picoseconds part : w.parts()) w.step += part;
  app::Summary s;
  s.step = w.step;
  s.waterfall = w;
  return s;
}

RC_GTEST_PROP(WaterfallRows, AddUpToTheSteps, ()) {
  const app::CompareReport report = app::compare(any_summary(), any_summary());
  const std::vector<WaterfallRow> rows = waterfall_rows(report);
  const double a = to_seconds(report.a.step).v, b = to_seconds(report.b.step).v;
  double at_a = 0, at_b = 0, difference = 0;
  for (const WaterfallRow& row : rows) {
    if (row.total) continue;
    RC_ASSERT(row.a.from == at_a && row.b.from == at_b);
    at_a = row.a.to, at_b = row.b.to;
    difference += row.difference();
  }
  RC_ASSERT(std::abs(at_a - a) < 1e-12 && std::abs(at_b - b) < 1e-12);
  RC_ASSERT(rows.back().total && rows.back().a.to == a && rows.back().b.to == b);
  RC_ASSERT(std::abs(difference - rows.back().difference()) < 1e-12);
}

RC_GTEST_PROP(BridgeRows, LeadFromOneStepToTheOther, ()) {
  const app::CompareReport report = app::compare(any_summary(), any_summary());
  const auto most = *rc::gen::inRange<std::size_t>(0, 6);
  const std::vector<BridgeRow> rows = bridge_rows(report, most);
  RC_ASSERT(rows.size() <= most + 3);
  RC_ASSERT(rows.front().name == "A" && rows.front().bar.to == to_seconds(report.a.step).v);
  RC_ASSERT(rows.back().name == "B" && rows.back().bar.to == to_seconds(report.b.step).v);
  double at = rows.front().bar.to;
  for (std::size_t i = 1; i + 1 < rows.size(); ++i) {
    RC_ASSERT(rows[i].bar.from == at);
    at = rows[i].bar.to;
    if (i > 1 && rows[i].name != "others") RC_ASSERT(std::abs(rows[i].bar.length()) <= std::abs(rows[i - 1].bar.length()) + 1e-15);
  }
  RC_ASSERT(std::abs(at - rows.back().bar.to) <= 13 * kRounding * std::max(rows.front().bar.to, rows.back().bar.to));  // a waterfall has 13 parts
}

// 2 us of 2 s are 1e-6 of it.
TEST(BridgeRows, LeaveRoundingOut) {
  app::Summary a, b;
  a.step = a.waterfall.step = a.waterfall.ideal = Picoseconds{2'000'000'000'000};
  b = a;
  b.waterfall.host = Picoseconds{1'900'000};
  b.step += b.waterfall.host;
  EXPECT_EQ(bridge_rows(app::compare(a, b), 5).size(), 2U);
  b.waterfall.bubble = Picoseconds{2'100'000};
  b.step += b.waterfall.bubble;
  ASSERT_EQ(bridge_rows(app::compare(a, b), 5).size(), 3U);
  EXPECT_EQ(bridge_rows(app::compare(a, b), 5)[1].name, "bubble");
}

TEST(BridgeRows, NameTheOthersOnlyWhereThereAreSome) {
  app::Summary a, b;
  a.step = a.waterfall.step = a.waterfall.ideal = Picoseconds{1'000'000'000'000};
  b = a;
  b.waterfall.bubble = b.waterfall.host = Picoseconds{500'000'000'000};
  b.step = Picoseconds{2'000'000'000'000};
  const app::CompareReport report = app::compare(a, b);
  EXPECT_EQ(bridge_rows(report, 2).size(), 4U);  // A, bubble, host, B
  const std::vector<BridgeRow> short_way = bridge_rows(report, 1);
  ASSERT_EQ(short_way.size(), 4U);  // A, bubble, others, B
  EXPECT_EQ(short_way[2].name, "others");
  EXPECT_EQ(short_way[2].bar, (WaterfallBar{1.5, 2.0}));
  EXPECT_EQ(bridge_rows(app::compare(a, a), 3).size(), 2U);
}

}  // namespace
}  // namespace orrery::view
