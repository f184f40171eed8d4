#include "app/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "executor/data/tokens.h"
#include "planner/search.h"
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

RunReport run(const Inputs& inputs, const RunSettings& settings) {
  const auto& [model, cluster, plan, profile, given] = inputs;
  if (cluster.device.kind != DeviceKind::cpu_core)
    throw at_flag(
        {"cluster", fmt::format("'{}' is not this machine", plan.cluster),
         fmt::format("run it on CPU threads: --cluster this-machine:{} --set precision.compute=fp32 --set precision.params=fp32", cluster.devices)},
        given);
  RunReport report{inputs, {}, {}, {}, {}, {}, {}, 0};
  SimulateOptions simulate_options;
  simulate_options.operators = true;
  report.predicted = simulate(inputs, simulate_options);

  const std::unique_ptr<executor::TokenSource> tokens = executor::open_tokens(settings.data, model.vocab, plan.batch.sequence, plan.seed);
  report.data = tokens->description();
  report.entropy_rate = tokens->entropy_rate();
  const program::Program program = compile(inputs);
  executor::RunOptions options;
  options.steps = settings.steps;
  options.peak = profile ? profile->peak : cluster.device.peak_of(plan.precision.compute);
  options.progress = settings.progress;
  options.cancel = settings.cancel;
  report.result = executor::run(program, model, plan, *tokens, options);
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
