// What a person waits for, up to the painted frame, in a window of 1280 x 800 with the What-if page in front (offscreen: painted, but shown nowhere).
// `edit`: one knob turned, until the window shows the new figures; Llama-3.1-405B on 16,384 GPUs with 16 and 128 micro-batches in each replica.
// `drag`: a knob that turns every 16 ms for 2 s; how often the figures change meanwhile, and how long after its end they are the last position's.
// `open`: from nothing to the first screen painted with its figures, in a process that runs already. Medians and 99th percentiles in milliseconds.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <QApplication>
#include <QElapsedTimer>
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gui/main_window.h"
#include "gui/page.h"
#include "gui/screenshot.h"
#include "gui/state/view_state.h"
#include "gui/theme.h"

namespace {

using namespace orrery;

app::PlanFlags question(std::int64_t microbatches) {
  app::PlanFlags flags;
  flags.plan = ORRERY_SOURCE_DIR "/examples/plans/llama-3.1-405b-interleaved.json";
  flags.settings = {"batch.global=" + std::to_string(128 * microbatches)};  // 128 replicas with tp 8 and pp 16
  return flags;
}

double milliseconds(const QElapsedTimer& since) { return static_cast<double>(since.nsecsElapsed()) * 1e-6; }

// Until the window shows the question's figures: the answer is there, and what it changed is painted.
void until_painted(const gui::ViewState& state) {
  gui::wait_until([&] { return !state.waiting(); }, 60);
  QCoreApplication::sendPostedEvents();
  QCoreApplication::processEvents();
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())))];
}

struct Shown {
  explicit Shown(std::int64_t microbatches) : window(state) {
    state.ask(question(microbatches), {});
    window.resize(1280, 800);
    window.show_page("whatif");
    window.show();
    gui::wait_until([&] { return state.settled() && window.page()->settled(); }, 60);
    state.pin();
  }
  gui::ViewState state;
  gui::MainWindow window;
};

void edit(benchmark::State& state) {
  Shown shown(state.range(0));
  const std::pair<const char*, std::vector<const char*>> knobs[] = {
      {"cluster.levels[0].bandwidth", {"\"300 GB/s\"", "\"600 GB/s\""}},
      {"cluster.device.memory_bandwidth", {"\"2 TB/s\"", "\"4.8 TB/s\""}},
      {"recompute.kind", {"full", "none"}},
  };
  std::vector<double> times, answers;
  for (auto _ : state) {
    const auto& [path, values] = knobs[times.size() / 2 % std::size(knobs)];
    QElapsedTimer since;
    since.start();
    shown.state.set(path, values[times.size() % 2]);
    until_painted(shown.state);
    times.push_back(milliseconds(since));
    answers.push_back(shown.state.answer()->seconds * 1e3);
    state.SetIterationTime(times.back() * 1e-3);
    // As people do: they look, and then turn the next.
    gui::wait_until([&] { return shown.state.settled() && shown.window.page()->settled(); }, 60);
  }
  state.counters["median_ms"] = quantile(times, 0.5);
  state.counters["p99_ms"] = quantile(times, 0.99);
  state.counters["answer_median_ms"] = quantile(answers, 0.5);
  state.counters["answer_p99_ms"] = quantile(answers, 0.99);
}
BENCHMARK(edit)->ArgName("microbatches")->Arg(16)->Arg(128)->Iterations(200)->UseManualTime()->Unit(benchmark::kMillisecond);

void drag(benchmark::State& state) {
  Shown shown(state.range(0));
  std::int64_t changes = 0;
  QObject::connect(&shown.state, &gui::ViewState::answer_changed, [&] { ++changes; });
  std::vector<double> last;
  double moved = 0;
  for (auto _ : state) {
    QElapsedTimer since;
    since.start();
    const std::uint64_t gesture = gui::ViewState::new_gesture();
    const std::int64_t before = changes;
    for (int n = 0; milliseconds(since) < 2000; ++n) {
      shown.state.set("cluster.levels[0].bandwidth", fmt::format("\"{} GB/s\"", 300 + n), gesture);
      gui::wait_until([&] { return milliseconds(since) > 16.0 * (n + 1); }, 1);
    }
    moved += static_cast<double>(changes - before);
    since.restart();
    until_painted(shown.state);
    last.push_back(milliseconds(since));
    state.SetIterationTime(last.back() * 1e-3);
    gui::wait_until([&] { return shown.state.settled(); }, 60);
  }
  state.counters["changes_per_second"] = moved / (2 * static_cast<double>(last.size()));
  state.counters["worst_end_ms"] = quantile(last, 1);
}
BENCHMARK(drag)->ArgName("microbatches")->Arg(16)->Arg(128)->Iterations(5)->UseManualTime()->Unit(benchmark::kMillisecond);

void open(benchmark::State& state) {
  std::vector<double> times;
  for (auto _ : state) {
    QElapsedTimer since;
    since.start();
    gui::ViewState fresh;
    gui::MainWindow window(fresh);
    fresh.ask(gui::ViewState::first_question(), {});
    window.resize(1280, 800);
    window.show();
    until_painted(fresh);
    times.push_back(milliseconds(since));
    state.SetIterationTime(times.back() * 1e-3);
  }
  state.counters["median_ms"] = quantile(times, 0.5);
  state.counters["p99_ms"] = quantile(times, 0.99);
}
BENCHMARK(open)->Iterations(30)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) {
  if (qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM")) qputenv("QT_QPA_PLATFORM", "offscreen");
  const QApplication application(argc, argv);
  gui::set_up_look();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
