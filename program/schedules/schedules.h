// The schedules themselves, one pure function and file each. They may assume what make_schedule has checked of their input.
#pragma once

#include "program/schedules/schedule.h"

namespace orrery::program {

// All forwards, then all backwards, both in the order of micro-batches. Huang et al. 2019; torchgpipe.
Schedule gpipe(const ScheduleInput& input);

// Rank r runs w = min(p − 1 − r, m) forwards, then m − w pairs of forward and backward, then w backwards: the order of PipeDream-Flush and DAPPLE.
// Narayanan et al. 2021, section 2.2.1.
Schedule one_forward_one_backward(const ScheduleInput& input);

}  // namespace orrery::program
