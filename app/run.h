// A plan run for real on this machine's CPU or GPUs, beside its prediction.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "app/compare.h"
#include "app/energy.h"
#include "app/inputs.h"
#include "app/simulate.h"
#include "executor/launch.h"
#include "executor/run.h"

namespace orrery::app {

struct RunSettings {
  std::string data;  // a file, an llm.c .bin, or "markov"
  std::int64_t steps = 20;
  std::string device = "cpu";  // or cuda: a GPU for each rank, or the only one for all; cuda:1: all ranks share that GPU
  executor::Launch launch;     // this process among those that run the plan together
  bool record_routing = true;  // what free routers chose, into RunReport::expert_load; a GPU waits for each
  std::function<void(const executor::StepReport&)> progress;
  std::function<void(std::shared_ptr<const executor::StepTimeline>)> timeline{};  // as executor::RunOptions::timeline
  const std::atomic<bool>* cancel = nullptr;
  // `every` and `in_background` are the plan's: checkpoint.every_steps and checkpoint.mode.
  executor::CheckpointOptions checkpoints;
  std::function<PowerMeters()> meters;  // empty: NVML's of the GPUs that the ranks have, of a CPU none
  profiler::HostClock clock = profiler::steady_clock();
};

struct RunReport {
  Inputs inputs;
  std::string data;                    // what the tokens were
  std::optional<double> entropy_rate;  // nats per token, where the source knows it
  executor::RunResult result;
  Summary measured;
  SimulateReport predicted;  // of the same plan, with the inputs' profile
  std::string expert_load;   // what its routers chose, as moe.load reads it; empty where none was free
  double noise = 0;          // half the interquartile range of the periods after warm-up, relative to their median
  StepEnergy energy{};       // of the GPUs of this process
};

// The Error, and how to go on from the last checkpoint in `folder` where there is one.
Error with_last_checkpoint(const Error& error, const std::string& folder);

// Where a rank found only `free` bytes: the fastest plan that makes do with them, in the flags that ask for it, or that none does.
std::string plan_that_fits(const Inputs& inputs, std::int64_t free);

// Throws Error where `device` is neither cpu nor a GPU of this machine.
void check_device(const std::string& device);

// Throws Error when the plan's cluster is not of the kind of device that it is to run on, and whatever executor::run and simulate throw. Cancelled
// runs report what they did. All processes of a launch call it with the same arguments; the report is whole in the first.
RunReport run(const Inputs& inputs, const RunSettings& settings);

// Half the interquartile range of the periods from step `warm_up` on, relative to their median; 0 with fewer than four of them.
double relative_noise(const std::vector<executor::StepReport>& steps, std::size_t warm_up);

// The expert load that a run's report holds; empty if it is none, or holds none.
std::string recorded_expert_load(const std::string& report);

// {"orrery": "run/1", "losses": […], "gradient_norms": […], "step_time_s": …, "summary": …, "predicted": …}
std::string to_json(const RunReport& report);

}  // namespace orrery::app
