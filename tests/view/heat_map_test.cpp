#include "gui/view/heat_map.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace orrery::view {
namespace {

app::SweepRow row(std::vector<std::string> values, const std::string& status, double step) {
  app::SweepRow r;
  r.values = std::move(values);
  r.status = status;
  r.step_time_s = step;
  r.tokens_per_s_per_gpu = step > 0 ? 100 / step : 0;
  r.peak_memory_bytes = 1 << 30;
  return r;
}

// tp 1, 2 × pp 1, 2, and for each two micro-batches.
app::SweepReport report() {
  app::SweepReport r;
  r.axes = {{"parallel.tp", {"1", "2"}}, {"parallel.pp", {"1", "2"}}, {"batch.micro", {"1", "4"}}};
  r.rows = {row({"1", "1", "1"}, "does not fit", 0.5),
            row({"1", "1", "4"}, "does not fit", 0.4),  // only such
            row({"1", "2", "1"}, "ok", 2.0),
            row({"1", "2", "4"}, "ok", 1.5),  // the second is faster
            row({"2", "1", "1"}, "ok", 3.0),
            row({"2", "1", "4"}, "does not fit", 1.0),  // what fits goes before what is faster
            row({"2", "2", "1"}, "no", 0),
            row({"2", "2", "4"}, "never", 0)};
  return r;
}

TEST(HeatMap, ShowsTheBestPointOfEachPairOfValues) {
  const HeatMap map = heat_map(report(), 0, 1, SweepFigure::step_time);
  EXPECT_EQ(map.x, "parallel.tp");
  EXPECT_EQ(map.y, "parallel.pp");
  ASSERT_EQ(map.cells.size(), 4U);  // by line (pp), then column (tp)
  EXPECT_EQ(map.cells[0].row, 1U);
  EXPECT_FALSE(map.cells[0].fits);
  EXPECT_EQ(map.cells[0].why, "does not fit");
  EXPECT_EQ(map.cells[1].row, 4U);
  EXPECT_TRUE(map.cells[1].fits);
  EXPECT_EQ(map.cells[2].value, 1.5);
  EXPECT_EQ(map.cells[2].points, 2U);
  EXPECT_FALSE(map.cells[3].value);
  EXPECT_EQ(map.cells[3].why, "no");
  EXPECT_EQ(map.best, 2U);  // 0.4 s is faster, and does not fit
  EXPECT_EQ(map.scale.low, 0.4);
  EXPECT_EQ(map.scale.high, 3.0);
  EXPECT_FALSE(map.scale.logarithmic);
}

TEST(HeatMap, TakesTheGreatestWhereMoreIsBetter) {
  const HeatMap map = heat_map(report(), 0, 1, SweepFigure::throughput);
  EXPECT_EQ(map.best, 2U);
  EXPECT_DOUBLE_EQ(*map.cells[2].value, 100 / 1.5);
}

TEST(HeatMap, OfOneFieldIsOneLine) {
  const HeatMap map = heat_map(report(), 2, std::nullopt, SweepFigure::step_time);
  EXPECT_TRUE(map.y.empty());
  ASSERT_EQ(map.cells.size(), 2U);
  EXPECT_EQ(map.cells[0].value, 2.0);
  EXPECT_EQ(map.cells[1].value, 1.5);
  EXPECT_EQ(heat_map(report(), 2, 2, SweepFigure::step_time).cells.size(), 2U);
}

TEST(HeatMap, LeavesAPointThatWasNotReachedEmpty) {
  app::SweepReport cut = report();
  cut.rows.resize(4);
  const HeatMap map = heat_map(cut, 0, 1, SweepFigure::step_time);
  EXPECT_FALSE(map.cells[3].row);
  EXPECT_EQ(map.cells[3].points, 0U);
}

TEST(HeatMap, SaysItsFiguresWithUnits) {
  EXPECT_EQ(text(SweepFigure::step_time, 1.84), "1.84 s");
  EXPECT_EQ(text(SweepFigure::throughput, 12345), "12.3 k");
  EXPECT_EQ(text(SweepFigure::mfu, 0.484), "48.4 %");
  EXPECT_EQ(text(SweepFigure::memory, 1 << 30), "1 GiB");
  EXPECT_EQ(text(SweepFigure::energy, 3.6e6), "1 kWh");
  app::SweepRow old = row({}, "ok", 1);
  EXPECT_FALSE(value(SweepFigure::energy, old));  // of a table that had no such column
}

// Of any sweep: every row is in one cell; no row of a cell is better than what it shows, unless it does not fit and that does.
RC_GTEST_PROP(HeatMap, ShowsNoPointWorseThanAnotherOfItsCell, ()) {
  app::SweepReport r;
  r.axes = {{"a", {"0", "1", "2"}}, {"b", {"0", "1"}}, {"c", {"0", "1", "2"}}};
  for (int a = 0; a < 3; ++a)
    for (int b = 0; b < 2; ++b)
      for (int c = 0; c < 3; ++c) {
        const int kind = *rc::gen::inRange(0, 3);
        const double step = kind == 0 ? 0 : *rc::gen::inRange(1, 6);
        r.rows.push_back(row({std::to_string(a), std::to_string(b), std::to_string(c)}, kind == 0 ? "no" : kind == 1 ? "does not fit" : "ok", step));
      }
  const auto x = *rc::gen::inRange<std::size_t>(0, 3);
  const auto y = *rc::gen::inRange<std::size_t>(0, 3);
  const HeatMap map = heat_map(r, x, y, SweepFigure::step_time);
  std::size_t points = 0;
  for (std::size_t c = 0; c < map.cells.size(); ++c) {
    const HeatCell& cell = map.cells[c];
    points += cell.points;
    RC_ASSERT(cell.row.has_value());
    for (const app::SweepRow& other : r.rows) {
      if (other.values[x] != map.columns[c % map.columns.size()]) continue;
      if (x != y && other.values[y] != map.lines[c / map.columns.size()]) continue;
      if (other.status == "ok") RC_ASSERT(cell.value && cell.fits && *cell.value <= other.step_time_s);
      if (other.status == "does not fit") RC_ASSERT(cell.value && (cell.fits || *cell.value <= other.step_time_s));
    }
    if (cell.value && cell.fits) RC_ASSERT(map.best && *map.cells[*map.best].value <= *cell.value);
  }
  RC_ASSERT(points == r.rows.size());
}

RC_GTEST_PROP(HeatLayout, FindsTheCellUnderEveryPixel, ()) {
  HeatMap map;
  map.columns.resize(*rc::gen::inRange<std::size_t>(1, 12));
  map.lines.resize(*rc::gen::inRange<std::size_t>(1, 12));
  map.cells.resize(map.columns.size() * map.lines.size());
  const double width = *rc::gen::inRange(20, 2000), height = *rc::gen::inRange(20, 1000);
  const HeatLayout layout = heat_layout(map, 50, 20, 50 + width, 20 + height);
  RC_ASSERT(layout.right() <= 50 + width + 1e-9);
  RC_ASSERT(layout.bottom() <= 20 + height + 1e-9);
  for (std::size_t c = 0; c < map.cells.size(); ++c)
    RC_ASSERT(layout.hit(layout.x(c) + layout.cell_width / 2, layout.y(c) + layout.cell_height / 2) == c);
  RC_ASSERT(!layout.hit(49, 30) && !layout.hit(60, 19));
  RC_ASSERT(!layout.hit(layout.right() + 1, 30) && !layout.hit(60, layout.bottom() + 1));
}

TEST(HeatLayout, HasNoCellsWithoutRoom) {
  const HeatMap map = heat_map(report(), 0, 1, SweepFigure::step_time);
  EXPECT_FALSE(heat_layout(map, 50, 20, 40, 100).hit(45, 50));
}

}  // namespace
}  // namespace orrery::view
