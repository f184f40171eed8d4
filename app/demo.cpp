#include "app/demo.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <thread>

#include "app/plan.h"
#include "app/profile.h"
#include "app/version.h"
#include "core/cluster_json.h"
#include "core/error.h"
#include "core/files.h"
#include "core/model_json.h"
#include "core/plan_json.h"
#include "core/profile_json.h"
#include "core/timeline_json.h"
#include "profiler/grid.h"
#include "profiler/profile_cpu.h"
#include "program/compile.h"

namespace orrery::app {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSequence = 256, kGlobalBatch = 8;  // 2048 tokens a step: about a second on two cores of 2024
constexpr std::int64_t kMostRanks = 4;                     // more would only repeat the picture

double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Real text to train on that every installation has: the model and topology documents that ship with the program.
std::string corpus() {
  std::vector<fs::path> paths;
  for (const char* folder : {"models", "topologies"})
    for (const auto& entry : fs::recursive_directory_iterator(data_directory() / folder))
      if (entry.is_regular_file() && entry.path().extension() == ".json") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::string text;
  for (const fs::path& path : paths) text += read_text_file(path.string());
  return text;
}

}  // namespace

DemoReport demo(const DemoSettings& settings) {
  const auto stage = [&](const std::string& what) {
    if (settings.stage) settings.stage(what);
  };
  const auto progress = [&](std::int64_t done, std::int64_t of, const std::string& note) {
    if (settings.progress) settings.progress(done, of, note);
  };
  const auto cancelled = [&] { return settings.cancel && settings.cancel->load(); };

  DemoReport report;
  std::error_code failure;
  fs::create_directories(settings.folder, failure);
  if (failure) throw Error(settings.folder, "cannot be made: " + failure.message(), "name another folder with --folder");
  const auto write = [&](const std::string& name, const std::string& text) {
    const std::string path = (fs::path(settings.folder) / name).string();
    write_file_atomically(path, text);
    report.files.push_back(path);
    return path;
  };

  // At least two ranks, also on one core: the engine knows that they share it.
  const std::int64_t cores = std::max<std::int64_t>(1, std::thread::hardware_concurrency());
  std::int64_t ranks = 2;
  while (2 * ranks <= std::min(cores, kMostRanks)) ranks *= 2;
  PlanFlags flags;
  flags.model = settings.model;
  flags.cluster = fmt::format("this-machine:{}", ranks);
  flags.global_batch = kGlobalBatch;
  flags.sequence = kSequence;
  flags.settings = settings.settings;
  report.inputs = load_inputs(flags);
  Inputs& in = report.inputs;
  const std::string data = write("corpus.txt", corpus());

  planner::Space space;
  space.micro = {1, 2, 4};
  space = pinned(space, in.plan, settings.settings);
  std::vector<program::Program> programs;
  for (const Plan& plan : planner::enumerate(in.model, in.cluster, in.plan, space))
    if (program::refusals(in.model, in.cluster, plan).empty()) programs.push_back(program::compile(in.model, in.cluster, plan));
  report.considered = static_cast<std::int64_t>(programs.size());
  if (programs.empty())
    throw Error("--model", fmt::format("'{}' has no plan on {} ranks that the executor runs", settings.model, ranks), "try cpu-llama-small");

  double begin = seconds_now();
  const profiler::ProfileGrid grid = profiler::grid_for(programs, profiler::settings_of(in.model));
  stage(fmt::format("profiling {} operators and {} collectives that {} plans need", grid.operators.size(), grid.collectives.size(), programs.size()));
  profiler::ProfileOptions profiling;
  profiling.commit = commit();
  const auto measured = [&](const profiler::ProfileProgress& p) { progress(p.done, p.total, p.what); };
  in.profile = profiler::profile_cpu(grid, profiling, measured, settings.cancel);
  report.seconds_profiling = seconds_now() - begin;
  if ((report.cancelled = cancelled())) return report;
  write("profile.json", write_profile(*in.profile));

  begin = seconds_now();
  stage("planning");
  planner::Options searching;
  searching.top = programs.size();  // keep all: the poor plan is the slowest
  const planner::Outcome outcome = planner::search(in.model, in.cluster, in.plan, space, &*in.profile, searching);
  report.seconds_planning = seconds_now() - begin;
  if (outcome.ranked.empty()) throw Error("orrery demo", "no plan fits in this machine's memory", planner::refusal_line(outcome));
  write("plans.txt", planner::explain(in.cluster, outcome));

  for (const bool best : {true, false}) {
    DemoPlan plan;
    plan.role = best ? "best" : "poor";
    plan.plan = (best ? outcome.ranked.front() : outcome.ranked.back()).plan;
    report.plans.push_back(std::move(plan));
    write(report.plans.back().role + ".plan.json", write_plan(report.plans.back().plan));
  }

  begin = seconds_now();
  for (std::int64_t repeat = 0; repeat < settings.repeats; ++repeat) {
    for (DemoPlan& plan : report.plans) {
      stage(fmt::format("running the {} plan for {} steps ({} of {})", plan.role, settings.steps, repeat + 1, settings.repeats));
      Inputs mine = in;
      mine.plan = plan.plan;
      RunSettings running;
      running.data = data;
      running.steps = settings.steps;
      running.cancel = settings.cancel;
      running.progress = [&](const executor::StepReport& s) {
        progress(s.step + 1, settings.steps, fmt::format("loss {:.3f}, {:.0f} tokens/s", s.loss, s.tokens_per_second));
      };
      const RunReport run = app::run(mine, running);
      if ((report.cancelled = run.result.cancelled)) return report;
      plan.predicted = run.predicted;
      plan.measured = run.measured;
      plan.step_times.push_back(run.result.step_time);
      plan.noise = std::max(plan.noise, run.noise);
      plan.first_loss = run.result.steps.front().loss;
      plan.last_loss = run.result.steps.back().loss;
      plan.memory_agrees = run.measured.peak_memory_by_stage == run.predicted.summary.peak_memory_by_stage;
      if (repeat + 1 == settings.repeats) write(plan.role + ".measured.trace.json", write_chrome_trace(run.result.timeline));
    }
  }
  report.seconds_running = seconds_now() - begin;

  for (DemoPlan& plan : report.plans) {
    double sum = 0, least = 1e300, most = 0;
    for (const Seconds t : plan.step_times) {
      sum += t.v;
      least = std::min(least, t.v);
      most = std::max(most, t.v);
    }
    plan.step_time = Seconds{sum / static_cast<double>(plan.step_times.size())};
    plan.noise = std::max(plan.noise, (most - least) / plan.step_time.v);
    plan.error = (plan.predicted.step_time.v - plan.step_time.v) / plan.step_time.v;
    plan.compared = compare(plan.predicted.summary, plan.measured);
    Inputs mine = in;
    mine.plan = plan.plan;
    SimulateOptions options;
    options.timeline = true;
    write(plan.role + ".predicted.trace.json", write_chrome_trace(*simulate(mine, options).timeline));
  }
  report.ranked_rightly =
      (report.plans[0].predicted.step_time < report.plans[1].predicted.step_time) == (report.plans[0].step_time < report.plans[1].step_time);
  return report;
}

}  // namespace orrery::app
