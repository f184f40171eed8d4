#include "program/layers/layers.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {
namespace {

// Of the model (k = 0) or of its k-th prediction module.
struct Head {
  std::uint32_t y, logits, targets, max, sums;
};

Head buffers(const Context& c, std::int64_t k) {
  const Dimensions& d = c.d;
  const DType type = c.plan.precision.compute;
  return {c.kept(in_module(k, "final.normed"), type, d.local_rows * d.hidden, true),
          c.kept(in_module(k, "logits"), type, d.rows * d.vocab, true, BufferKind::logits),
          c.kept(in_module(k, "targets"), DType::int32, d.rows, false, BufferKind::input), c.kept(in_module(k, "logits.max"), DType::fp32, d.rows),
          c.kept(in_module(k, "logits.sums"), DType::fp32, 2 * d.rows)};
}

// What the normed state of the model or of a module is made of, and the norm.
std::uint32_t state(const Context& c, std::int64_t k) { return k == 0 ? layer_input(c, c.layers()) : layer_output(c, c.module(k)); }
std::int32_t final_norm(const Context& c, std::int64_t k) { return k == 0 ? c.tensors().final_norm : c.module_tensors(k).final_norm; }

std::uint32_t normed_gradient(const Context& c, std::int64_t k) {
  return c.temporary(in_module(k, "final.normed.gradient"), c.d.local_rows * c.d.hidden);
}

void weight_gradient(const Context& c, const Head& h, std::uint32_t in) {
  const Dimensions& d = c.d;
  Uses uses{r(in), r(h.logits), u(c.gradient(c.tensors().head))};
  c.update(uses, c.tensors().head_bias);
  c.b.compute(Operator::linear_weight_grad, {d.rows, d.hidden, d.vocab}, uses);
  c.written(c.tensors().head);
  c.written(c.tensors().head_bias);
}

// The last instruction of the forward pass is not on the stream that begins the backward pass.
std::uint16_t sums_ready(const Context& c, std::int64_t k) { return c.b.event(in_module(k, "loss sums reduced"), true); }

void output_forward(const Context& c, std::int64_t k) {
  const Dimensions& d = c.d;
  const Head h = buffers(c, k);
  norm_forward(c, in_module(k, "final_norm"), final_norm(c, k), k == 0 ? c.tensors().final_norm_bias : kAbsent, state(c, k), h.y);
  const std::uint32_t in = gather_rows(c, h.y, in_module(k, "final.normed.gathered"), d.hidden);
  Uses uses{r(in), r(c.weight(c.tensors().head))};
  c.read(uses, c.tensors().head_bias);
  uses.push_back(w(h.logits));
  c.b.compute(Operator::linear_forward, {d.rows, d.hidden, d.vocab}, uses);
  c.b.dtype = DType::int32;
  c.b.next_peer = static_cast<std::int8_t>(k);
  c.b.compute(Operator::load_targets, {d.rows}, {w(h.targets)});
  c.b.dtype = c.plan.precision.compute;
  c.b.compute(Operator::cross_entropy_max, {d.rows, d.vocab}, {r(h.logits), w(h.max)});
  c.b.collective(Operator::all_reduce_max, kTp, c.tp, d.rows, DType::fp32, {u(h.max)});
  c.b.compute(Operator::cross_entropy_sum, {d.rows, d.vocab}, {r(h.logits), r(h.max), r(h.targets), w(h.sums)});
  c.b.collective(Operator::all_reduce, kTp, c.tp, 2 * d.rows, DType::fp32, {u(h.sums)}, c.tp == kNone ? kNone : sums_ready(c, k));
}

// Down to the gradient of the normed state.
void output_backward(const Context& c, std::int64_t k) {
  const Dimensions& d = c.d;
  const Head h = buffers(c, k);
  const std::uint32_t loss = c.b.persistent("loss", BufferKind::scalar, DType::fp64, 1);
  c.b.role().loss_buffer = static_cast<std::int32_t>(loss);
  if (c.tp != kNone) c.b.expect(h.sums, sums_ready(c, k));
  c.b.next_peer = static_cast<std::int8_t>(k);
  c.b.compute(Operator::cross_entropy_grad, {d.rows, d.vocab}, {r(h.max), r(h.sums), r(h.targets), u(h.logits), u(loss)});
  const bool whole = !c.splits_backward();
  const std::uint32_t in = whole ? gather_rows(c, h.y, in_module(k, "final.normed.regathered"), d.hidden) : h.y;
  const std::uint32_t dy = normed_gradient(c, k);
  const std::uint32_t partial = partial_rows(c, dy, in_module(k, "final.normed.gradient.partial"), d.hidden);
  c.b.compute(Operator::linear_input_grad, {d.rows, d.hidden, d.vocab}, {r(h.logits), r(c.weight(c.tensors().head)), w(partial)});
  sum_rows(c, partial, dy);
  if (whole) {
    weight_gradient(c, h, in);
    settle_rows(c, {partial, h.y});
  } else {
    settle_rows(c, {partial});
  }
}

}  // namespace

void head_forward(const Context& c) {
  output_forward(c, 0);
  for (std::int64_t k = 1; k <= c.modules(); ++k) {
    module_forward(c, k, buffers(c, k - 1).y);
    output_forward(c, k);
  }
}

void head_backward(const Context& c) {
  output_backward(c, c.modules());
  for (std::int64_t k = c.modules(); k > 0; --k) {
    output_backward(c, k - 1);  // first: the module adds to the gradient that it makes
    module_backward(c, k, buffers(c, k - 1).y, normed_gradient(c, k), normed_gradient(c, k - 1));
  }
  const std::uint32_t dx = residual_gradient(c);
  c.b.compute(Operator::zero, {c.d.local_rows * c.d.hidden}, {w(dx)});
  norm_backward(c, "final_norm", c.tensors().final_norm, c.tensors().final_norm_bias, normed_gradient(c, 0), layer_input(c, c.layers()), dx);
}

void head_weight_grad(const Context& c) {
  for (std::int64_t k = c.modules(); k >= 0; --k) {
    const Head h = buffers(c, k);
    weight_gradient(c, h, gather_rows(c, h.y, in_module(k, "final.normed.regathered"), c.d.hidden));
    settle_rows(c, {h.y});
    if (k > 0) module_weight_grad(c, k);
  }
}

}  // namespace orrery::program
