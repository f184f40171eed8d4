// Pipeline schedules as pure functions: from the numbers of ranks and micro-batches to the order of passes on every rank.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "program/program.h"

namespace orrery::program {

// What one pass of one chunk takes, in any unit of time; a full backward takes input_grad + weight_grad. `latency` is added to every dependency
// between two ranks.
struct PassCosts {
  std::int64_t forward = 1, input_grad = 1, weight_grad = 1, latency = 0;
  bool operator==(const PassCosts&) const = default;
};

// Everything that a schedule may depend on. Each reads what it needs and refuses what it cannot honour.
struct ScheduleInput {
  std::int64_t ranks = 1, microbatches = 1;
  std::int64_t chunks = 1;                     // model chunks per rank
  std::optional<std::int64_t> group{};         // micro-batches that a chunk runs in a row
  std::optional<std::int64_t> splits{};        // sequence splits per micro-batch
  std::int64_t replicas = 1;                   // ranks that hold the same stage and take turns
  std::optional<PassCosts> costs{};            // for schedules that place passes by their duration
  std::optional<std::int64_t> memory_limit{};  // live activations per rank, in chunks
  bool operator==(const ScheduleInput&) const = default;
};

// One pass of one micro-batch through one chunk of a rank.
struct Pass {
  PassKind kind = PassKind::forward;
  std::uint16_t chunk = 0;
  std::uint16_t direction = 0, split = 0;
  std::int32_t microbatch = 0;
  bool operator==(const Pass&) const = default;
};
using PassOrder = std::vector<std::vector<Pass>>;  // by rank

// Throws Error (where: "schedule" or the field of ScheduleInput) for a name that is not built or an input that the schedule does not take.
PassOrder schedule_order(std::string_view name, const ScheduleInput& input);

// The schedules that are built, in alphabetical order.
std::vector<std::string> schedule_names();

// Idle share of the makespan with equal stages, a backward of twice the forward, and free communication.
double bubble_fraction(const PassOrder& order);

// All forwards, then all backwards, both in the order of micro-batches. Huang et al. 2019.
PassOrder gpipe(const ScheduleInput& input);

// Rank r runs w = min(p − 1 − r, m) forwards, then m − w pairs of forward and backward, then w backwards: the order of PipeDream-Flush and DAPPLE.
// Narayanan et al. 2021, section 2.2.1.
PassOrder one_forward_one_backward(const ScheduleInput& input);

}  // namespace orrery::program
