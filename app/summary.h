// What a step's time and memory went to, in one form for a prediction and for a run, so that any two can be laid side by side.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/timeline.h"
#include "core/units.h"

namespace orrery::app {

// Time of one kind of work in a step, as the mean over ranks.
struct WorkTime {
  std::string name;  // a WorkClass ("gemm") or an operator ("linear_forward")
  Picoseconds time;
  double count = 0;  // executions per rank
  bool operator==(const WorkTime&) const = default;
};

struct Summary {
  std::string label;   // "tp=2 pp=2 …" or a file name
  std::string origin;  // "simulated" or "measured"
  Picoseconds step;
  Waterfall waterfall;
  std::vector<WorkTime> classes;    // every WorkClass that occurs; for communication: busy time of its streams, hidden or not
  std::vector<WorkTime> operators;  // largest first
  std::vector<std::int64_t> peak_memory_by_stage;
  std::int64_t ranks_missing = 0;  // of a trace of some ranks: those that nothing in it stands for; 0 by stage where no rank of the stage is there
  bool operator==(const Summary&) const = default;
};

// What a part of the waterfall (one of Waterfall::names()) is, in a few words; empty for other names.
std::string_view part_meaning(std::string_view part);

// Adds up the spans of a timeline, each rank as many times as the ranks that it stands for.
void add_up(const Timeline& timeline, Summary& into);

// A document {"orrery": "summary/1", …}; read(write(x)) == x. Throws Error.
std::string write_summary(const Summary& summary);
Summary read_summary(std::string_view text, const std::string& file);

}  // namespace orrery::app
