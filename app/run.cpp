#include "app/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "app/gpu.h"
#include "core/error.h"
#include "core/quantity_text.h"
#include "executor/checkpoint/checkpoint.h"
#include "executor/comm/processes.h"
#include "executor/cuda_world.h"
#include "executor/data/tokens.h"
#include "executor/kernels/low_precision.h"
#include "planner/search.h"
#include "profiler/nvml.h"
#include "program/compile.h"
#include "program/loads.h"

namespace orrery::app {

double relative_noise(const std::vector<executor::StepReport>& steps, std::size_t warm_up) {
  std::vector<double> periods;
  for (std::size_t i = warm_up; i < steps.size(); ++i) periods.push_back(steps[i].period.v);
  if (periods.size() < 4) return 0;
  std::sort(periods.begin(), periods.end());
  const auto quantile = [&](double q) {
    const double at = q * static_cast<double>(periods.size() - 1);
    const auto low = static_cast<std::size_t>(at);
    const std::size_t high = std::min(low + 1, periods.size() - 1);
    return periods[low] + (at - static_cast<double>(low)) * (periods[high] - periods[low]);
  };
  return (quantile(0.75) - quantile(0.25)) / 2 / quantile(0.5);
}

Error with_last_checkpoint(const Error& error, const std::string& folder) {
  const auto last = executor::newest_checkpoint(folder);
  if (!last) return error;
  const std::string way = fmt::format("the last checkpoint is {}: the same command with --resume {} goes on from there", last->string(), folder);
  return {error.where(), error.message(), error.hint().empty() ? way : error.hint() + "; " + way};
}

std::string plan_that_fits(const Inputs& inputs, std::int64_t free) {
  if (inputs.plan.segments) return {};  // which the search does not change
  Cluster cluster = inputs.cluster;
  cluster.device.memory = Bytes{free};
  planner::Options options;
  options.top = 1;
  const planner::Outcome found = planner::search(inputs.model, cluster, inputs.plan, {}, inputs.profile ? &*inputs.profile : nullptr, options);
  const std::string room = format_bytes(Bytes{free});
  if (found.ranked.empty())
    return fmt::format("no plan for these devices fits into {}: take more of them, a smaller model or shorter sequences", room);
  const Plan& p = found.ranked.front().plan;
  std::string flags = fmt::format("--tp {} --pp {} --micro-batch {} --recompute {} --zero {}", p.parallel.tp, p.parallel.pp, p.batch.micro,
                                  p.recompute.kind, p.sharding.zero);
  if (p.parallel.vp > 1) flags += fmt::format(" --vp {}", p.parallel.vp);
  if (p.parallel.pp > 1) flags += fmt::format(" --schedule {}", p.schedule);
  return fmt::format("{} fits into {}, needing {}", flags, room, format_bytes(found.ranked.front().peak_memory));
}

namespace {

std::unique_ptr<executor::World> gpu_world(const std::string& device, const program::Program& program, std::unique_ptr<executor::KeyStore> store,
                                           const executor::Launch& launch) {
  executor::CudaWorldSettings settings;
  settings.options = cuda_options();
  if (device != "cuda") settings.devices = {cuda_number(device).value_or(0)};
  return executor::make_cuda_world(executor::load_cuda_plugin(), program, settings, std::move(store), launch);
}

PowerMeters gpu_meters(const std::string& device, std::int64_t ranks, const executor::Launch& launch) {
  const executor::CudaPlugin& plugin = executor::load_cuda_plugin();
  std::vector<int> named;
  if (device != "cuda") named = {cuda_number(device).value_or(0)};
  const std::vector<int> numbers = executor::devices_of_ranks(plugin, ranks, named, launch);
  const std::vector<executor::CudaDeviceInfo> devices = plugin.devices();
  PowerMeters out;
  out.ranks = static_cast<std::int64_t>(numbers.size());
  const std::set<int> apart(numbers.begin(), numbers.end());
  out.gpus = static_cast<std::int64_t>(apart.size());
  for (const int number : apart) {
    profiler::Nvml nvml = profiler::open_nvml(devices.at(static_cast<std::size_t>(number)).uuid);
    if (!nvml.meter) return {{}, nvml.why, out.ranks, out.gpus};
    out.list.push_back(std::move(nvml.meter));
  }
  return out;
}

}  // namespace

void check_device(const std::string& device) {
  if (const std::optional<int> number = cuda_number(device)) cuda_device(executor::load_cuda_plugin().devices(), *number);
}

RunReport run(const Inputs& inputs, const RunSettings& settings) {
  executor::CheckpointOptions checkpoints = settings.checkpoints;
  checkpoints.every = inputs.plan.checkpoint.every_steps.value_or(0);
  checkpoints.in_background = inputs.plan.checkpoint.mode == "async";
  if (checkpoints.every > 0 && checkpoints.folder.empty())
    throw at_flag({"checkpoint.every_steps", fmt::format("asks for a checkpoint every {} steps, and nothing says where to", checkpoints.every),
                   "give a folder: --checkpoint DIR"},
                  inputs.given);
  // The program is the same: the executor makes checkpoints between its steps, and a prediction has none of their time.
  Inputs between = inputs;
  between.plan.checkpoint.every_steps.reset();
  const auto& [model, cluster, plan, profile, given] = between;
  const bool gpu = settings.device != "cpu";
  if (gpu && cluster.device.kind != DeviceKind::gpu)
    throw at_flag({"cluster", fmt::format("'{}' has no GPUs to run on", plan.cluster), "name one of such GPUs, e.g. --cluster dgx-h200:1"}, given);
  if (!gpu && cluster.device.kind != DeviceKind::cpu_core)
    throw at_flag(
        {"cluster", fmt::format("'{}' is not this machine", plan.cluster),
         fmt::format(
             "run it on CPU threads: --cluster this-machine:{} --set precision.compute=fp32 --set precision.params=fp32; or on a GPU: --device cuda",
             cluster.devices)},
        given);
  RunReport report{inputs, {}, {}, {}, {}, {}, {}, 0};
  SimulateOptions simulate_options;
  simulate_options.operators = true;
  // What this machine has no arithmetic for it does in fp32 and rounds: memory is predicted, times are those of fp32 and mean nothing.
  Inputs priced = between;
  if (cluster.device.kind == DeviceKind::cpu_core)
    for (const DType t : {DType::tf32, DType::bf16, DType::fp8})
      if (cluster.device.peak_of(t).v <= 0) priced.cluster.device.peak[t] = cluster.device.peak_of(DType::fp32);
  report.predicted = simulate(priced, simulate_options);

  const std::unique_ptr<executor::TokenSource> tokens = executor::open_tokens(settings.data, model.vocab, plan.batch.sequence, plan.seed);
  report.data = tokens->description();
  report.entropy_rate = tokens->entropy_rate();
  const program::Program program = compile(between);
  executor::RunOptions options;
  options.steps = settings.steps;
  // As the simulation's ideal time is made: of a GPU by the datasheet.
  options.peak = profile && !gpu ? profile->peak : cluster.device.peak_of(plan.precision.compute);
  options.progress = settings.progress;
  options.timeline = settings.timeline;
  options.cancel = settings.cancel;
  options.checkpoints = checkpoints;
  options.record_routing = settings.record_routing;
  const std::unique_ptr<executor::KernelSet> fp32 = executor::make_cpu_kernels(), kernels = executor::make_rounding_kernels(*fp32);
  std::unique_ptr<executor::KeyStore> store = settings.launch.processes > 1 ? executor::meet(settings.launch) : nullptr;
  std::unique_ptr<executor::World> world;
  if (gpu)
    world = gpu_world(settings.device, program, std::move(store), settings.launch);
  else if (store)
    world = executor::make_processes_world(std::move(store), program.ranks(), *kernels, settings.launch.local_processes);
  options.world = world.get();
  EnergyCount energy(settings.meters ? settings.meters()
                     : gpu           ? gpu_meters(settings.device, program.ranks(), settings.launch)
                                     : PowerMeters{{}, "it is read of GPUs only", 0, 0},
                     options.warm_up, settings.clock);
  options.progress = [&](const executor::StepReport& step) {
    if (settings.progress) settings.progress(step);
    energy.step_done();
  };
  try {
    report.result = executor::run(program, model, plan, *tokens, options);
  } catch (const executor::OutOfMemory& e) {
    // A rank that has its buffers, but whose kernels want more scratch than is left, needs smaller buffers by what is missing.
    const std::vector<std::int64_t>& peaks = report.predicted.summary.peak_memory_by_stage;
    const std::int64_t most = peaks.empty() ? 0 : *std::max_element(peaks.begin(), peaks.end());
    const bool has_buffers = e.where() != "plan" && e.wanted() < most;
    const std::string way = plan_that_fits(between, has_buffers ? std::max<std::int64_t>(0, most - (e.wanted() - e.free())) : e.free());
    const Error told(e.where(), e.message(), way.empty() ? e.hint() : way);
    throw checkpoints.folder.empty() ? told : with_last_checkpoint(told, checkpoints.folder);
  } catch (const Error& e) {
    if (checkpoints.folder.empty() || e.where().starts_with("--")) throw;  // a flag was wrong: nothing has run
    throw with_last_checkpoint(e, checkpoints.folder);
  }
  report.energy = energy.result(report.predicted.energy, cluster.devices);
  if (settings.launch.process != 0) return report;
  if (!report.result.expert_load.empty()) report.expert_load = program::write_expert_load(report.result.expert_load);
  report.noise = relative_noise(report.result.steps, static_cast<std::size_t>(options.warm_up));

  report.measured.label = planner::label(cluster, plan);
  report.measured.origin = "measured";
  report.measured.step = report.result.timeline.step;
  report.measured.waterfall = report.result.waterfall;
  add_up(report.result.timeline, report.measured);
  report.measured.peak_memory_by_stage.assign(program.roles.size(), 0);
  for (std::size_t r = 0; r < report.result.memory.size(); ++r) {
    const std::size_t stage = program.stage_of(static_cast<std::int64_t>(r));
    std::int64_t& peak = report.measured.peak_memory_by_stage[stage];
    peak = std::max(peak, report.result.memory[r].peak_live);
  }
  return report;
}

}  // namespace orrery::app
