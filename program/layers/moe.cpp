// A mixture of experts in place of the feed-forward: a router chooses experts for each token; copies of the token go to the ranks that hold them (all
// to all), through the experts' grouped products, and back, where they are added up. A copy carries its weight, by which the expert multiplies its
// activation, so that what comes back needs no more than a sum (Megatron-Core's weighted SwiGLU) and nothing of it is kept for the backward pass.
// Under expert tensor parallelism a copy goes to every shard of its expert, and their parts are added up with the copies. Where tokens are gathered
// instead, each rank sees those of all, takes the copies for its own experts, and what the ranks make of each token is summed and scattered.
#include "program/layers/sublayers.h"
#include "program/transforms/expert_parallel.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {
namespace {

// What the backward pass needs. Where all experts are on this rank, what is received is what was sent.
struct Routed {
  std::uint32_t logits, chosen, index, counts;             // of this rank's tokens
  std::uint32_t received_index, received_counts;           // of what other ranks sent: to the order of experts; by source and expert
  std::uint32_t expert_counts, x, weights, up, activated;  // by expert
};

Routed routed(const Context& c) {
  const ExpertDimensions& e = c.d.experts;
  const DType type = c.plan.precision.compute;
  const std::int64_t tokens = c.d.local_rows;
  const auto integers = [&](const char* name, std::int64_t n, bool for_weights = false) { return c.kept(name, DType::int32, n, for_weights); };
  Routed b{};
  b.logits = c.kept("router.logits", type, tokens * e.experts);
  b.chosen = integers("router.chosen", tokens * e.k);
  b.index = integers("experts.index", c.d.routed_rows() * e.k * (e.gathered ? 1 : e.etp));
  b.counts = integers("experts.counts", e.gathered ? e.local : e.experts * e.etp, !e.exchanged());
  b.expert_counts = b.counts;
  if (e.exchanged()) {
    b.received_counts = integers("experts.received.counts", e.sources() * e.local);
    b.received_index = integers("experts.received.index", e.most);
    b.expert_counts = integers("experts.rows", e.local, true);
  }
  b.x = c.kept("experts.input", type, e.most * c.d.hidden, true);
  b.weights = c.kept("experts.weights", DType::fp32, e.most);
  b.up = c.kept("experts.up", type, e.most * e.up);
  b.activated = c.kept("experts.activated", type, e.most * e.width, true);
  return b;
}

std::uint32_t logits_gradient(const Context& c) { return c.kept_gradient("router.logits.gradient", c.d.local_rows * c.d.experts.experts); }
std::uint32_t expert_result_gradient(const Context& c) { return c.kept_gradient("experts.result.gradient", c.d.experts.most * c.d.hidden); }
std::uint32_t expert_up_gradient(const Context& c) { return c.kept_gradient("experts.up.gradient", c.d.experts.most * c.d.experts.up); }
std::uint32_t shared_up_gradient(const Context& c) { return c.kept_gradient("shared.up.gradient", c.d.rows * c.d.experts.shared_up); }
std::uint32_t shared_result_gradient(const Context& c) {
  return c.kept_gradient("shared.result.gradient", c.d.rows * c.d.hidden, BufferKind::communication);
}

void route(const Context& c, Operator op, const Uses& uses) {
  const ExpertDimensions& e = c.d.experts;
  c.b.compute(op, {c.d.local_rows, e.experts, e.k, e.groups, e.chosen_groups, e.balanced ? 1 : 0}, uses);
}

// A temporary of `rows` rows: of tokens, or (width 1, fp32) of their weights.
std::uint32_t rows_buffer(const Context& c, const std::string& name, std::int64_t rows, std::int64_t width) {
  if (width == 1) return c.b.temporary(name, BufferKind::temporary, DType::fp32, rows, c.b.layer);
  return c.temporary(name, rows * width, BufferKind::communication);
}
DType type_of(const Context& c, std::int64_t width) { return width == 1 ? DType::fp32 : c.plan.precision.compute; }

// Copies of the tokens that this rank sorts, by expert, and back as a sum; the weights of copies likewise (width 1), whose tokens are the copies.
void move(const Context& c, Operator op, std::int64_t width, const Uses& uses) {
  const ExpertDimensions& e = c.d.experts;
  const std::int64_t shards = e.gathered ? 1 : e.etp, padded = op == Operator::expert_permute && e.capacity > 0 ? 1 : 0;
  c.b.dtype = type_of(c, width);
  c.b.compute(op, {c.d.routed_rows() * (width == 1 ? e.k : 1), shards * (width == 1 ? 1 : e.k), width, e.sent, padded, e.gathered ? e.rows : 0},
              uses);
  c.b.dtype = c.plan.precision.compute;
}
void permute(const Context& c, const Routed& b, std::uint32_t x, std::uint32_t rows, std::int64_t width) {
  move(c, Operator::expert_permute, width, {r(x), r(b.index), w(rows)});
}
void unpermute(const Context& c, const Routed& b, std::uint32_t rows, std::uint32_t x, std::int64_t width) {
  move(c, Operator::expert_unpermute, width, {r(rows), r(b.index), w(x)});
}
// What was received, in the order of experts, and back.
void sort(const Context& c, const Routed& b, std::uint32_t received, std::uint32_t sorted, std::int64_t width) {
  c.b.dtype = type_of(c, width);
  c.b.compute(Operator::expert_permute, {c.d.experts.most, 1, width, c.d.experts.most, 0}, {r(received), r(b.received_index), w(sorted)});
  c.b.dtype = c.plan.precision.compute;
}
void unsort(const Context& c, const Routed& b, std::uint32_t sorted, std::uint32_t received, std::int64_t width) {
  c.b.dtype = type_of(c, width);
  c.b.compute(Operator::expert_unpermute, {c.d.experts.most, 1, width, c.d.experts.most}, {r(sorted), r(b.received_index), w(received)});
  c.b.dtype = c.plan.precision.compute;
}

void grouped(const Context& c, Operator op, const Uses& uses, std::int64_t in, std::int64_t out) {
  const Busiest rows(c);
  c.b.compute(op, {c.d.experts.rows, c.d.experts.local, in, out, c.d.experts.most}, uses);
}
void activate(const Context& c, Operator op, const Uses& uses) {
  const ExpertDimensions& e = c.d.experts;
  const Busiest rows(c);
  c.b.compute(op, {e.rows, e.width, c.model.gated_mlp ? 1 : 0, e.local, e.most}, uses);
}
void grouped_gradient(const Context& c, const Routed& b, std::uint32_t x, std::uint32_t dy, std::int32_t weight, std::int64_t in, std::int64_t out) {
  if (c.pass == PassKind::input_grad) return;
  grouped(c, Operator::expert_linear_weight_grad, {r(x), r(dy), r(b.expert_counts), u(c.gradient(weight))}, in, out);
  c.written(weight);
}

// --- Shared experts: a feed-forward beside the mixture -------------------------------------------------------------------------------------------

struct Shared {
  std::uint32_t up, activated;
};
Shared shared(const Context& c) {
  const DType type = c.plan.precision.compute;
  return {c.kept("shared.up", type, c.d.rows * c.d.experts.shared_up), c.kept("shared.activated", type, c.d.rows * c.d.experts.shared, true)};
}

std::uint32_t shared_result(const Context& c) { return c.temporary("shared.result", c.d.local_rows * c.d.hidden); }

// `ends`: down to the result.
void shared_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, bool ends) {
  if (t.shared_up == kAbsent) return;
  const Dimensions& d = c.d;
  const Shared s = shared(c);
  linear_of(c, d.rows, gather_rows(c, a.y2, "shared.normed.gathered", d.hidden), t.shared_up, s.up, d.hidden, d.experts.shared_up);
  c.b.compute(Operator::activation_forward, {d.rows, d.experts.shared, c.model.gated_mlp ? 1 : 0}, {r(s.up), w(s.activated)});
  if (!ends) return settle_rows(c, {a.y2});
  const std::uint32_t result = shared_result(c), partial = partial_rows(c, result, "shared.partial", d.hidden);
  linear_of(c, d.rows, s.activated, t.shared_down, partial, d.experts.shared, d.hidden);
  sum_rows(c, partial, result);
  settle_rows(c, {partial, a.y2});
}

