// The whole loop on this machine: profile, plan, simulate, run, compare.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "app/run.h"

namespace orrery::app {

struct DemoSettings {
  std::string folder = "orrery-demo";  // made where it is missing; profile, plans, corpus and traces go there
  std::string model = "cpu-llama-small";
  std::vector<std::string> settings;  // PATH=VALUE, of the plans, of model.… and of cluster.…; a set axis is not searched
  std::int64_t steps = 20;
  std::int64_t repeats = 2;                            // runs of each plan, in turn, so that the machine's own noise shows
  std::function<void(const std::string& what)> stage;  // "profiling 212 operators", once each
  std::function<void(std::int64_t done, std::int64_t of, const std::string& note)> progress;  // within the stage
  const std::atomic<bool>* cancel = nullptr;
};

// One plan, predicted and run.
struct DemoPlan {
  std::string role;  // "best" or "poor"
  Plan plan;
  SimulateReport predicted;
  Summary measured;                 // of the last repeat
  std::vector<Seconds> step_times;  // median of each repeat
  Seconds step_time;                // mean of the repeats' medians
  double noise = 0;                 // of one step (half the interquartile range) or between repeats, whichever is greater; relative
  double error = 0;                 // (predicted - measured) / measured
  double first_loss = 0, last_loss = 0;
  bool memory_agrees = false;  // predicted and measured peaks of every stage, to the byte
  CompareReport compared;      // A: predicted, B: measured
};

struct DemoReport {
  Inputs inputs;  // with the measured profile
  std::int64_t considered = 0;
  std::vector<DemoPlan> plans;
  bool ranked_rightly = false;
  std::vector<std::string> files;  // what was written
  double seconds_profiling = 0, seconds_planning = 0, seconds_running = 0;
  bool cancelled = false;
};

DemoReport demo(const DemoSettings& settings);

std::string to_json(const DemoReport& report);

}  // namespace orrery::app
