// What it takes to show a timeline: its index, and what is to be painted of 80 lanes on 1,700 pixels at every zoom. Counters: bytes that the index
// adds to a span, and how many marks a frame paints.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/pipeline_timeline.h"
#include "gui/view/span_index.h"
#include "gui/view/span_search.h"

namespace {

using namespace orrery;

constexpr std::int64_t kMillion = 1'000'000;
constexpr double kWidth = 1700;

const view::SpanIndex& index_of(std::int64_t millions) {
  static std::map<std::int64_t, std::unique_ptr<view::SpanIndex>> made;
  std::unique_ptr<view::SpanIndex>& index = made[millions];
  if (!index) index = std::make_unique<view::SpanIndex>(bench::pipeline_timeline(static_cast<std::size_t>(millions * kMillion)));
  return *index;
}

void build(benchmark::State& state) {
  const auto& timeline = index_of(state.range(0)).shared();
  for (auto _ : state) {
    const view::SpanIndex index(timeline);
    benchmark::DoNotOptimize(index.bytes());
  }
  const auto spans = static_cast<double>(timeline->spans.size());
  state.counters["spans"] = spans;
  state.counters["bytes_per_span"] = static_cast<double>(index_of(state.range(0)).bytes()) / spans;
  state.counters["ns_per_span"] = benchmark::Counter(spans, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
BENCHMARK(build)->ArgName("Mspans")->Arg(1)->Arg(10)->Unit(benchmark::kMillisecond);

// Zoom 0 shows everything, each further one half of it, about the middle.
void visible(benchmark::State& state) {
  const view::SpanIndex& index = index_of(state.range(0));
  view::TimeAxis axis(index.whole(), kWidth);
  axis.zoom(kWidth / 2, std::ldexp(1.0, static_cast<int>(state.range(1))));
  view::Visible seen;
  std::size_t marks = 0;
  for (auto _ : state) {
    marks = 0;
    for (std::size_t l = 0; l < index.lanes().size(); ++l) {
      index.visible(l, axis, seen);
      marks += seen.gaps.size() + seen.columns.size() + seen.runs.size();
    }
  }
  state.counters["marks"] = static_cast<double>(marks);
}
BENCHMARK(visible)->ArgNames({"Mspans", "zoom"})->ArgsProduct({{1, 10}, {0, 2, 4, 6, 8, 10, 12, 14, 16}})->Unit(benchmark::kMillisecond);

void search(benchmark::State& state) {
  const Timeline& timeline = index_of(state.range(0)).timeline();
  const view::SpanQuery query = view::parse_query("mb 3 layer 5 attention", timeline);
  std::size_t found = 0;
  for (auto _ : state) found = view::find(timeline, query).size();
  state.counters["found"] = static_cast<double>(found);
}
BENCHMARK(search)->ArgName("Mspans")->Arg(1)->Arg(10)->Unit(benchmark::kMillisecond);

void hit(benchmark::State& state) {
  const view::SpanIndex& index = index_of(state.range(0));
  std::int64_t at = 0;
  const std::int64_t end = index.whole().end.v;
  for (auto _ : state) {
    at = (at + end / 3 + 17) % end;
    benchmark::DoNotOptimize(index.hit(0, Picoseconds{at}, Picoseconds{end / 1700}));
  }
}
BENCHMARK(hit)->ArgName("Mspans")->Arg(1)->Arg(10);

}  // namespace
