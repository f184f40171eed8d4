// How long a frame of the timeline takes on one core: 1920 x 1080 pixels of the chart painted to an image, at every zoom; each frame stands a little
// further to the right, so that nothing of the one before can be used. `hover`: the same frame again with the cursor elsewhere.
#include <benchmark/benchmark.h>

#include <QApplication>
#include <QImage>
#include <QPainter>
#include <cmath>
#include <map>
#include <memory>

#include "bench/pipeline_timeline.h"
#include "gui/charts/timeline_chart.h"
#include "gui/theme.h"
#include "gui/view/span_index.h"

namespace {

using namespace orrery;

gui::TimelineChart& chart_of(std::int64_t millions) {
  static std::map<std::int64_t, std::unique_ptr<gui::TimelineChart>> made;
  std::unique_ptr<gui::TimelineChart>& chart = made[millions];
  if (!chart) {
    chart = std::make_unique<gui::TimelineChart>();
    chart->resize(1920, 1080);
    chart->show_timeline(std::make_shared<const view::SpanIndex>(bench::pipeline_timeline(static_cast<std::size_t>(millions * 1'000'000))));
    chart->set_collapsed({});  // all 80 lanes, as many as there is room for
  }
  return *chart;
}

void frame(benchmark::State& state, bool move) {
  gui::TimelineChart& chart = chart_of(state.range(0));
  QImage image(1920, 1080, QImage::Format_RGB32);
  view::TimeAxis axis(chart.index()->whole(), chart.plot_rect().width());
  axis.zoom(axis.width() / 2, std::ldexp(1.0, static_cast<int>(state.range(1))));
  const view::TimeRange start = axis.range();
  std::int64_t n = 0;
  for (auto _ : state) {
    ++n;
    if (move && state.range(1) == 0) {
      // All of it cannot move: a little less than all can.
      chart.show_range(view::TimeRange{start.begin + Picoseconds{n % 64}, start.end});
    } else if (move) {
      axis.show(start);
      axis.pan(-static_cast<double>(n % 64));
      chart.show_range(axis.range());
    } else {
      chart.show_range(start);
      chart.set_cursor(axis.time(static_cast<double>(n % 1000)));
    }
    QPainter painter(&image);
    chart.paint(painter, QSizeF(1920, 1080), gui::theme());
  }
}

void moving(benchmark::State& state) { frame(state, true); }
BENCHMARK(moving)
    ->ArgNames({"Mspans", "zoom"})
    ->ArgsProduct({{1, 10}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18}})
    ->Unit(benchmark::kMillisecond);

void hover(benchmark::State& state) { frame(state, false); }
BENCHMARK(hover)->ArgNames({"Mspans", "zoom"})->ArgsProduct({{1, 10}, {0, 6}})->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) {
  if (qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM")) qputenv("QT_QPA_PLATFORM", "offscreen");
  const QApplication application(argc, argv);
  gui::set_up_look();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
