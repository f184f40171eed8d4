// Pipeline parallelism: passes that receive, sends at the end of a pass, passes that free what was sent, and the order of all passes of a stage.
#pragma once

#include <cstdint>
#include <vector>

#include "program/layers/layers.h"
#include "program/schedules/schedule.h"

namespace orrery::program {

// Templates of one role, as indices into Role::passes; kNone: the role has no such pass.
struct Passes {
  std::uint16_t forward = kNone, first_forward = kNone;   // first_forward: waits for gathered parameters
  std::uint16_t backward = kNone, last_backward = kNone;  // last_backward: reduces gradients
  std::uint16_t receive_forward = kNone, receive_backward = kNone, release_forward = kNone, release_backward = kNone;
  std::uint16_t optimizer = kNone;
};

// Expands the receive and release passes that the stage needs.
void pipeline_passes(const Context& c, Passes& passes);

// Within a forward or backward template: what was received arrives on another stream; what leaves is sent last.
void expect_activations(const Context& c);
void expect_gradient(const Context& c);
void send_activations(const Context& c);
void send_gradient(const Context& c);

// The body: `order` with receives one pass ahead and buffers of sends kept until the next but one pass of their direction (overlapped), or with the
// next pass's receive and the end of the send after each pass. Either way a receive is issued before anything waits for a send, so that neighbours
// that send to each other at the same time both get on.
std::vector<PassInstance> pipeline_body(const std::vector<Pass>& order, const Passes& passes, bool overlap);

}  // namespace orrery::program
