// What the schedules write their orders with.
#pragma once

#include "program/schedules/schedule.h"

namespace orrery::program {

inline Pass pass(PassKind kind, std::int64_t microbatch, std::int64_t chunk = 0, std::int64_t split = 0) {
  return {.kind = kind,
          .chunk = static_cast<std::uint16_t>(chunk),
          .split = static_cast<std::uint16_t>(split),
          .microbatch = static_cast<std::int32_t>(microbatch)};
}
inline Pass forward(std::int64_t microbatch, std::int64_t chunk = 0) { return pass(PassKind::forward, microbatch, chunk); }
inline Pass backward(std::int64_t microbatch, std::int64_t chunk = 0) { return pass(PassKind::backward, microbatch, chunk); }
inline Pass input_grad(std::int64_t microbatch, std::int64_t chunk = 0) { return pass(PassKind::input_grad, microbatch, chunk); }
inline Pass weight_grad(std::int64_t microbatch, std::int64_t chunk = 0) { return pass(PassKind::weight_grad, microbatch, chunk); }

// As many ranks without passes as the input asks for.
inline Schedule empty_schedule(const ScheduleInput& input, Placement placement = Placement::loop, std::int64_t chunks = 1) {
  Schedule out;
  out.placement = placement;
  out.ranks = input.ranks, out.microbatches = input.microbatches, out.chunks = chunks;
  out.order.resize(static_cast<std::size_t>(input.ranks));
  return out;
}

// `warm_up` forwards, then pairs of a forward and a backward until `units` forwards have run, then the backwards that remain. `forward(k)` and
// `backward(k)` give the k-th pass of each kind.
template <class Forward, class Backward>
void warm_up_and_alternate(std::vector<Pass>& passes, std::int64_t warm_up, std::int64_t units, Forward forward, Backward backward) {
  for (std::int64_t k = 0; k < warm_up; ++k) passes.push_back(forward(k));
  for (std::int64_t k = 0; k < units - warm_up; ++k) {
    passes.push_back(forward(warm_up + k));
    passes.push_back(backward(k));
  }
  for (std::int64_t k = units - warm_up; k < units; ++k) passes.push_back(backward(k));
}

}  // namespace orrery::program
