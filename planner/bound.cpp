#include "planner/bound.h"

#include <algorithm>
#include <set>
#include <vector>

#include "program/compile.h"

namespace orrery::planner {

Bytes memory_bound(const Model& model, const Cluster& cluster, const Plan& plan) {
  if (plan.segments) return Bytes{0};  // each has its own share
  const std::int64_t dp = program::data_parallel(cluster, plan), tp = plan.parallel.tp, pp = plan.parallel.pp;
  const std::int64_t expert_ranks = plan.parallel.etp * plan.parallel.ep;
  const ParameterCount count = count_parameters(model);
  const auto states_of = [&](std::int64_t parameters, std::int64_t replicas) {
    const PrecisionSpec& p = plan.precision;
    std::int64_t states = plan.optimizer.kind == "adamw" ? 2 * bytes_of(p.optimizer, parameters) : 0;
    if (bits(p.params) < 32 && !plan.optimizer.stochastic_rounding) states += bytes_of(DType::fp32, parameters);
    const std::int64_t shards = std::max<std::int64_t>(1, replicas / std::max<std::int64_t>(1, plan.sharding.replicas));
    const auto part = [&](std::int64_t bytes, std::int64_t from) { return plan.sharding.zero >= from ? bytes / shards : bytes; };
    return part(bytes_of(p.params, parameters), 3) + part(bytes_of(p.grads, parameters), 2) + part(states, 1);
  };
  const std::int64_t stage_ranks = tp * plan.parallel.cp * dp;
  return Bytes{states_of((count.total - count.experts) / (tp * pp), dp * plan.parallel.cp) +
               states_of(count.experts / (expert_ranks * pp), std::max<std::int64_t>(1, stage_ranks / expert_ranks))};
}

Picoseconds time_bound(const program::Program& program, const cost::Table& cost, const Cluster& cluster) {
  using program::PassKind;
  struct Stage {
    std::int64_t forward = 0, backward = 0, optimizer = 0, all = 0;  // one pass each; everything in the step
  };
  std::vector<Stage> stages;
  __int128 core_time = 0;
  for (const program::Role& role : program.roles) {
    std::vector<std::int64_t> compute(role.passes.size(), 0), cores(role.passes.size(), 0), early(role.passes.size(), 0);
    for (std::size_t t = 0; t < role.passes.size(); ++t) {
      const program::PassTemplate& pass = role.passes[t];
      bool waiting = pass.kind == PassKind::backward;  // recomputation in front of a backward pass need not wait for its gradient
      for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) {
        const program::Instruction& instruction = role.instructions[i];
        if (instruction.opcode == program::Opcode::wait || instruction.opcode == program::Opcode::host_wait) continue;
        cost::Entry entry = cost.entries[instruction.shape];
        if (instruction.load != program::kNone)  // on some rank it may take least of all
          for (const std::uint32_t shape : program.loads[instruction.load].shapes)
            entry.duration = std::min(entry.duration, cost.entries[shape].duration);
        if (instruction.opcode == program::Opcode::compute && instruction.stream == program::kComputeStream) {
          waiting = waiting && (instruction.flags & program::kRecompute) != 0;
          compute[t] += entry.duration.v;
          if (waiting) early[t] += entry.duration.v;
        }
        if (instruction.opcode == program::Opcode::compute && entry.core_share > 0) cores[t] += entry.duration.v;
      }
    }
    Stage stage;
    stage.forward = stage.backward = INT64_MAX;
    for (std::size_t t = 0; t < role.passes.size(); ++t) {
      if (role.passes[t].kind == PassKind::forward) stage.forward = std::min(stage.forward, compute[t]);
      if (role.passes[t].kind == PassKind::backward) stage.backward = std::min(stage.backward, compute[t] - early[t]);
    }
    if (stage.forward == INT64_MAX) stage.forward = 0;
    if (stage.backward == INT64_MAX) stage.backward = 0;
    for (const program::PassInstance& pass : role.body) {
      stage.all += compute[pass.pass];
      if (role.passes[pass.pass].kind == PassKind::optimizer) stage.optimizer += compute[pass.pass];
      core_time += static_cast<__int128>(cores[pass.pass]) * program.ranks_of_role(static_cast<std::size_t>(role.stage));
    }
    stages.push_back(stage);
  }
  // A rank that defers weight gradients may still have some to do when the last gradient goes back up; and where each stage is held twice, both ends
  // of the pipeline begin at once.
  std::set<std::int64_t> held;
  bool deferred = false, twice = false;
  for (const program::Role& role : program.roles) {
    for (const program::PassTemplate& pass : role.passes)
      deferred = deferred || pass.kind == PassKind::weight_grad || pass.kind == PassKind::forward_backward;
    for (const program::Chunk& chunk : role.chunks) twice = !held.insert(chunk.stage).second || twice;
  }
  std::int64_t bound = 0, in_front = 0;
  for (const Stage& stage : stages) {
    bound = std::max(bound, stage.all);
    // Asynchronous, or validated after the update: stages need not wait for each other between steps.
    if (program.update_every > 0 || program.roles.front().validation != program::kNone) continue;
    // From one gradient norm to the next: stage 0 updates, the first micro-batch comes down, this stage does its passes, the last one goes back up.
    bound = std::max(bound, stages.front().optimizer + in_front + stage.all - stage.optimizer);
    if (!twice) in_front += stage.forward + (deferred ? 0 : stage.backward);
  }
  if (cluster.shared_cores > 0) bound = std::max(bound, static_cast<std::int64_t>(core_time / cluster.all_cores()));
  return Picoseconds{bound};
}

}  // namespace orrery::planner
