#include "program/transforms/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <deque>

#include "program/transforms/resharding.h"

namespace orrery::program {
namespace {

// Point-to-point channels: what a chunk sends forward, and what it sends back.
std::uint8_t activations_from(std::uint16_t chunk) { return static_cast<std::uint8_t>(2 * chunk); }
std::uint8_t gradients_from(std::uint16_t chunk) { return static_cast<std::uint8_t>(2 * chunk + 1); }

std::uint16_t event(const Context& c, const char* what) {
  return c.b.event(c.chunks.size() > 1 ? fmt::format("{}, chunk {}", what, c.chunk) : what, true);
}
std::uint16_t received(const Context& c, bool forward) { return event(c, forward ? "activations received" : "gradient received"); }
std::uint16_t sent(const Context& c, bool forward) { return event(c, forward ? "activations sent" : "gradient sent"); }

std::uint8_t send_stream(const Neighbour& to) { return to.peer > 0 ? kSendNext : kSendPrevious; }
std::uint8_t recv_stream(const Neighbour& from) { return from.peer > 0 ? kRecvNext : kRecvPrevious; }

// From the second chunk of a vee or of a mirrored pipeline activations travel towards rank 0.
Neighbour neighbour(const Schedule& s, std::int64_t rank, std::uint16_t chunk, std::int64_t step) {
  const std::int64_t stage = stage_of(s, rank, chunk) + step;
  if (stage < 0 || stage >= stages(s)) return {};
  const bool back = s.placement != Placement::loop && chunk == 1;
  const Home at = home(s, stage, s.placement == Placement::mirrored ? chunk : 0, 0);
  if (at.rank == rank) return {Neighbour::Kind::local, 0, at.chunk};
  return {Neighbour::Kind::remote, static_cast<std::int8_t>(back ? -step : step), at.chunk};
}

std::uint16_t release_pass(const Context& c, const char* name, std::uint32_t buffer, std::uint16_t event) {
  c.b.begin(PassKind::release, name, c.chunk);
  c.b.expect(buffer, event);
  c.b.settle({buffer});
  return c.b.end();
}

}  // namespace

Neighbour neighbour_before(const Schedule& s, std::int64_t rank, std::uint16_t chunk) { return neighbour(s, rank, chunk, -1); }
Neighbour neighbour_after(const Schedule& s, std::int64_t rank, std::uint16_t chunk) { return neighbour(s, rank, chunk, +1); }

Transfers transfer_passes(const Context& c) {
  Transfers out;
  if (c.before.remote()) {
    c.b.begin(PassKind::receive_forward, "receive activations", c.chunk);
    if (c.boundary_before)
      receive_rows(c, *c.boundary_before, recv_stream(c.before), activations_from(c.before.chunk), true, layer_input(c, 0), received(c, true));
    else
      c.b.recv(recv_stream(c.before), c.before.peer, activations_from(c.before.chunk), layer_input(c, 0), received(c, true));
    out.receive_forward = c.b.end();
    const std::uint32_t gradient = residual_gradient(c);
    out.release_backward =
        release_pass(c, "release gradient", c.boundary_before ? sent_rows(c, *c.boundary_before, false, gradient) : gradient, sent(c, false));
  }
  if (c.after.remote()) {
    c.b.begin(PassKind::receive_backward, "receive gradient", c.chunk);
    if (c.boundary_after)
      receive_rows(c, *c.boundary_after, recv_stream(c.after), gradients_from(c.after.chunk), false, residual_gradient(c), received(c, false));
    else
      c.b.recv(recv_stream(c.after), c.after.peer, gradients_from(c.after.chunk), residual_gradient(c), received(c, false));
    out.receive_backward = c.b.end();
    const std::uint32_t activations = layer_input(c, c.layers());
    out.release_forward =
        release_pass(c, "release activations", c.boundary_after ? sent_rows(c, *c.boundary_after, true, activations) : activations, sent(c, true));
  }
  return out;
}

void expect_activations(const Context& c) {
  if (c.boundary_before) return take_rows(c, *c.boundary_before, true, layer_input(c, 0), received(c, true));
  if (c.before.remote()) c.b.expect(layer_input(c, 0), received(c, true));
}
void expect_gradient(const Context& c) {
  if (c.boundary_after) return take_rows(c, *c.boundary_after, false, residual_gradient(c), received(c, false));
  if (c.after.remote()) c.b.expect(residual_gradient(c), received(c, false));
}
void send_activations(const Context& c) {
  if (c.boundary_after)
    return send_rows(c, *c.boundary_after, send_stream(c.after), activations_from(c.chunk), true, layer_input(c, c.layers()), sent(c, true));
  if (c.after.remote()) c.b.send(send_stream(c.after), c.after.peer, activations_from(c.chunk), layer_input(c, c.layers()), sent(c, true));
}
void send_gradient(const Context& c) {
  if (c.boundary_before)
    return send_rows(c, *c.boundary_before, send_stream(c.before), gradients_from(c.chunk), false, residual_gradient(c), sent(c, false));
  if (c.before.remote()) c.b.send(send_stream(c.before), c.before.peer, gradients_from(c.chunk), residual_gradient(c), sent(c, false));
}

std::uint16_t microbatch_of(const Schedule& s, const Pass& pass) {
  return static_cast<std::uint16_t>((pass.direction * (s.microbatches / s.directions()) + pass.microbatch) * s.splits + pass.split);
}

std::int64_t warm_up(const Schedule& schedule, std::int64_t rank) {
  std::int64_t least = 2 * (schedule.ranks - 1 - rank);
  for (std::int64_t before = 0; before <= rank; ++before) {  // none runs more than the one that it gets them from
    const std::vector<Pass>& order = schedule.order[static_cast<std::size_t>(before)];
    const auto leading = std::find_if(order.begin(), order.end(), [](const Pass& pass) { return pass.kind != PassKind::forward; });
    least = std::min<std::int64_t>(least, leading - order.begin());
  }
  return least;
}

std::vector<PassInstance> pipeline_body(const Schedule& schedule, const Replay& times, std::int64_t rank, const std::vector<Context>& chunks,
                                        const std::vector<Transfers>& transfers, const std::vector<std::uint16_t>& templates, bool overlap,
                                        const std::vector<PassInstance>& validation) {
  const std::vector<Pass>& order = schedule.order[static_cast<std::size_t>(rank)];
  const std::vector<PassTimes>& mine = times.passes[static_cast<std::size_t>(rank)];
  const bool splits = std::any_of(order.begin(), order.end(), [](const Pass& pass) { return pass.kind == PassKind::input_grad; });
  const bool posts_late = !overlap && chunks.size() == 1 && !splits;

  // By chunk, direction of travel and micro-batch: the pass that uses what is received.
  const auto microbatches = static_cast<std::size_t>(schedule.microbatches * schedule.splits);
  std::vector<std::size_t> consumer(chunks.size() * 2 * microbatches, order.size());
  const auto consumer_of = [&](std::uint16_t chunk, bool forward, std::uint16_t microbatch) -> std::size_t& {
    return consumer[(chunk * 2U + (forward ? 1U : 0U)) * microbatches + microbatch];
  };
  for (std::size_t k = 0; k < order.size(); ++k)
    for_each_half(order[k], [&](const Pass& use) {
      if (use.kind != PassKind::weight_grad) consumer_of(use.chunk, use.kind == PassKind::forward, microbatch_of(schedule, use)) = k;
    });

  // --- Receives: where in the order each is issued.
  struct Receive {
    std::size_t consumer = 0;
    std::int64_t due = 0;
    PassInstance instance;
    std::size_t position = 0;
    bool early = false;  // before the validation
  };
  std::vector<std::vector<Receive>> before(order.size() + 1);  // by position
  // The validation is after so many forward passes, and after what the rank before has sent by its own; all else is received later.
  const auto validated = static_cast<std::size_t>(validation.empty() ? 0 : warm_up(schedule, rank));
  const auto sent_before = static_cast<std::size_t>(validation.empty() || rank == 0 ? 0 : warm_up(schedule, rank - 1));
  for (const std::int8_t peer : {std::int8_t{-1}, std::int8_t{1}}) {
    // What the sender sends this way, in its order.
    const std::int64_t from = (rank + peer + schedule.ranks) % schedule.ranks;
    std::vector<Receive> messages;
    const std::vector<Pass>& theirs = schedule.order[static_cast<std::size_t>(from)];
    for (std::size_t k = 0; k < theirs.size(); ++k)
      for_each_half(theirs[k], [&](const Pass& sent) {
        if (sent.kind == PassKind::weight_grad) return;
        const bool forward = sent.kind == PassKind::forward;
        const Neighbour to = neighbour(schedule, from, sent.chunk, forward ? 1 : -1);
        if (!to.remote() || to.peer != -peer) return;
        const Transfers& t = transfers[to.chunk];
        Receive message;
        message.due = times.passes[static_cast<std::size_t>(from)][k].end;
        message.instance = {forward ? t.receive_forward : t.receive_backward, microbatch_of(schedule, sent)};
        message.consumer = consumer_of(to.chunk, forward, message.instance.microbatch);
        messages.push_back(message);
      });
    std::size_t latest = order.size();
    for (std::size_t m = messages.size(); m-- > 0;) {
      Receive& message = messages[m];
      // The last pass that starts by the time the message is due.
      const auto running = std::upper_bound(mine.begin(), mine.end(), message.due, [](std::int64_t t, const PassTimes& p) { return t < p.start; });
      const auto at_due = static_cast<std::size_t>(std::max<std::ptrdiff_t>(running - mine.begin() - 1, 0));
      const std::size_t ahead = message.consumer > 0 ? message.consumer - 1 : 0;
      latest = message.position = std::min(latest, posts_late ? message.consumer : std::min(at_due, ahead));
    }
    for (std::size_t m = 0; m < messages.size(); ++m) {
      Receive& message = messages[m];
      if (!validation.empty()) {
        message.early = peer < 0 && m < sent_before;
        message.position = message.early ? std::min(message.position, validated) : std::max(message.position, validated);
      }
      before[message.position].push_back(message);
    }
  }
  for (auto& receives : before) std::stable_sort(receives.begin(), receives.end(), [](const Receive& x, const Receive& y) { return x.due < y.due; });

  // --- The body.
  std::vector<PassInstance> body;
  std::array<std::deque<PassInstance>, 2> in_flight;  // releases of sends that have not been waited for: to the previous, to the next rank
  const auto release = [&](std::size_t side, std::size_t keep) {
    for (auto& queue = in_flight[side]; queue.size() > keep; queue.pop_front()) body.push_back(queue.front());
  };
  const auto receive = [&](std::size_t position) {
    const bool validates = !validation.empty() && position == validated;
    for (const Receive& message : before[position])
      if (!validates || message.early) body.push_back(message.instance);
    if (!validates) return;
    body.insert(body.end(), validation.begin(), validation.end());
    for (const Receive& message : before[position])
      if (!message.early) body.push_back(message.instance);
  };
  if (!overlap) receive(0);
  for (std::size_t k = 0; k < order.size(); ++k) {
    std::array<std::vector<PassInstance>, 2> sends;
    for_each_half(order[k], [&](const Pass& pass) {
      if (pass.kind == PassKind::weight_grad) return;
      const bool forward = pass.kind == PassKind::forward;
      const Neighbour to = forward ? chunks[pass.chunk].after : chunks[pass.chunk].before;
      if (!to.remote()) return;
      const Transfers& t = transfers[pass.chunk];
      sends[to.peer > 0].push_back({forward ? t.release_forward : t.release_backward, microbatch_of(schedule, pass)});
    });
    if (overlap) {
      receive(k);
      for (const std::size_t side : {0U, 1U})
        if (!sends[side].empty()) release(side, 1);  // the pass adds one: at most two passes' sends are in flight
    }
    PassInstance instance{templates[k], microbatch_of(schedule, order[k])};
    if (order[k].kind == PassKind::forward_backward) instance.second = microbatch_of(schedule, backward_half(order[k]));
    body.push_back(instance);
    for (const std::size_t side : {0U, 1U}) in_flight[side].insert(in_flight[side].end(), sends[side].begin(), sends[side].end());
    if (!overlap) {
      receive(k + 1);
      release(0, 0), release(1, 0);
    }
  }
  release(0, 0), release(1, 0);
  return body;
}

}  // namespace orrery::program