std::uint32_t shared_input_gradient(const Context& c) { return c.temporary("shared.normed.gradient", c.d.local_rows * c.d.hidden); }

void shared_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dx) {
  if (t.shared_up == kAbsent) return;
  const Dimensions& d = c.d;
  const Shared s = shared(c);
  const std::uint32_t dout = whole_gradient(c, dx, shared_result_gradient);
  const std::uint32_t da = c.temporary("shared.activated.gradient", d.rows * d.experts.shared), du = shared_up_gradient(c);
  input_gradient(c, dout, t.shared_down, da, d.experts.shared, d.hidden);
  weight_gradient_of(c, d.rows, s.activated, dout, t.shared_down, d.experts.shared, d.hidden);
  c.b.compute(Operator::activation_backward, {d.rows, d.experts.shared, c.model.gated_mlp ? 1 : 0}, {r(s.up), r(da), w(du)});
  const bool whole = c.pass != PassKind::input_grad;
  const std::uint32_t in = whole ? gather_rows(c, a.y2, "shared.normed.regathered", d.hidden) : a.y2;
  const std::uint32_t dy = shared_input_gradient(c), partial = partial_rows(c, dy, "shared.normed.gradient.partial", d.hidden);
  input_gradient_of(c, d.rows, du, t.shared_up, partial, d.hidden, d.experts.shared_up);
  sum_rows(c, partial, dy);
  weight_gradient_of(c, d.rows, in, du, t.shared_up, d.hidden, d.experts.shared_up);
  if (whole)
    settle_rows(c, {partial, a.y2});
  else
    settle_rows(c, {partial});
}

