// The segments of a plan, each as a plan of its own.
#include <algorithm>
#include <numeric>

#include "program/compile.h"
#include "program/transforms/context_parallel.h"

namespace orrery::program {
namespace {

std::int64_t quotient(std::int64_t a, std::int64_t b) { return b > 0 ? a / b : 0; }

}  // namespace

std::int64_t pipeline_ranks(const Plan& plan) {
  if (!plan.segments) return plan.parallel.pp;
  std::int64_t pp = 0;
  for (const SegmentSpec& s : *plan.segments) pp += plan.parallel_of(s).pp;
  return pp;
}

void resolve_contexts(const Model& model, const Cluster& cluster, std::vector<PlanSegment>& segments) {
  for (PlanSegment& s : segments)
    if (!s.plan.parallel.cp_inner) s.plan.parallel.cp_inner = most_heads_exchanged(model, cluster, s.plan);
}

std::vector<PlanSegment> plan_segments(const Model& model, const Cluster& cluster, const Plan& plan) {
  if (!plan.segments || plan.segments->empty())
    return {{.plan = plan, .layers = model.layers, .devices = cluster.devices, .dp = quotient(cluster.devices, plan.model_ranks())}};
  std::vector<PlanSegment> out;
  std::int64_t stage = 0, rank = 0;
  for (const SegmentSpec& spec : *plan.segments) {
    PlanSegment s;
    s.plan = plan;
    s.plan.segments.reset();
    s.plan.parallel = plan.parallel_of(spec);
    if (spec.recompute) s.plan.recompute = *spec.recompute;
    const std::int64_t replica = s.plan.model_ranks();
    s.first_layer = spec.first_layer, s.layers = spec.layers, s.first_stage = stage, s.first_rank = rank;
    s.devices = spec.devices.value_or(replica), s.dp = quotient(s.devices, replica);
    if (!out.empty()) s.plan.batch.micro = quotient(plan.batch.micro * out.front().dp, s.dp);
    if (plan.stages) {  // its own of them
      const auto at = [&](std::int64_t n) { return plan.stages->begin() + std::min<std::ptrdiff_t>(n, std::ssize(*plan.stages)); };
      s.plan.stages.emplace(at(stage), at(stage + s.plan.parallel.pp));
    }
    stage += s.plan.parallel.pp, rank += s.devices;
    out.push_back(std::move(s));
  }
  return out;
}

}  // namespace orrery::program
