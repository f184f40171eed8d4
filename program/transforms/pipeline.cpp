#include "program/transforms/pipeline.h"

#include <array>
#include <deque>

namespace orrery::program {
namespace {

std::uint16_t received(const Context& c, bool forward) { return c.b.event(forward ? "activations received" : "gradient received", true); }
std::uint16_t sent(const Context& c, bool forward) { return c.b.event(forward ? "activations sent" : "gradient sent", true); }
std::uint32_t output(const Context& c) { return layer_input(c, static_cast<std::int64_t>(c.layout.layers.size())); }

std::uint16_t release_pass(const Context& c, const char* name, std::uint32_t buffer, std::uint16_t event) {
  c.b.begin(PassKind::release, name);
  c.b.expect(buffer, event);
  c.b.settle({buffer});
  return c.b.end();
}

}  // namespace

void pipeline_passes(const Context& c, Passes& passes) {
  if (!c.first()) {
    c.b.begin(PassKind::receive_forward, "receive activations");
    c.b.recv(kRecvForward, -1, kActivations, layer_input(c, 0), received(c, true));
    passes.receive_forward = c.b.end();
    passes.release_backward = release_pass(c, "release gradient", residual_gradient(c), sent(c, false));
  }
  if (!c.last()) {
    c.b.begin(PassKind::receive_backward, "receive gradient");
    c.b.recv(kRecvBackward, +1, kGradients, residual_gradient(c), received(c, false));
    passes.receive_backward = c.b.end();
    passes.release_forward = release_pass(c, "release activations", output(c), sent(c, true));
  }
}

void expect_activations(const Context& c) {
  if (!c.first()) c.b.expect(layer_input(c, 0), received(c, true));
}
void expect_gradient(const Context& c) {
  if (!c.last()) c.b.expect(residual_gradient(c), received(c, false));
}
void send_activations(const Context& c) {
  if (!c.last()) c.b.send(kSendForward, +1, kActivations, output(c), sent(c, true));
}
void send_gradient(const Context& c) {
  if (!c.first()) c.b.send(kSendBackward, -1, kGradients, residual_gradient(c), sent(c, false));
}

std::vector<PassInstance> pipeline_body(const std::vector<Pass>& order, const Passes& passes, bool overlap) {
  std::vector<PassInstance> body;
  const auto add = [&](std::uint16_t pass, std::int32_t microbatch) {
    if (pass != kNone) body.push_back({pass, static_cast<std::uint16_t>(microbatch)});
  };
  const auto receive = [&](const Pass& p) { add(p.kind == PassKind::forward ? passes.receive_forward : passes.receive_backward, p.microbatch); };

  std::size_t last_backward = 0;
  for (std::size_t k = 0; k < order.size(); ++k)
    if (order[k].kind == PassKind::backward) last_backward = k;

  std::array<std::deque<std::int32_t>, 2> in_flight;  // micro-batches whose send has not been waited for: forward, backward
  const auto release = [&](std::size_t direction, std::size_t keep) {
    for (auto& queue = in_flight[direction]; queue.size() > keep; queue.pop_front())
      add(direction == 0 ? passes.release_forward : passes.release_backward, queue.front());
  };
  bool forward_seen = false;
  if (!order.empty()) receive(order.front());
  for (std::size_t k = 0; k < order.size(); ++k) {
    const Pass& p = order[k];
    const bool forward = p.kind == PassKind::forward;
    const std::size_t direction = forward ? 0 : 1;
    if (overlap) {
      if (k + 1 < order.size()) receive(order[k + 1]);
      release(direction, 1);  // the pass adds one: at most two are in flight
    }
    if (forward)
      add(!forward_seen && passes.first_forward != kNone ? passes.first_forward : passes.forward, p.microbatch);
    else
      add(k == last_backward && passes.last_backward != kNone ? passes.last_backward : passes.backward, p.microbatch);
    forward_seen = forward_seen || forward;
    if ((forward ? passes.release_forward : passes.release_backward) != kNone) in_flight[direction].push_back(p.microbatch);
    if (!overlap) {
      if (k + 1 < order.size()) receive(order[k + 1]);
      release(direction, 0);
    }
  }
  release(0, 0), release(1, 0);
  return body;
}

}  // namespace orrery::program
