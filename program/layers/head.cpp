#include "program/layers/layers.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {
namespace {

struct Head {
  std::uint32_t y, logits, targets, max, sums;
};

Head buffers(const Context& c) {
  const Dimensions& d = c.d;
  const DType type = c.plan.precision.compute;
  return {c.kept("final.normed", type, d.local_rows * d.hidden, true), c.kept("logits", type, d.rows * d.vocab, true, BufferKind::logits),
          c.kept("targets", DType::int32, d.rows, false, BufferKind::input), c.kept("logits.max", DType::fp32, d.rows),
          c.kept("logits.sums", DType::fp32, 2 * d.rows)};
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
std::uint16_t sums_ready(const Context& c) { return c.b.event("loss sums reduced", true); }

}  // namespace

void head_forward(const Context& c) {
  const Dimensions& d = c.d;
  const Head h = buffers(c);
  norm_forward(c, "final_norm", c.tensors().final_norm, c.tensors().final_norm_bias, layer_input(c, c.layers()), h.y);
  const std::uint32_t in = gather_rows(c, h.y, "final.normed.gathered", d.hidden);
  Uses uses{r(in), r(c.weight(c.tensors().head))};
  c.read(uses, c.tensors().head_bias);
  uses.push_back(w(h.logits));
  c.b.compute(Operator::linear_forward, {d.rows, d.hidden, d.vocab}, uses);
  c.b.dtype = DType::int32;
  c.b.compute(Operator::load_targets, {d.rows}, {w(h.targets)});
  c.b.dtype = c.plan.precision.compute;
  c.b.compute(Operator::cross_entropy_max, {d.rows, d.vocab}, {r(h.logits), w(h.max)});
  c.b.collective(Operator::all_reduce_max, kTp, c.tp, d.rows, DType::fp32, {u(h.max)});
  c.b.compute(Operator::cross_entropy_sum, {d.rows, d.vocab}, {r(h.logits), r(h.max), r(h.targets), w(h.sums)});
  c.b.collective(Operator::all_reduce, kTp, c.tp, 2 * d.rows, DType::fp32, {u(h.sums)}, c.tp == kNone ? kNone : sums_ready(c));
}

void head_backward(const Context& c) {
  const Dimensions& d = c.d;
  const Head h = buffers(c);
  const std::uint32_t loss = c.b.persistent("loss", BufferKind::scalar, DType::fp64, 1);
  c.b.role().loss_buffer = static_cast<std::int32_t>(loss);
  if (c.tp != kNone) c.b.expect(h.sums, sums_ready(c));
  c.b.compute(Operator::cross_entropy_grad, {d.rows, d.vocab}, {r(h.max), r(h.sums), r(h.targets), u(h.logits), u(loss)});
  const bool whole = !c.splits_backward();
  const std::uint32_t in = whole ? gather_rows(c, h.y, "final.normed.regathered", d.hidden) : h.y;
  const std::uint32_t dy = c.temporary("final.normed.gradient", d.local_rows * d.hidden);
  const std::uint32_t partial = partial_rows(c, dy, "final.normed.gradient.partial", d.hidden);
  c.b.compute(Operator::linear_input_grad, {d.rows, d.hidden, d.vocab}, {r(h.logits), r(c.weight(c.tensors().head)), w(partial)});
  sum_rows(c, partial, dy);
  if (whole) {
    weight_gradient(c, h, in);
    settle_rows(c, {partial, h.y});
  } else {
    settle_rows(c, {partial});
  }
  const std::uint32_t dx = residual_gradient(c);
  c.b.compute(Operator::zero, {d.local_rows * d.hidden}, {w(dx)});
  norm_backward(c, "final_norm", c.tensors().final_norm, c.tensors().final_norm_bias, dy, layer_input(c, c.layers()), dx);
}

void head_weight_grad(const Context& c) {
  const Head h = buffers(c);
  weight_gradient(c, h, gather_rows(c, h.y, "final.normed.regathered", c.d.hidden));
  settle_rows(c, {h.y});
}

}  // namespace orrery::program
