// Two steps side by side: two plans, two runs, or a prediction and its run; and where the difference comes from, largest first.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "app/inputs.h"
#include "app/summary.h"
#include "core/timeline.h"

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

// One side of a comparison.
struct Operand {
  std::string file{};  // a plan, a trace, or the JSON of a simulation or a run; empty: the plan that the flags make
  PlanFlags flags{};   // of a plan in the file: its profile, and what is to be different in it
  bool operator==(const Operand&) const = default;
};

// A summary of whatever it is: a plan (which is simulated), a trace, or the JSON of a simulation or a run. `routing`: an expert load with which a
// plan whose routers are free is simulated, unless the flags set moe.load.
Summary load_operand(const Operand& operand, const std::string& routing = {});
// Both operands. Beside a run's report a plan replays the routing that the run recorded.
CompareReport compare(const Operand& a, const Operand& b);

// Waterfall (of compute stream 0), times by class and peak memory by stage of a timeline; a rank weighs as much as the ranks that it stands for.
Summary summarise(const Timeline& timeline, const std::string& label);

// The most live bytes of each rank that has samples, by rank.
std::map<std::uint32_t, std::int64_t> peak_memory(const Timeline& timeline);

std::string to_json(const CompareReport& report);

}  // namespace orrery::app
