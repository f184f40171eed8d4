// Schedules as the CSV files that PyTorch's pipelining writes and reads (torch/distributed/pipelining/schedules.py).
//
// A line per rank, a cell per action, an empty cell where the rank idles. An action is a stage, a type and a micro-batch: 2F4. Types of passes: F, B,
// and its halves I (gradient of the input) and W (of the weights); a forward overlapped with a backward is (7F4;0B0)OVERLAP_F_B. That is the
// compute-only form. The full form has communication too: SEND_F and SEND_B after what they send, named like it; RECV_F and RECV_B before what needs
// it, named like that; UNSHARD and RESHARD around the use of a stage's parameters, and REDUCE_GRAD after its last backward, without micro-batch.
#pragma once

#include <string>
#include <string_view>

#include "program/schedules/schedule.h"

namespace orrery::program {

enum class CsvForm : std::uint8_t { compute, full };

// A file of either form as a schedule named "csv", with a stage to each rank in turn, or in a vee. What a file says beyond passes is checked and then
// dropped, since the compiler writes it anew: sends and receives meet in the same order at both ends, after and before the passes that they serve;
// parameters are there when a pass uses them; gradients are reduced after the last backward. A file that has no action of such a group need not have
// any. Throws Error at FILE:line:cell (both from 1) for what is wrong with a cell; where a pass is missing at "schedule", as check() does, which says
// the rest.
Schedule read_schedule_csv(std::string_view text, const std::string& file);

// The compute-only form is drawn on PyTorch's grid of steps, in which a pass takes one step and needs what was done in earlier ones. The full form
// unshards up to three stages ahead, as PyTorch does. Requires a schedule that check() accepts. Throws Error (where: "schedule") for what the form
// has no words for: stages held twice, sequence splits, several weight versions.
std::string write_schedule_csv(const Schedule& schedule, CsvForm form);

}  // namespace orrery::program
