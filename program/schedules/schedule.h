// Pipeline schedules as pure functions: from the numbers of ranks and micro-batches to the order of passes on every rank.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "program/program.h"

namespace orrery::program {

// Which stage each chunk of a rank is, on p ranks.
//   loop      chunk c of rank r is stage c·p + r
//   vee       chunk 0 is stage r, chunk 1 is stage 2p − 1 − r
//   mirrored  p stages, each held twice: chunk 0 is stage r and serves direction 0, chunk 1 is stage p − 1 − r and serves direction 1
enum class Placement : std::uint8_t { loop, vee, mirrored };
std::string_view name(Placement placement);

// A chunk of a rank.
struct Home {
  std::int64_t rank = 0;
  std::uint16_t chunk = 0;
  bool operator==(const Home&) const = default;
};
std::int64_t stages(Placement placement, std::int64_t ranks, std::int64_t chunks);
std::int64_t stage_of(Placement placement, std::int64_t ranks, std::int64_t rank, std::int64_t chunk);
Home home(Placement placement, std::int64_t ranks, std::int64_t stage, std::int64_t direction);

// What one pass of one chunk takes, in any unit of time; a full backward takes input_grad + weight_grad. `latency` is added to every dependency
// between two ranks. A pass of one of q sequence splits takes what is given here: whoever splits, divides.
struct PassCosts {
  std::int64_t forward = 1, input_grad = 1, weight_grad = 1, latency = 0;
  std::optional<std::int64_t> forward_backward{};  // an overlapped pair; absent: nothing is gained by the overlap
  std::int64_t backward() const { return input_grad + weight_grad; }
  std::int64_t of(PassKind kind) const;  // 0 for a kind that is no work
  bool operator==(const PassCosts&) const = default;
};

// Everything that a schedule may depend on. Each reads what it needs and refuses what it cannot honour.
struct ScheduleInput {
  std::int64_t ranks = 1, microbatches = 1;
  std::int64_t chunks = 1;                     // model chunks per rank; 1 or 2 where the placement is a vee
  std::optional<std::int64_t> group{};         // micro-batches that a chunk runs in a row
  bool rounds = false;                         // PyTorch's groups instead: m / max(1, ⌊m/p⌋) micro-batches
  std::optional<std::int64_t> splits{};        // sequence splits per micro-batch
  std::vector<std::int64_t> replicas{};        // by stage, ranks that hold it and take turns; they add up to `ranks`. Empty: one each
  std::optional<PassCosts> costs{};            // for schedules that place passes by their duration
  std::optional<std::int64_t> memory_limit{};  // live activations per rank, in chunks, counted until the weight gradient
  bool operator==(const ScheduleInput&) const = default;
};

// One pass of one micro-batch (or of one of its splits) through one chunk of a rank. `microbatch` counts within its direction. A forward_backward
// runs the forward that the first five fields name and, overlapped with it, the full backward of the last four.
struct Pass {
  PassKind kind = PassKind::forward;
  std::uint16_t chunk = 0;
  std::uint16_t direction = 0, split = 0;
  std::int32_t microbatch = 0;
  std::uint16_t backward_chunk = 0;
  std::uint16_t backward_direction = 0, backward_split = 0;
  std::int32_t backward_microbatch = -1;
  bool operator==(const Pass&) const = default;
};
using PassOrder = std::vector<std::vector<Pass>>;  // by rank

// The halves of an overlapped pass as passes of their own, and any pass as its one or two halves.
Pass forward_half(const Pass& pass);
Pass backward_half(const Pass& pass);
template <class Visit>
void for_each_half(const Pass& pass, Visit visit) {
  if (pass.kind != PassKind::forward_backward) return visit(pass);
  visit(forward_half(pass));
  visit(backward_half(pass));
}

// An order of passes with what its numbers mean. `order` takes all micro-batches from an empty pipeline to an empty pipeline.
//
// An asynchronous schedule (update_every > 0) does not flush: rank r runs the `admitted[r]` forwards at its start once; then pairs of a forward and a
// backward repeat for ever, and what `order` has after them is the end of training. Its rank keeps `versions[r]` versions of its weights and updates
// them after every `update_every` micro-batches of the whole pipeline. Micro-batch i runs on the (i mod n)-th of the n replicas of a stage.
struct Schedule {
  std::string name;
  Placement placement = Placement::loop;
  std::int64_t ranks = 1, microbatches = 1, chunks = 1, splits = 1;
  PassOrder order;
  std::vector<std::int64_t> replicas;            // by stage; empty: one rank each
  std::vector<std::int64_t> admitted, versions;  // by rank; empty: synchronous
  std::int64_t update_every = 0;                 // 0: after all micro-batches
  bool uniform_delay = false;                    // asynchronous: every stage computes with the weights of one update ago
  std::int64_t directions() const { return placement == Placement::mirrored ? 2 : 1; }
  bool operator==(const Schedule&) const = default;
};
std::int64_t stages(const Schedule& schedule);
std::int64_t stage_of(const Schedule& schedule, std::int64_t rank, std::int64_t chunk);
Home home(const Schedule& schedule, std::int64_t stage, std::int64_t direction, std::int64_t microbatch);

// Throws Error (where: "schedule" or the field of ScheduleInput) for a name that is not built or an input that the schedule does not take.
Schedule make_schedule(std::string_view name, const ScheduleInput& input);

// A schedule of whole forwards and backwards whose steady pairs run as one overlapped pass each: every rank admits one more micro-batch, so that the
// two of a pair never need each other. Throws Error (where: "schedule") for other passes. Megatron-Core, --overlap-moe-expert-parallel-comm.
Schedule overlap_neighbours(const Schedule& schedule);

// The schedules that are built, in alphabetical order.
std::vector<std::string> schedule_names();

// Whether that schedule reads this field of ScheduleInput: "chunks", "group", "rounds", "splits", "replicas", "costs" or "memory_limit". False for
// names that are not built.
bool schedule_takes(std::string_view name, std::string_view field);

// How many stages p ranks may have with that schedule, as a multiple of p (a plan's vp); `usual` where nobody says. Names that are not built: 1.
struct ChunkRange {
  std::int64_t least = 1, most = 1, usual = 1;
};
ChunkRange schedule_chunks(std::string_view name);

// Idle share of the makespan with equal stages, a backward of twice the forward, and free communication.
double bubble_fraction(const Schedule& schedule);

}  // namespace orrery::program
