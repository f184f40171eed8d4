// Runs a Program on this machine, on the host or on its GPUs: one thread per rank interprets its role's list, instruction by instruction, and leaves
// a measured Timeline.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/model.h"
#include "core/plan.h"
#include "core/timeline.h"
#include "core/units.h"
#include "executor/data/tokens.h"
#include "executor/world.h"
#include "program/layer_lines.h"
#include "program/program.h"

namespace orrery::executor {

// One optimizer step, as every rank together saw it.
struct StepReport {
  std::int64_t step = 0;     // from 0
  double loss = 0;           // nats per token, mean over the global batch; prediction modules' mean, weighted, is added
  double gradient_norm = 0;  // over all parameters, before clipping
  Seconds period;            // from the end of the step before (the first: from its start) to its end, on the slowest rank
  double tokens_per_second = 0;
  bool timed = true;           // each instruction was: on a device such steps take a little longer, and do not count for step_time
  std::int64_t peak_live = 0;  // bytes on the fullest rank so far
  bool operator==(const StepReport&) const = default;
};

// One step as it was measured.
struct StepTimeline {
  std::int64_t step = 0;  // from 0
  Timeline timeline;      // origin "measured"
  Waterfall waterfall;    // of the timeline
};

// What one rank really allocated.
struct RankMemory {
  std::int64_t persistent = 0;  // parameters, gradients, optimizer states
  std::int64_t peak_live = 0;   // most bytes live at once
  std::int64_t arena = 0;       // high-water mark of its arena
  std::int64_t beside = 0;      // most that its device gave beside that: kernels' scratch, of all ranks that share it; 0 on the host
  bool operator==(const RankMemory&) const = default;
};

// What a run keeps for later, and what it begins with.
struct CheckpointOptions {
  std::string folder{};       // checkpoints go here, one also after the last step; empty: none are made
  std::int64_t every = 0;     // steps; 0: only after the last
  bool in_background = true;  // ranks go on while what they had is being written
  std::string resume{};       // a checkpoint, or a folder of them: the run goes on from there
  std::string init{};         // weights to begin with: a checkpoint, a folder of Hugging Face's, or a .safetensors file
};

struct RunOptions {
  std::int64_t steps = 20;  // in all, those before a resumed checkpoint included
  CheckpointOptions checkpoints;
  std::int64_t warm_up = 2;                         // first steps that do not count for step_time, as long as others are left
  FlopsPerSecond peak;                              // of one rank, for the waterfall's ideal time; 0: unknown, and ideal is 0
  std::int64_t most_ranks = 64;                     // refuse more without a world: threads that share a few cores
  World* world = nullptr;                           // null: threads of this process with the CPU kernels; must have as many ranks as the program
  std::function<void(const StepReport&)> progress;  // called on the caller's thread, in order
  // Called on the caller's thread, in order, with steps on the way, each when the step after it is done; of a run in one process only, and on a
  // device only with steps that are timed. At most one every `timeline_every`, and so few that they take a hundredth of that thread's time.
  std::function<void(std::shared_ptr<const StepTimeline>)> timeline{};
  Seconds timeline_every{0.4};
  const std::atomic<bool>* cancel = nullptr;  // looked at between steps
  bool keep_parameters = false;
  bool record_routing = true;  // of free routers; on a device each then waits for what it chose
  bool poison = false;         // fill what is allocated with NaN: nothing may read what nothing wrote
};

struct RunResult {
  std::vector<StepReport> steps;  // those completed
  Seconds step_time;              // median period after warm-up
  std::int64_t first_step = 0;    // steps before the first of these, where the run was resumed
  std::int64_t checkpoint = 0;    // steps that the last complete checkpoint of this run has; 0: there is none
  bool cancelled = false;
  bool emulated = false;           // low precision was computed in fp32 and rounded (executor/kernels/low_precision.h): times say nothing
  std::int64_t redone = 0;         // updates that post-validation took back and made again
  std::int64_t replayed = 0;       // steps that rank 0's device ran as one recorded piece of work (runtime.cuda_graphs)
  std::vector<RankMemory> memory;  // by rank
  Timeline timeline;               // of the recent step whose period is nearest to the median; origin "measured"
  std::int64_t timeline_step = 0;
  Waterfall waterfall;  // of the timeline
  // Where routers are free: by layer, step and micro-batch, and by the ranks that share the layer's experts, the copies of their tokens for each
  // expert (of a long run, those of the latest steps): what moe.load takes.
  std::vector<program::LayerLine> expert_load;
  // With keep_parameters: every global tensor by name, row-major without padding, put together from the ranks' shards; and the greatest difference
  // between two ranks that hold the same element.
  std::map<std::string, std::vector<float>> parameters;
  double replica_difference = 0;
};

// `program` is what compile(model, cluster, plan) made for any cluster. Throws Error when the program breaks a rule of check(), has an operator, a
// type, a stream or a model that nothing here executes (naming the first), needs more ranks or memory than there are, when the source's tokens do
// not fit the model, when a checkpoint cannot be read or written or is of another run, and when a rank fails (naming it).
// Where the world has several processes, all call this with the same arguments, `progress` and `cancel` being each one's own (any process's cancels
// all, two steps later), and one file system behind the checkpoints' folder; the result is whole in process 0, and elsewhere has its steps only.
RunResult run(const program::Program& program, const Model& model, const Plan& plan, const TokenSource& source, const RunOptions& options);

}  // namespace orrery::executor
