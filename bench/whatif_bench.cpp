// From a changed setting to the report that answers it, in one process: load the documents with the settings, compile, price, simulate, memory,
// report. Llama-3.1-405B on 16,384 GPUs (examples/plans/llama-3.1-405b-interleaved.json) with 16 and with 128 micro-batches in each replica, without
// and with the timeline of all simulated ranks. Each edit turns one handle to and fro; `mixed` turns them in turn. Median and 99th percentile in
// milliseconds.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "app/simulate.h"

namespace {

using namespace orrery;

// Settings of the handle's positions. `batch`: sequences per step relative to the plan's, so that a replica's micro-batches stay as many.
struct Position {
  std::vector<std::string> settings;
  std::int64_t batch = 1;
};
struct Handle {
  std::string name;
  std::vector<Position> positions;
};

const std::vector<Handle>& handles() {
  static const std::vector<Handle> kHandles{
      {"tp", {{{"parallel.tp=4"}, 2}, {{"parallel.tp=8"}, 1}}},
      {"nvlink", {{{"cluster.levels[0].bandwidth=\"300 GB/s\""}}, {{"cluster.levels[0].bandwidth=\"600 GB/s\""}}}},
      {"memory", {{{"cluster.device.memory_bandwidth=\"2 TB/s\""}}, {{"cluster.device.memory_bandwidth=\"4.8 TB/s\""}}}},
      {"recompute", {{{"recompute.kind=full"}}, {{"recompute.kind=none"}}}},
      {"micro-batch", {{{"batch.micro=2"}, 2}, {{"batch.micro=1"}, 1}}},
  };
  return kHandles;
}

app::PlanFlags question(const Position& position, std::int64_t microbatches) {
  app::PlanFlags flags;
  flags.plan = ORRERY_SOURCE_DIR "/examples/plans/llama-3.1-405b-interleaved.json";
  flags.settings = position.settings;
  flags.settings.push_back("batch.global=" + std::to_string(128 * microbatches * position.batch));  // 128 replicas with tp 8 and pp 16
  return flags;
}

void what_if(benchmark::State& state, const std::vector<Position>& positions, std::int64_t microbatches, bool timeline) {
  using Clock = std::chrono::steady_clock;
  app::SimulateOptions options;
  options.timeline = timeline;
  std::vector<double> times;
  std::size_t edit = 0;
  std::optional<app::Explored> answer;  // the last one is on the screen meanwhile
  for (auto _ : state) {
    const app::PlanFlags flags = question(positions[edit++ % positions.size()], microbatches);
    const auto begin = Clock::now();
    std::optional<app::Explored> next = app::explore(app::load_inputs(flags), options);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    answer = std::move(next);
    state.SetIterationTime(seconds);
    times.push_back(seconds);
  }
  std::sort(times.begin(), times.end());
  const auto quantile = [&](double q) {
    return 1e3 * times[std::min(times.size() - 1, static_cast<std::size_t>(q * static_cast<double>(times.size())))];
  };
  state.counters["median_ms"] = quantile(0.5);
  state.counters["p99_ms"] = quantile(0.99);
  state.counters["edits"] = static_cast<double>(times.size());
  if (answer->report.timeline) state.counters["spans"] = static_cast<double>(answer->report.timeline->spans.size());
}

const bool kRegistered = [] {
  std::vector<Position> mixed;
  for (const Handle& h : handles()) mixed.insert(mixed.end(), h.positions.begin(), h.positions.end());
  for (const std::int64_t microbatches : {16, 128})
    for (const bool timeline : {false, true}) {
      const auto add = [&](const std::string& name, const std::vector<Position>& positions, int edits) {
        const std::string full = name + "/" + std::to_string(microbatches) + (timeline ? "/timeline" : "/report");
        benchmark::RegisterBenchmark(full.c_str(), [=](benchmark::State& state) { what_if(state, positions, microbatches, timeline); })
            ->Iterations(edits)
            ->UseManualTime()
            ->Unit(benchmark::kMillisecond);
      };
      for (const Handle& h : handles()) add(h.name, h.positions, 20);
      add("mixed", mixed, 200);
    }
  return true;
}();

}  // namespace