void shared_weight_grad(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  if (t.shared_up == kAbsent) return;
  const Dimensions& d = c.d;
  weight_gradient_of(c, d.rows, shared(c).activated, shared_result_gradient(c), t.shared_down, d.experts.shared, d.hidden);
  const std::uint32_t in = gather_rows(c, a.y2, "shared.normed.regathered", d.hidden);
  weight_gradient_of(c, d.rows, in, shared_up_gradient(c), t.shared_up, d.hidden, d.experts.shared_up);
  settle_rows(c, {a.y2});
}

// Between segments.
std::uint32_t sent(const Context& c, std::int64_t width) {
  return rows_buffer(c, width == 1 ? "experts.sent.weights" : "experts.sent", c.d.experts.sent, width);
}
std::uint32_t received(const Context& c, std::int64_t width) {
  return rows_buffer(c, width == 1 ? "experts.received.weights" : "experts.received", c.d.experts.most, width);
}
// Of all ranks' tokens, where they are gathered: what each rank was given, and what its experts add.
std::uint32_t all_tokens(const Context& c, const std::string& name, std::int64_t width) {
  return rows_buffer(c, name, c.d.routed_rows() * (width == 1 ? c.d.experts.k : 1), width);
}
std::uint32_t gathered(const Context& c, std::int64_t width) {
  return all_tokens(c, width == 1 ? "experts.gathered.weights" : "experts.gathered", width);
}
std::uint32_t gathered_chosen(const Context& c) {
  return c.b.temporary("experts.gathered.chosen", BufferKind::communication, DType::int32, c.d.routed_rows() * c.d.experts.k, c.b.layer);
}
std::uint32_t gathered_gradient(const Context& c) { return all_tokens(c, "experts.results.gradient.gathered", c.d.hidden); }
std::uint32_t partial_results(const Context& c) { return all_tokens(c, "experts.results.partial", c.d.hidden); }
std::uint32_t partial_gradients(const Context& c, std::int64_t width) {
  return all_tokens(c, width == 1 ? "experts.weights.gradient.partial" : "experts.input.gradient.partial", width);
}
// Of this rank's own.
std::uint32_t router_weights(const Context& c) {
  return c.b.temporary("router.weights", BufferKind::temporary, DType::fp32, c.d.local_rows * c.d.experts.k, c.b.layer);
}
std::uint32_t router_weights_gradient(const Context& c) {
  return c.b.temporary("router.weights.gradient", BufferKind::temporary, DType::fp32, c.d.local_rows * c.d.experts.k, c.b.layer);
}
std::uint32_t normed_gradient(const Context& c) { return c.temporary("mlp.normed.gradient", c.d.local_rows * c.d.hidden); }

std::uint32_t results(const Context& c) { return rows_buffer(c, "experts.results", c.d.experts.most, c.d.hidden); }
std::uint32_t gradients_received(const Context& c) { return rows_buffer(c, "experts.results.gradient.received", c.d.experts.most, c.d.hidden); }
std::uint32_t input_gradients(const Context& c, std::int64_t width) {
  return rows_buffer(c, width == 1 ? "experts.weights.gradient" : "experts.input.gradient", c.d.experts.most, width);
}

}  // namespace

