// One plan in virtual time, and everything that is said about it.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/checkpoint_cost.h"
#include "app/inputs.h"
#include "app/summary.h"
#include "core/timeline.h"
#include "cost/cost.h"
#include "program/flops.h"
#include "program/memory.h"
#include "program/program.h"
#include "sim/simulate.h"

namespace orrery::app {

struct SimulateOptions {
  program::FlopsConvention convention = program::FlopsConvention::causal_half;
  bool unfold = false;
  bool timeline = false;                        // keep the spans
  bool operators = false;                       // fill Summary::classes and ::operators (records the spans meanwhile)
  std::vector<std::int64_t> ranks;              // whose spans to keep; empty: all simulated ones
  std::optional<double> tokens;                 // length of the whole run, for days and money
  std::optional<double> price_per_device_hour;  // US dollars; otherwise the cluster's, if it has one
  bool checkpoints = false;                     // a plan may have some: SimulateReport::checkpoints; otherwise it is refused
  std::optional<BytesPerSecond> storage;        // at which all ranks together write them
  const std::atomic<bool>* cancel = nullptr;    // of explore(): once it is true, it gives up within milliseconds
};

struct MemoryAtPeak {
  std::string name;
  std::int64_t bytes = 0;
};

struct StageMemory {
  std::int64_t peak = 0, persistent = 0, arena = 0;
  std::vector<MemoryAtPeak> largest;  // the three largest buffers at the peak
};

// What was used to price the step: time on compute streams and in communication that each source answers for, as a share of their sum.
struct SourceShare {
  std::string name;
  Grade grade = Grade::assumed;
  double sigma = 0;
  double share = 0;
};

struct RunCost {
  double tokens = 0, steps = 0, days = 0, device_hours = 0, megawatt_hours = 0;
  std::optional<double> dollars;
};

struct SimulateReport {
  std::string label, model, cluster;
  std::int64_t devices = 0, dp = 0;
  Plan plan;
  std::vector<std::int64_t> stages, layers_by_rank;  // decoder layers by pipeline stage, and by rank of the pipeline (which may hold several stages)
  Seconds step_time, makespan;
  bool steady = false;
  double tokens_per_s = 0, tokens_per_s_per_gpu = 0, tflops_per_gpu = 0;
  program::FlopsConvention convention = program::FlopsConvention::causal_half;
  double mfu = 0, hfu = 0;     // under `convention`, of the peak of the plan's compute precision
  double bubble_fraction = 0;  // of the schedule with equal stages; what this step idles is in the waterfall
  Summary summary;
  std::vector<StageMemory> memory;  // by stage
  Bytes capacity;
  bool fits = false;
  std::int64_t fullest_stage = 0;
  Bytes headroom;  // negative: lacking
  Joules energy;   // of one step, all devices
  Grade energy_grade = Grade::assumed;
  std::optional<RunCost> run;
  std::optional<CheckpointCost> checkpoints;  // not in step_time and what follows from it, but in `run`
  sim::CriticalPath critical_path;
  std::vector<SourceShare> sources;  // largest first
  std::uint64_t instructions = 0;
  std::int64_t simulated_ranks = 0, periods = 0;
  std::uint64_t trace_hash = 0;
  std::string hash;  // of the inputs
  std::optional<Timeline> timeline;
};

// A report with what it was made from, for whoever shows the plan from all sides.
struct Explored {
  Inputs inputs;
  program::Program program;  // with checkpoints: what is between them
  cost::Table cost;          // of the program's shapes
  SimulateReport report;
};

// Throws Error for an illegal plan; one that does not fit in memory is simulated and says so. Empty when cancelled.
std::optional<Explored> explore(const Inputs& inputs, const SimulateOptions& options = {});

// The report alone. `cancel` is not heeded.
SimulateReport simulate(const Inputs& inputs, const SimulateOptions& options = {});

// One JSON document: step_time_s, tokens_per_s_per_gpu, tflops_per_gpu, mfu, bubble_fraction, waterfall, peak_memory_bytes_by_stage, fits,
// exposed_communication_s and the rest of the report, with a provenance block.
std::string to_json(const SimulateReport& report);

}  // namespace orrery::app
