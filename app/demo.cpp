#include "app/demo.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "app/gpu.h"
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
constexpr std::int64_t kGpuSequence = 2048;                // with the same batch 16384 tokens: a quarter of a second of an H200 for a model of 1.2 B

double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// What all processes have had of the cores, and this one.
struct CpuTimes {
  std::optional<double> all;
  double mine = 0, at = 0;
};
CpuTimes cpu_times() {
  std::ostringstream text;
  text << std::ifstream("/proc/stat").rdbuf();
  rusage mine{};
  getrusage(RUSAGE_SELF, &mine);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return {busy_seconds(text.str(), static_cast<double>(sysconf(_SC_CLK_TCK))), seconds(mine.ru_utime) + seconds(mine.ru_stime), seconds_now()};
}

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

  const bool gpu = cuda_number(settings.device).has_value();
  const executor::CudaPlugin* plugin = gpu ? &executor::load_cuda_plugin() : nullptr;
  DemoReport report;
  std::error_code failure;
  fs::create_directories(settings.folder, failure);
  if (failure) throw Error(settings.folder, "cannot be made: " + failure.message(), "name another folder with --folder");
  const auto write = [&](const std::string& name, const std::string& text) {
    std::string path = (fs::path(settings.folder) / name).string();
    write_file_atomically(path, text);
    report.files.push_back(path);
    return path;
  };

  const std::string model = !settings.model.empty() ? settings.model : gpu ? "llama-3.2-1b" : "cpu-llama-small";
  if (gpu) report.least_tolerance = kLeastGpuTolerance;
  // At least two ranks, also on one core: the engine knows that they share it.
  const std::int64_t cores = std::max<std::int64_t>(1, std::thread::hardware_concurrency());
  std::int64_t ranks = 2;
  while (2 * ranks <= std::min(cores, kMostRanks)) ranks *= 2;
  PlanFlags flags;
  if (gpu) ranks = 1;
  flags.model = model;
  flags.cluster = cluster_on(settings.device, fmt::format("this-machine:{}", ranks));
  flags.global_batch = kGlobalBatch;
  flags.sequence = gpu ? std::min(kGpuSequence, std::max<std::int64_t>(1, model_from(model, {}).max_positions)) : kSequence;
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
    throw Error("--model", fmt::format("'{}' has no plan on {} rank{} that the executor runs", model, ranks, ranks == 1 ? "" : "s"),
                gpu ? "try llama-3.2-1b" : "try cpu-llama-small");

  double begin = seconds_now();
  const CpuTimes before = cpu_times();
  if (gpu) {
    stage(fmt::format("profiling the kernels that {} plans need", programs.size()));
    GpuProfileSettings profiling;
    profiling.budget = settings.profiling.value_or(Seconds{30});
    profiling.progress = progress;
    profiling.cancel = settings.cancel;
    profiling.grid = [&](const executor::KernelSet& kernels) {
      return profiler::grid_for(programs, profiler::settings_of(in.model, in.plan), kernels, profiler::kGpuFootprints);
    };
    in.profile = profile_gpu(*plugin, *cuda_number(settings.device), profiling);
  } else {
    const profiler::ProfileGrid grid = profiler::grid_for(programs, profiler::settings_of(in.model));
    stage(
        fmt::format("profiling {} operators and {} collectives that {} plans need", grid.operators.size(), grid.collectives.size(), programs.size()));
    profiler::ProfileOptions profiling;
    profiling.commit = commit();
    profiling.limit = settings.profiling.value_or(Seconds{55});
    const auto measured = [&](const profiler::ProfileProgress& p) { progress(p.done, p.total, p.what); };
    in.profile = profiler::profile_cpu(grid, profiling, measured, settings.cancel);
  }
  report.seconds_profiling = seconds_now() - begin;
  write("profile.json", write_profile(*in.profile));
  if ((report.cancelled = cancelled())) return report;

  begin = seconds_now();
  stage("planning");
  planner::Options searching;
  searching.top = programs.size();  // keep all: the poor plan is the slowest
  searching.cancel = settings.cancel;
  searching.progress = [&](std::int64_t done, std::int64_t of) { progress(done, of, "plans"); };
  const planner::Outcome outcome = planner::search(in.model, in.cluster, in.plan, space, &*in.profile, searching);
  report.seconds_planning = seconds_now() - begin;
  if ((report.cancelled = cancelled())) return report;
  if (outcome.ranked.empty()) throw Error("orrery demo", "no plan fits in this machine's memory", planner::refusal_line(outcome));
  write("plans.txt", planner::explain(in.cluster, outcome));

  std::vector<Inputs> inputs;
  for (const bool best : {true, false}) {
    DemoPlan plan;
    plan.role = best ? "best" : "poor";
    plan.plan = (best ? outcome.ranked.front() : outcome.ranked.back()).plan;
    inputs.push_back(in);
    inputs.back().plan = plan.plan;
    SimulateOptions simulating;
    simulating.operators = simulating.timeline = true;
    plan.predicted = simulate(inputs.back(), simulating);
    write(plan.role + ".plan.json", write_plan(plan.plan));
    write(plan.role + ".predicted.trace.json", write_chrome_trace(*plan.predicted.timeline));
    plan.predicted.timeline.reset();
    report.plans.push_back(std::move(plan));
  }

  begin = seconds_now();
  std::vector<std::vector<Timeline>> timelines(report.plans.size());  // by repeat
  // A GPU varies less from run to run, and each run draws a billion parameters first.
  const std::int64_t repeats = gpu ? std::min<std::int64_t>(settings.repeats, 2) : settings.repeats;
  for (std::int64_t repeat = 0; repeat < repeats && !report.cancelled; ++repeat) {
    for (std::size_t p = 0; p < report.plans.size() && !report.cancelled; ++p) {
      DemoPlan& plan = report.plans[p];
      stage(fmt::format("running the {} plan for {} steps ({} of {})", plan.role, settings.steps, repeat + 1, repeats));
      RunSettings running;
      running.data = data;
      running.steps = settings.steps;
      running.device = settings.device;
      running.record_routing = !gpu;
      running.cancel = settings.cancel;
      running.progress = [&](const executor::StepReport& s) {
        progress(s.step + 1, settings.steps, fmt::format("loss {:.3f}, {:.0f} tokens/s", s.loss, s.tokens_per_second));
      };
      RunReport run = app::run(inputs[p], running);
      report.cancelled = run.result.cancelled;
      if (run.result.steps.empty() || (run.result.cancelled && !plan.repeats.empty())) continue;
      plan.first_loss = run.result.steps.front().loss;
      plan.last_loss = run.result.steps.back().loss;
      plan.repeats.push_back({run.result.step_time, run.noise, std::move(run.measured), std::move(run.energy)});
      timelines[p].push_back(std::move(run.result.timeline));
    }
  }
  report.seconds_running = seconds_now() - begin;
  if (const CpuTimes after = cpu_times(); before.all && after.all)
    report.others = std::max(0.0, (*after.all - *before.all - (after.mine - before.mine)) / (after.at - before.at));
  judge(report);
  for (std::size_t p = 0; p < report.plans.size(); ++p) {
    const DemoPlan& plan = report.plans[p];
    if (!plan.repeats.empty()) write(plan.role + ".measured.trace.json", write_chrome_trace(timelines[p][plan.shown]));
  }
  return report;
}

