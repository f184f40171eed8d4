#include "app/plan.h"

namespace orrery::app {

PlanReport plan(const Inputs& inputs, const planner::Space& space, const planner::Options& options) {
  PlanReport report{inputs, {}, {}, {}};
  report.outcome = planner::search(inputs.model, inputs.cluster, inputs.plan, space, inputs.profile ? &*inputs.profile : nullptr, options);
  report.explanation = planner::explain(inputs.cluster, report.outcome);
  report.refused = planner::refusal_line(report.outcome);
  if (!report.outcome.ranked.empty()) report.inputs.plan = report.outcome.ranked.front().plan;
  return report;
}

}  // namespace orrery::app