void moe_dispatch_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  const Dimensions& d = c.d;
  const ExpertDimensions& e = d.experts;
  const Routed b = routed(c);
  linear_of(c, d.local_rows, a.y2, t.router, b.logits, d.hidden, e.experts);
  const std::uint32_t weights = router_weights(c);
  route(c, Operator::route_forward, {r(b.logits), w(weights), w(b.chosen)});
  if (e.gathered) {
    gather_tokens(c, e.k, b.chosen, gathered_chosen(c));
    gather_tokens(c, d.hidden, a.y2, gathered(c, d.hidden));
    gather_tokens(c, e.k, weights, gathered(c, 1));
    return;
  }
  c.b.compute(Operator::expert_sort, {d.local_rows, e.k, e.experts, e.ep, e.etp, e.capacity}, {r(b.chosen), w(b.index), w(b.counts)});
  permute(c, b, a.y2, e.exchanged() ? sent(c, d.hidden) : b.x, d.hidden);
  permute(c, b, weights, e.exchanged() ? sent(c, 1) : b.weights, 1);
  if (!e.exchanged()) return;
  exchange_counts(c, b.counts, b.received_counts);
  for (const std::int64_t width : {d.hidden, std::int64_t{1}}) exchange_rows(c, e.sent, width, sent(c, width), b.counts, e.most, received(c, width));
}

void moe_experts_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, bool ends) {
  const Dimensions& d = c.d;
  const ExpertDimensions& e = d.experts;
  const Routed b = routed(c);
  shared_forward(c, t, a, ends);  // first: it hides the exchange
  if (e.exchanged()) {
    c.b.compute(Operator::expert_sort_received, {e.most, e.sources(), e.local}, {r(b.received_counts), w(b.received_index), w(b.expert_counts)});
    sort(c, b, received(c, d.hidden), b.x, d.hidden);
    sort(c, b, received(c, 1), b.weights, 1);
    c.b.settle({sent(c, d.hidden), sent(c, 1), b.counts});
  }
  if (e.gathered) {
    c.b.compute(Operator::expert_sort_gathered, {d.routed_rows(), e.k, e.experts, e.local, e.sources(), e.capacity, e.most},
                {r(gathered_chosen(c)), w(b.index), w(b.counts)});
    permute(c, b, gathered(c, d.hidden), b.x, d.hidden);
    permute(c, b, gathered(c, 1), b.weights, 1);
    c.b.settle({b.chosen, a.y2, router_weights(c)});
  }
  grouped(c, Operator::expert_linear_forward, {r(b.x), r(b.expert_counts), r(c.weight(t.experts_up)), w(b.up)}, d.hidden, e.up);
  activate(c, Operator::expert_activation_forward, {r(b.up), r(b.expert_counts), r(b.weights), w(b.activated)});
  if (!ends) return;
  const std::uint32_t y = e.sources() > 1 ? c.temporary("experts.result", e.most * d.hidden) : results(c);
  grouped(c, Operator::expert_linear_forward, {r(b.activated), r(b.expert_counts), r(c.weight(t.experts_down)), w(y)}, e.width, d.hidden);
  if (e.exchanged()) unsort(c, b, y, results(c), d.hidden);
  if (e.gathered) unpermute(c, b, y, partial_results(c), d.hidden);
}

void moe_combine_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t out) {
  const Dimensions& d = c.d;
  const ExpertDimensions& e = d.experts;
  const Routed b = routed(c);
  if (e.exchanged()) {
    const std::uint32_t back = rows_buffer(c, "experts.results.returned", e.sent, d.hidden);
    exchange_rows(c, e.most, d.hidden, results(c), b.received_counts, e.sent, back);
    unpermute(c, b, back, out, d.hidden);
    c.b.settle({results(c), b.received_counts});
  } else if (e.gathered) {
    sum_tokens(c, d.hidden, partial_results(c), out);
    c.b.settle({partial_results(c)});
  } else {
    unpermute(c, b, results(c), out, d.hidden);
  }
  if (t.shared_up != kAbsent) c.b.compute(Operator::accumulate, {d.local_rows * d.hidden}, {r(shared_result(c)), u(out)});
  residual(c, a.x2, kAbsent, out);
}

void moe_combine_backward(const Context& c, std::uint32_t dx) {
  const Dimensions& d = c.d;
  const ExpertDimensions& e = d.experts;
  const Routed b = routed(c);
  if (e.gathered) return gather_tokens(c, d.hidden, dx, gathered_gradient(c));
  if (!e.exchanged()) return permute(c, b, dx, expert_result_gradient(c), d.hidden);
  const std::uint32_t rows = rows_buffer(c, "experts.results.gradient", e.sent, d.hidden);
  permute(c, b, dx, rows, d.hidden);
  exchange_rows(c, e.sent, d.hidden, rows, b.counts, e.most, gradients_received(c));
}