std::string_view name(Verdict verdict) {
  switch (verdict) {
    case Verdict::open:
      return "open";
    case Verdict::within:
      return "within";
    case Verdict::outside:
      return "outside";
  }
  return {};
}

std::optional<double> busy_seconds(std::string_view proc_stat, double ticks) {
  std::istringstream line{std::string(proc_stat.substr(0, proc_stat.find('\n')))};
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0, irq = 0, soft = 0, stolen = 0;
  if (!(line >> name >> user >> nice >> system >> idle >> waiting >> irq >> soft >> stolen) || name != "cpu" || !(ticks > 0)) return std::nullopt;
  return (user + nice + system + irq + soft + stolen) / ticks;
}

void judge(DemoReport& report) {
  const auto median = [](std::vector<double> v) {
    std::sort(v.begin(), v.end());
    const std::size_t n = v.size();
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
  };
  const auto tolerance = [&](double noise) { return std::max(report.least_tolerance, kNoiseTolerated * noise); };
  std::vector<double> errors, noises;
  report.memory_agrees = !report.plans.empty();
  for (DemoPlan& plan : report.plans) {
    if (plan.repeats.empty()) {
      report.memory_agrees = false;
      continue;
    }
    std::vector<double> times;
    plan.noise = 0;
    for (const DemoRepeat& r : plan.repeats) {
      times.push_back(r.step_time.v);
      plan.noise = std::max(plan.noise, r.noise);
    }
    plan.step_time = Seconds{median(times)};
    const auto [least, most] = std::minmax_element(times.begin(), times.end());
    plan.noise = std::max(plan.noise, (*most - *least) / 2 / plan.step_time.v);
    const auto distance = [&](std::size_t r) { return std::abs(times[r] - plan.step_time.v); };
    plan.shown = 0;
    for (std::size_t r = 1; r < times.size(); ++r)
      if (distance(r) < distance(plan.shown)) plan.shown = r;
    const Summary& shown = plan.repeats[plan.shown].measured;
    plan.error = (plan.predicted.step_time.v - plan.step_time.v) / plan.step_time.v;
    plan.tolerance = tolerance(plan.noise);
    plan.memory_agrees = shown.peak_memory_by_stage == plan.predicted.summary.peak_memory_by_stage;
    plan.compared = compare(plan.predicted.summary, shown);
    report.memory_agrees = report.memory_agrees && plan.memory_agrees;
    errors.push_back(std::abs(plan.error));
    noises.push_back(plan.noise);
  }
  report.verdict = Verdict::open;
  report.ranked_rightly = false;
  if (errors.empty()) return;
  report.median_error = median(errors);
  report.noise = median(noises);
  report.tolerance = tolerance(report.noise);
  if (errors.size() < report.plans.size()) return;
  if (!report.cancelled) report.verdict = report.median_error <= report.tolerance ? Verdict::within : Verdict::outside;
  report.ranked_rightly = true;
  for (const DemoPlan& a : report.plans)
    for (const DemoPlan& b : report.plans)
      if (a.predicted.step_time < b.predicted.step_time && !(a.step_time < b.step_time)) report.ranked_rightly = false;
}

}  // namespace orrery::app
