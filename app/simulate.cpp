#include "app/simulate.h"

#include <algorithm>
#include <future>
#include <thread>

#include "cost/cost.h"
#include "planner/search.h"
#include "program/compile.h"

namespace orrery::app {
namespace {

StageMemory stage_memory(const program::MemoryReport& report) {
  StageMemory memory{report.peak_live, report.persistent, report.arena, {}};
  for (std::size_t i = 0; i < std::min<std::size_t>(3, report.at_peak.size()); ++i)
    memory.largest.push_back({report.at_peak[i].name, report.at_peak[i].bytes});
  return memory;
}

std::vector<SourceShare> source_shares(const program::Program& program, const cost::Table& cost) {
  std::vector<double> time(cost.sources.size(), 0);
  double sum = 0;
  for (const program::Role& role : program.roles) {
    std::vector<std::int64_t> times(role.passes.size(), 0);
    for (const program::PassInstance& pass : role.body) ++times[pass.pass];
    for (std::size_t t = 0; t < role.passes.size(); ++t) {
      const program::PassTemplate& pass = role.passes[t];
      for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) {
        const program::Instruction& instruction = role.instructions[i];
        if (instruction.opcode == program::Opcode::wait || instruction.opcode == program::Opcode::host_wait) continue;
        const cost::Entry& entry = cost.entries[instruction.shape];
        const double spent = static_cast<double>(entry.duration.v) * static_cast<double>(times[t]);
        time[entry.source] += spent;
        sum += spent;
      }
    }
  }
  std::vector<SourceShare> shares;
  for (std::size_t s = 0; s < time.size(); ++s)
    if (time[s] > 0) shares.push_back({cost.sources[s].name, cost.sources[s].grade, cost.sources[s].sigma, time[s] / sum});
  std::stable_sort(shares.begin(), shares.end(), [](const SourceShare& a, const SourceShare& b) { return a.share > b.share; });
  return shares;
}

}  // namespace

