// What each step from a plan to a prediction costs, for the plans in examples/plans: compile, check, price, simulate. `ratio` has compiling over
// simulating, both in turn in one run.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "app/inputs.h"
#include "cost/cost.h"
#include "program/check.h"
#include "program/compile.h"
#include "program/size.h"
#include "sim/simulate.h"

namespace {

using namespace orrery;

struct Case {
  app::Inputs in;
  program::Program program;
  cost::Table cost;
};

std::shared_ptr<Case> load(const std::string& file) {
  app::PlanFlags flags;
  flags.plan = file;
  auto c = std::make_shared<Case>(Case{app::load_inputs(flags), {}, {}});
  c->program = program::compile(c->in.model, c->in.cluster, c->in.plan);
  c->cost = cost::price(c->program, c->in.cluster, nullptr);
  return c;
}

void compile(benchmark::State& state, const Case& c) {
  for (auto _ : state) benchmark::DoNotOptimize(program::compile(c.in.model, c.in.cluster, c.in.plan));
  const program::Size size = program::size(c.program);
  state.counters["templates_KiB"] = static_cast<double>(size.templates) / 1024;
  state.counters["order_KiB"] = static_cast<double>(size.order) / 1024;
}

void check(benchmark::State& state, const Case& c) {
  for (auto _ : state) {
    const std::vector<program::Violation> violations = program::check(c.program);
    if (!violations.empty()) throw std::logic_error(violations.front().what);
  }
}

void price(benchmark::State& state, const Case& c) {
  for (auto _ : state) benchmark::DoNotOptimize(cost::price(c.program, c.in.cluster, nullptr));
}

void simulate(benchmark::State& state, const Case& c) {
  std::uint64_t instructions = 0;
  for (auto _ : state) instructions = sim::simulate(c.program, c.cost, c.in.cluster).instructions;
  state.counters["instructions"] = static_cast<double>(instructions);
}

double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void ratio(benchmark::State& state, const Case& c) {
  std::vector<double> ratios;
  for (auto _ : state) {
    const double t0 = seconds();
    benchmark::DoNotOptimize(program::compile(c.in.model, c.in.cluster, c.in.plan));
    const double t1 = seconds();
    benchmark::DoNotOptimize(sim::simulate(c.program, c.cost, c.in.cluster));
    ratios.push_back((t1 - t0) / (seconds() - t1));
  }
  std::nth_element(ratios.begin(), ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2), ratios.end());
  state.counters["compile_over_simulate"] = ratios[ratios.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(ORRERY_SOURCE_DIR) / "examples" / "plans"))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  const std::pair<const char*, void (*)(benchmark::State&, const Case&)> kinds[]{
      {"compile", compile}, {"check", check}, {"price", price}, {"simulate", simulate}, {"ratio", ratio}};
  for (const std::filesystem::path& file : files) {
    const std::shared_ptr<Case> c = load(file.string());
    for (const auto& [kind, run] : kinds)
      benchmark::RegisterBenchmark((file.stem().string() + "/" + kind).c_str(), [run = run, c](benchmark::State& s) { run(s, *c); })
          ->Unit(benchmark::kMillisecond)
          ->MinTime(0.1);
  }
  benchmark::RunSpecifiedBenchmarks();
}
