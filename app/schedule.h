// A pipeline schedule on its own: its order, its exact replay, and pictures of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "program/schedules/csv.h"
#include "program/schedules/replay.h"
#include "program/schedules/schedule.h"

namespace orrery::app {

// Pass costs that may be fractions, as integers: `unit` of them are 1.
struct ScaledCosts {
  program::PassCosts costs;
  std::int64_t unit = 1;
  bool operator==(const ScaledCosts&) const = default;
};

// "F=1,I=1.2,W=.8,FB=3,p2p=0": what one pass of one chunk (of one split) takes, in any unit. B = I + W: B alone is halved, and of B, I and W the
// third follows from two. Absent: F, I and W 1, no latency, and nothing gained by overlapping. At most 6 decimals and 10^6. Throws Error at --cost.
ScaledCosts parse_costs(const std::string& text);

// What a command line can say about a schedule. Absent: what the schedule itself takes for granted.
struct ScheduleRequest {
  std::string name;  // of a schedule, or a CSV file: whatever ends in .csv
  std::optional<std::int64_t> ranks, microbatches, chunks, group, splits, memory_limit;
  bool rounds = false;
  std::vector<std::int64_t> replicas;
  std::string costs;
};

struct ScheduleReport {
  program::Schedule schedule;
  ScaledCosts costs;
  std::vector<std::int64_t> args;  // the schedule's own: chunks where it takes any number, then the group or the splits
  program::Replay replay;          // in units of `costs`; empty where there is a fault
  std::optional<Error> fault;      // why the order cannot run, or needs more memory than the limit
  double bubble_in_makespan = 0;   // the largest share of the makespan that a rank idles
  double mean_bubble_in_makespan = 0;
  std::optional<double> steady_bubble;                  // of a schedule that does not drain: mean idle share of the ranks once it is under way
  std::int64_t idle_in_makespan = 0, idle_in_span = 0;  // the largest of all ranks
};

// Throws Error, where: the flag, for a name that is nothing, and for what the schedule does not take; at FILE:line:cell for a file that cannot be
// read.
ScheduleReport schedule(const ScheduleRequest& request);

// Times of a replay as people read them: "33", "4.2".
std::string time_text(const ScheduleReport& report, std::int64_t time);

// One line: "makespan 33; at most 9 of it idle (27.3 %), 9 in the ranks' spans; activations 4 3 2 1".
std::string in_short(const ScheduleReport& report);

// One document {"orrery": "schedule/1", "schedule", "P", "M", "chunks", "args", "stages", "cost": {F, I, W, FB, p2p}, "makespan", "busy",
// "peak_until_B", "peak_until_W", "ranks": by rank, by pass {"kind", "items": [[pass, direction, micro-batch, stage]…], "start", "end"}} and both
// idle times by rank; "steady_bubble" of asynchronous schedules. Kinds: F, B, I, W and FB, a pair with two items. With sequence splits an item has
// the split as its fifth entry.
std::string to_json(const ScheduleReport& report);

// The order as PyTorch's pipelining reads it. Throws Error where its form has no words for the schedule.
std::string to_csv(const ScheduleReport& report, program::CsvForm form);

// A picture: a row per rank, a cell per pass with the number of its micro-batch, drawn to scale. Throws Error for more passes than can be drawn.
std::string to_svg(const ScheduleReport& report);

}  // namespace orrery::app