std::optional<Explored> explore(const Inputs& inputs, const SimulateOptions& options) {
  const auto& [model, cluster, plan, profile, given] = inputs;
  const auto cancelled = [&] { return options.cancel && options.cancel->load(std::memory_order_relaxed); };
  if (cancelled()) return {};
  const bool checkpoints = options.checkpoints && plan.checkpoint.every_steps;
  program::Program program = [&] {
    if (!checkpoints) return compile(inputs);
    Inputs between = inputs;  // a program is what is between them
    between.plan.checkpoint.every_steps.reset();
    return compile(between);
  }();
  if (cancelled()) return {};
  cost::Table cost = cost::price(program, cluster, profile ? &*profile : nullptr);
  sim::Options sim_options;
  sim_options.unfold = options.unfold;
  sim_options.record = options.timeline || options.operators;
  sim_options.ranks = options.ranks;
  sim_options.cancel = options.cancel;
  // Memory is a function of the program alone, and as much work as the simulation: both are done at once.
  const std::shared_future<std::vector<program::MemoryReport>> memory =
      std::async(std::thread::hardware_concurrency() > 1 ? std::launch::async : std::launch::deferred, [&] {
        std::vector<program::MemoryReport> reports;
        for (const program::Role& role : program.roles) reports.push_back(cancelled() ? program::MemoryReport{} : program::memory(program, role));
        return reports;
      }).share();
  sim_options.memory = memory;
  sim::Result result = sim::simulate(program, cost, cluster, sim_options);
  if (result.cancelled) return {};

  SimulateReport report;
  report.label = planner::label(cluster, plan);
  report.model = model.name;
  report.cluster = cluster.name;
  report.devices = program.ranks();
  report.dp = program::data_parallel(cluster, plan);
  report.plan = plan;
  for (const program::Role& role : program.roles) {
    std::int64_t& held = report.layers_by_rank.emplace_back();
    for (const program::Chunk& chunk : role.chunks) held += chunk.layers;
  }
  report.stages = program::stage_layers(model, plan);
  report.step_time = to_seconds(result.step);
  report.makespan = to_seconds(result.makespan);
  report.steady = result.steady;
  report.convention = options.convention;

  const auto devices = static_cast<double>(report.devices);
  const double tokens = static_cast<double>(plan.batch.global) * static_cast<double>(plan.batch.sequence);
  report.tokens_per_s = tokens / report.step_time.v;
  report.tokens_per_s_per_gpu = report.tokens_per_s / devices;
  const Flops model_flops = program::model_flops(model, tokens, plan.batch.sequence, options.convention);
  const Flops hardware_flops = program::hardware_flops(program, model, options.convention);
  const double rate = model_flops.v / report.step_time.v / devices;
  report.tflops_per_gpu = rate * 1e-12;
  const double peak = profile && cluster.device.kind == DeviceKind::cpu_core ? profile->peak.v : cluster.device.peak_of(plan.precision.compute).v;
  if (peak > 0) {
    // Ranks that share cores have fewer cores' peak than ranks.
    const double share = cluster.shared_cores > 0 ? std::min(1.0, static_cast<double>(cluster.all_cores()) / devices) : 1.0;
    report.mfu = rate / (peak * share);
    report.hfu = hardware_flops.v / report.step_time.v / devices / (peak * share);
  }
  report.bubble_fraction = program.bubble_fraction;

  report.summary.label = report.label;
  report.summary.origin = "simulated";
  report.summary.step = result.step;
  report.summary.waterfall = result.waterfall;
  report.capacity = cluster.device.memory;
  if (cancelled()) return {};
  for (const program::MemoryReport& of_role : memory.get()) {
    report.memory.push_back(stage_memory(of_role));
    report.summary.peak_memory_by_stage.push_back(report.memory.back().peak);
    if (report.memory.back().peak > report.memory[static_cast<std::size_t>(report.fullest_stage)].peak)
      report.fullest_stage = static_cast<std::int64_t>(report.memory.size()) - 1;
  }
  report.headroom = report.capacity - Bytes{report.memory[static_cast<std::size_t>(report.fullest_stage)].peak};
  report.fits = report.headroom.v >= 0;

  report.energy_grade = cost.energy;
  report.energy = planner::step_energy(cost, result, report.devices);
  if (checkpoints) try {
      report.checkpoints = checkpoint_cost(program, cluster, plan, report.step_time, options.storage);
    } catch (const Error& e) {
      throw at_flag(e, given);
    }
  if (options.tokens) {
    RunCost run;
    run.tokens = *options.tokens;
    run.steps = run.tokens / tokens;
    const double seconds = run.steps * (report.checkpoints ? report.checkpoints->step : report.step_time).v;
    run.days = seconds / 86400;
    run.device_hours = seconds / 3600 * devices;
    run.megawatt_hours = report.energy.v * run.steps / 3.6e9;
    const double price = options.price_per_device_hour ? *options.price_per_device_hour : cluster.price_per_device_hour;
    if (price > 0) run.dollars = run.device_hours * price;
    report.run = run;
  }
  report.critical_path = result.critical_path;
  report.sources = source_shares(program, cost);
  report.instructions = result.instructions;
  report.simulated_ranks = static_cast<std::int64_t>(result.simulated_ranks.size());
  report.periods = result.periods;
  report.trace_hash = result.trace_hash;
  report.hash = inputs_hash(inputs);
  if (options.operators && result.timeline) add_up(*result.timeline, report.summary);
  if (options.timeline) report.timeline = std::move(result.timeline);
  return Explored{inputs, std::move(program), std::move(cost), std::move(report)};
}

SimulateReport simulate(const Inputs& inputs, const SimulateOptions& options) {
  SimulateOptions to_the_end = options;
  to_the_end.cancel = nullptr;
  return std::move(*explore(inputs, to_the_end)).report;
}

}  // namespace orrery::app
