// Two steps side by side: two plans, two runs, or a prediction and its run; and where the difference comes from, largest first.
#pragma once

#include <string>
#include <vector>

#include "app/inputs.h"
#include "app/summary.h"

namespace orrery::app {

struct Row {
  std::string name;
  double a = 0, b = 0;  // seconds, or bytes
  double difference() const { return b - a; }
};

struct CompareReport {
  Summary a, b;
  std::vector<Row> waterfall;  // seconds, in the waterfall's order; parts that are 0 in both are left out
  std::vector<Row> classes;    // seconds by class of work
  std::vector<Row> operators;  // seconds by operator, largest difference first
  std::vector<Row> memory;     // bytes by pipeline stage, where both sides know them
  std::vector<Row> largest;    // the waterfall's rows that differ, largest difference first: they add up to the difference of the steps
};

CompareReport compare(Summary a, Summary b);

// A summary from whatever FILE holds: a plan (which is simulated, with the flags' profile and settings), a trace, or the JSON of a simulation or a
// run. `routing`: an expert load with which a plan whose routers are free is simulated, unless the flags set moe.load.
Summary load_operand(const std::string& file, const PlanFlags& flags, const std::string& routing = {});
// Both operands. Beside a run's report a plan replays the routing that the run recorded.
CompareReport compare_files(const std::string& a, const std::string& b, const PlanFlags& flags);

// Waterfall (of compute stream 0), times by class and peak memory by stage of a timeline; a rank weighs as much as the ranks that it stands for.
Summary summarise(const Timeline& timeline, const std::string& label);

std::string to_json(const CompareReport& report);

}  // namespace orrery::app
