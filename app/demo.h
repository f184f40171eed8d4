// The whole loop on this machine: profile, plan, simulate, run, compare.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/run.h"

namespace orrery::app {

struct DemoSettings {
  std::string folder = "orrery-demo";  // made where it is missing; profile, plans, corpus and traces go there
  std::string device = "cpu";          // or cuda, cuda:1: one rank on that GPU
  std::string model;                   // empty: cpu-llama-small, on a GPU llama-3.2-1b
  std::vector<std::string> settings;   // PATH=VALUE, of the plans, of model.… and of cluster.…; a set axis is not searched
  std::int64_t steps = 20;
  std::int64_t repeats = 3;                            // runs of each plan, in turn, so that the machine's own noise shows; on a GPU at most 2
  std::optional<Seconds> profiling;                    // what measuring the kernels may take; default: 55 s, of a GPU 30
  std::function<void(const std::string& what)> stage;  // "profiling 212 operators", once each
  std::function<void(std::int64_t done, std::int64_t of, const std::string& note)> progress;  // within the stage
  const std::atomic<bool>* cancel = nullptr;
};

// One run of a plan.
struct DemoRepeat {
  Seconds step_time;  // median
  double noise = 0;   // of one step: half the interquartile range, relative
  Summary measured;
  StepEnergy energy{};
};

// One plan, predicted and run. What follows from the repeats is filled in by judge().
struct DemoPlan {
  std::string role;  // "best" or "poor"
  Plan plan;
  SimulateReport predicted;
  std::vector<DemoRepeat> repeats;  // an interrupted one counts where there is no other
  double first_loss = 0, last_loss = 0;

  std::size_t shown = 0;       // the repeat whose step time is nearest to the median: what `compared` and the trace show
  Seconds step_time;           // median of the repeats
  double noise = 0;            // the greatest of any repeat's, and half the range of the repeats' step times; relative
  double error = 0;            // (predicted - measured) / measured
  double tolerance = 0;        // what an error is held against: the report's least, or twice the noise where that is more
  bool memory_agrees = false;  // predicted and measured peaks of every stage, to the byte
  CompareReport compared;      // A: predicted, B: measured
};

// Whether the prediction was as good as the demo promises; open where a plan was not run to the end.
enum class Verdict : std::uint8_t { open, within, outside };
std::string_view name(Verdict verdict);

inline constexpr double kLeastTolerance = 0.10;     // the project's aim for the step time on a CPU, …
inline constexpr double kLeastGpuTolerance = 0.03;  // … and on a GPU
inline constexpr double kNoiseTolerated = 2;        // times the machine's own noise

struct DemoReport {
  Inputs inputs;  // with the measured profile
  std::int64_t considered = 0;
  std::vector<DemoPlan> plans;
  std::vector<std::string> files;  // what was written
  double seconds_profiling = 0, seconds_planning = 0, seconds_running = 0;
  // Cores that other processes used, as a mean, while this one profiled and ran; empty where the system does not say. A verdict says little where it
  // is not near 0: the prediction is for a machine that does nothing else.
  std::optional<double> others;
  bool cancelled = false;
  double least_tolerance = kLeastTolerance;

  // By judge(), over the plans that were run.
  double median_error = 0;          // of the errors' magnitudes
  double noise = 0;                 // median of the plans'
  double tolerance = 0;             // as a plan's, from that noise
  Verdict verdict = Verdict::open;  // of the median error
  bool ranked_rightly = false;      // the plan predicted to be faster was; false where not all were run
  bool memory_agrees = false;       // of every plan, to the byte
};

// Seconds that all cores together have been busy, user, system and stolen time together, by the text of /proc/stat with `ticks` a second; empty where
// the text is another.
std::optional<double> busy_seconds(std::string_view proc_stat, double ticks);

// Fills in what follows from the predictions and the repeats.
void judge(DemoReport& report);

// On a GPU one rank runs alone, since ranks that share it would also share its time, which a prediction for one rank each does not know; the plans
// differ in micro-batches and recomputation.
// Throws Error where the folder cannot be written or nothing runs on this machine. Interrupted, it returns with what was done until then, having
// written the profile and the traces that there are.
DemoReport demo(const DemoSettings& settings);

std::string to_json(const DemoReport& report);

}  // namespace orrery::app