void moe_experts_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dx) {
  const Dimensions& d = c.d;
  const ExpertDimensions& e = d.experts;
  const Routed b = routed(c);
  shared_backward(c, t, a, dx);
  const std::uint32_t dy = expert_result_gradient(c), du = expert_up_gradient(c);
  if (e.exchanged()) {
    sort(c, b, gradients_received(c), dy, d.hidden);
    c.b.settle({rows_buffer(c, "experts.results.gradient", e.sent, d.hidden), b.counts});
  }
  if (e.gathered) permute(c, b, gathered_gradient(c), dy, d.hidden);
  const std::uint32_t da = c.temporary("experts.activated.gradient", e.most * e.width);
  grouped(c, Operator::expert_linear_input_grad, {r(dy), r(b.expert_counts), r(c.weight(t.experts_down)), w(da)}, e.width, d.hidden);
  grouped_gradient(c, b, b.activated, dy, t.experts_down, e.width, d.hidden);
  const bool shared = e.sources() > 1;  // with other ranks
  const std::uint32_t dw = shared ? rows_buffer(c, "experts.weights.gradient.sorted", e.most, 1) : input_gradients(c, 1);
  activate(c, Operator::expert_activation_backward, {r(b.up), r(b.expert_counts), r(b.weights), r(da), w(du), w(dw)});
  const std::uint32_t rows = shared ? c.temporary("experts.input.gradient.sorted", e.most * d.hidden) : input_gradients(c, d.hidden);
  grouped(c, Operator::expert_linear_input_grad, {r(du), r(b.expert_counts), r(c.weight(t.experts_up)), w(rows)}, d.hidden, e.up);
  if (e.exchanged()) {
    unsort(c, b, rows, input_gradients(c, d.hidden), d.hidden);
    unsort(c, b, dw, input_gradients(c, 1), 1);
    for (const std::int64_t width : {d.hidden, std::int64_t{1}})
      exchange_rows(c, e.most, width, input_gradients(c, width), b.received_counts, e.sent,
                    rows_buffer(c, width == 1 ? "experts.weights.gradient.returned" : "experts.input.gradient.returned", e.sent, width));
  }
  if (e.gathered) {
    unpermute(c, b, rows, partial_gradients(c, d.hidden), d.hidden);
    unpermute(c, b, dw, partial_gradients(c, 1), 1);
    sum_tokens(c, d.hidden, partial_gradients(c, d.hidden), normed_gradient(c));
    sum_tokens(c, e.k, partial_gradients(c, 1), router_weights_gradient(c));
  }
  grouped_gradient(c, b, b.x, du, t.experts_up, d.hidden, e.up);  // last: it hides the exchange
}

void moe_dispatch_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dx) {
  const Dimensions& d = c.d;
  const ExpertDimensions& e = d.experts;
  const Routed b = routed(c);
  const auto returned = [&](std::int64_t width) {
    if (!e.exchanged()) return input_gradients(c, width);
    return rows_buffer(c, width == 1 ? "experts.weights.gradient.returned" : "experts.input.gradient.returned", e.sent, width);
  };
  const std::uint32_t dy = normed_gradient(c), dw = router_weights_gradient(c);
  if (e.gathered) {
    c.b.settle({partial_gradients(c, d.hidden), partial_gradients(c, 1)});
  } else {
    unpermute(c, b, returned(d.hidden), dy, d.hidden);
    unpermute(c, b, returned(1), dw, 1);
  }
  if (e.exchanged()) c.b.settle({input_gradients(c, d.hidden), input_gradients(c, 1), b.received_counts});
  const std::uint32_t dlogits = logits_gradient(c), of_router = c.temporary("router.input.gradient", d.local_rows * d.hidden);
  route(c, Operator::route_backward, {r(dw), r(b.logits), r(b.chosen), w(dlogits)});
  input_gradient_of(c, d.local_rows, dlogits, t.router, of_router, d.hidden, e.experts);
  weight_gradient_of(c, d.local_rows, a.y2, dlogits, t.router, d.hidden, e.experts);
  c.b.compute(Operator::accumulate, {d.local_rows * d.hidden}, {r(of_router), u(dy)});
  if (t.shared_up != kAbsent) c.b.compute(Operator::accumulate, {d.local_rows * d.hidden}, {r(shared_input_gradient(c)), u(dy)});
  norm_backward(c, "mlp.norm", t.norm2, t.norm2_bias, dy, a.x2, dx);
}

void moe_weight_grad(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  const Dimensions& d = c.d;
  const ExpertDimensions& e = d.experts;
  const Routed b = routed(c);
  shared_weight_grad(c, t, a);
  grouped_gradient(c, b, b.activated, expert_result_gradient(c), t.experts_down, e.width, d.hidden);
  grouped_gradient(c, b, b.x, expert_up_gradient(c), t.experts_up, d.hidden, e.up);
  weight_gradient_of(c, d.local_rows, a.y2, logits_gradient(c), t.router, d.hidden, e.experts);
}

}  // namespace orrery::program
