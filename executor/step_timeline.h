// Puts together what the ranks recorded of one step.
#pragma once

#include <vector>

#include "core/timeline.h"
#include "core/units.h"
#include "executor/rank.h"
#include "executor/run.h"
#include "program/program.h"

namespace orrery::executor {

// By StepRecord's kinds.
std::vector<WorkClass> kind_classes(const program::Program& program);

// `last`: the step was one of role.epilogue's; `peak` as RunOptions::peak; `classes`: kind_classes(); `records`: of all ranks, in their order, of one
// step; `period`: the step's.
StepTimeline lay_out(const program::Program& program, bool last, FlopsPerSecond peak, const std::vector<WorkClass>& classes,
                     const std::vector<const StepRecord*>& records, Seconds period);

}  // namespace orrery::executor
