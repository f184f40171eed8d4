// The search for a plan, as a verb.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "app/inputs.h"
#include "planner/search.h"

namespace orrery::app {

struct PlanReport {
  Inputs inputs;  // inputs.plan: the chosen plan, or the base where none fits
  planner::Outcome outcome;
  std::string explanation;  // as `--explain` prints it
  std::string refused;      // one line: what was refused, by constraint and number
};

// The space without the axes that settings decide: `--set parallel.tp=4` searches what `--tp 4` searches. `plan`: with the settings applied.
planner::Space pinned(planner::Space space, const Plan& plan, const std::vector<std::string>& settings);

// `flags` with the settings that make `wanted` of their plan, and no more of them: load_inputs(asking_for(flags, wanted)).plan == wanted. `wanted` is
// one that a search from load_inputs(flags) could find: it may differ in tp, pp, vp, sp, the micro-batch, the schedule and its arguments, the layers
// of the stages, the kind of recomputation and the ZeRO stage.
PlanFlags asking_for(PlanFlags flags, const Plan& wanted);

// `question` with nothing said about what a search varies, and its global batch: where a search for better plans begins, and the flags of
// `orrery plan` that make the same search. Throws as load_inputs does.
PlanFlags searching_from(PlanFlags question);

// `inputs.plan` is the base: everything that the search does not vary is taken from it.
PlanReport plan(const Inputs& inputs, const planner::Space& space, const planner::Options& options);

// {"orrery": "search/1", "plans": […], "refused": {…}, …}
std::string to_json(const PlanReport& report);

}  // namespace orrery::app
