#include <utility>

#include "program/layers/sublayers.h"
#include "program/transforms/recompute.h"
#include "program/transforms/resharding.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {

namespace {

bool is_mixture(const Context& c, std::int64_t l) { return c.model.is_moe_layer(c.layer(l)); }

}  // namespace

LayerBuffers layer_buffers(const Context& c, std::int64_t l) {
  const Dimensions& d = c.d;
  const DType type = c.plan.precision.compute;
  const std::int64_t stream = d.local_rows * d.hidden;
  LayerBuffers a{};
  a.x = layer_input(c, l);
  a.y1 = c.kept("attention.normed", type, stream, true);
  // Where heads are exchanged, attention keeps what it received instead.
  const bool exchanges = d.context.inner > 1;
  a.qkv = exchanges ? c.temporary("attention.qkv", d.rows * d.qkv) : c.kept("attention.qkv", type, d.rows * d.qkv);
  a.raw = c.model.qk_norm ? c.kept("attention.raw", type, d.rows * d.qkv) : a.qkv;
  a.attended = c.kept("attention.result", type, d.rows * d.attention, true);
  a.lse = c.kept("attention.lse", DType::fp32, d.rows * d.q_heads);
  const bool one_norm = c.model.parallel_block && c.model.parallel_shared_norm;
  a.x2 = c.model.parallel_block ? a.x : c.kept("mlp.input", type, stream);
  a.y2 = one_norm ? a.y1 : c.kept("mlp.normed", type, stream, true);
  if (is_mixture(c, l)) return a;
  a.up = c.kept("mlp.up", type, d.rows * d.up);
  a.activated = c.kept("mlp.activated", type, d.rows * d.intermediate, true);
  return a;
}

std::uint32_t layer_input(const Context& c, std::int64_t l) {
  const bool output = l == c.layers();
  if (output && c.after.local()) return layer_input(c.chunks[c.after.chunk], 0);
  Builder::Life life{mask(PassKind::forward), mask(PassKind::backward, PassKind::input_grad), c.chunk, c.chunk};
  if (output && !c.last()) life.dies = c.boundary_after && c.boundary_after->packs() ? mask(PassKind::forward) : mask(PassKind::release);
  if (l == 0 && c.before.remote() && !(c.boundary_before && lands(c, *c.boundary_before))) life.born = mask(PassKind::receive_forward);
  if (l == 0 && c.before.local()) life.born_chunk = c.before.chunk;
  return c.b.stash(output ? "stage.output" : "layer.input", BufferKind::activation, c.plan.precision.compute, c.d.local_rows * c.d.hidden,
                   output ? kNone : c.layer(l), life);
}

std::uint32_t layer_output(const Context& c, std::int64_t l) {
  if (l < c.layers()) return layer_input(c, l + 1);
  return c.b.stash("layer.output", BufferKind::activation, c.plan.precision.compute, c.d.local_rows * c.d.hidden, c.layer(l),
                   {mask(PassKind::forward), mask(PassKind::backward, PassKind::input_grad)});
}

std::uint32_t residual_gradient(const Context& c) {
  const std::int64_t elements = c.d.local_rows * c.d.hidden;
  if (c.b.layer != kNone && c.b.layer >= c.model.layers) return c.kept_gradient("residual.gradient", elements, BufferKind::activation);
  const Context *begin = &c, *end = &c;
  while (begin->before.local()) begin = &c.chunks[begin->before.chunk];
  while (end->after.local()) end = &c.chunks[end->after.chunk];
  if (begin == end && c.first() && c.last()) return c.b.temporary("residual.gradient", BufferKind::activation, c.plan.precision.compute, elements);
  constexpr PassMask kBackward = mask(PassKind::backward, PassKind::input_grad);
  const bool made = end->last() || (end->boundary_after && lands(*end, *end->boundary_after));
  const bool ends = begin->first() || (begin->boundary_before && begin->boundary_before->packs());
  return c.b.stash("residual.gradient", BufferKind::activation, c.plan.precision.compute, elements, kNone,
                   {made ? kBackward : mask(PassKind::receive_backward), ends ? kBackward : mask(PassKind::release), end->chunk, begin->chunk});
}

namespace {

// The parallel block's result before the residual: both sublayers' partial results, summed over the group once.
void sum_of_both(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t out) {
  const Dimensions& d = c.d;
  const std::uint32_t partial = partial_rows(c, out, "block.partial", d.hidden), other = c.temporary("mlp.down.partial", d.rows * d.hidden);
  linear_of(c, d.rows, a.attended, t.out, partial, d.attention, d.hidden);
  linear_of(c, d.rows, a.activated, t.down, other, d.intermediate, d.hidden);
  c.b.compute(Operator::accumulate, {d.rows * d.hidden}, {r(other), u(partial)});
  sum_rows(c, partial, out);
  settle_rows(c, {partial, a.y1, a.y2});
}

// The residual connection that ends it.
void add_block_input(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t out) {
  if (t.out_bias == kAbsent || t.down_bias == kAbsent) return residual(c, a.x, t.out_bias == kAbsent ? t.down_bias : t.out_bias, out);
  const std::uint32_t both = c.b.temporary("block.bias", BufferKind::temporary, c.plan.precision.params, c.d.hidden, c.b.layer);
  const DType activations = std::exchange(c.b.dtype, c.plan.precision.params);
  c.b.compute(Operator::copy, {c.d.hidden}, {r(c.weight(t.out_bias)), w(both)});
  c.b.compute(Operator::accumulate, {c.d.hidden}, {r(c.weight(t.down_bias)), u(both)});
  c.b.dtype = activations;
  c.b.compute(Operator::residual_forward, {c.d.local_rows, c.d.hidden}, {r(a.x), r(both), u(out)});
}

// Backward of two column-parallel linears on one normed input, and of that norm.
void shared_norm_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t du, std::uint32_t dqkv, std::uint32_t dx) {
  const Dimensions& d = c.d;
  const bool whole = c.pass != PassKind::input_grad;
  const std::uint32_t in = whole ? gather_rows(c, a.y1, "attention.normed.regathered", d.hidden) : a.y1;
  const std::uint32_t dy = c.temporary("attention.normed.gradient", d.local_rows * d.hidden);
  const std::uint32_t partial = partial_rows(c, dy, "attention.normed.gradient.partial", d.hidden);
  const std::uint32_t other = c.temporary("mlp.normed.gradient.partial", d.rows * d.hidden);
  input_gradient_of(c, d.rows, dqkv, t.qkv, partial, d.hidden, d.qkv);
  input_gradient_of(c, d.rows, du, t.up, other, d.hidden, d.up);
  c.b.compute(Operator::accumulate, {d.rows * d.hidden}, {r(other), u(partial)});
  sum_rows(c, partial, dy);
  weight_gradient(c, in, du, t.up, t.up_bias, d.hidden, d.up);
  weight_gradient(c, in, dqkv, t.qkv, t.qkv_bias, d.hidden, d.qkv);
  if (whole)
    settle_rows(c, {partial, a.y1});
  else
    settle_rows(c, {partial});
  norm_backward(c, "attention.norm", t.norm1, t.norm1_bias, dy, a.x, dx);
}

// Whether the forward pass being written needs the end of a layer, which nothing in the backward pass reads; some frameworks make it again all the
// same.
bool ends_layer(const Context& c, bool again) { return !again || reruns_whole_layer(c.plan); }

// Where a layer's result goes: a buffer that nobody reads where it is made again.
std::uint32_t layer_output(const Context& c, std::int64_t l, bool again) {
  return again ? c.temporary("layer.output.again", c.d.local_rows * c.d.hidden) : layer_output(c, l);
}

void block_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::int64_t l, bool again) {
  norm_forward(c, "attention.norm", t.norm1, t.norm1_bias, a.x, a.y1);
  const std::uint32_t in1 = gather_rows_for_linear(c, a.y1, "attention.normed.gathered", c.d.hidden);
  attention_forward(c, t, a, in1);
  std::uint32_t in2 = in1;
  if (t.norm2 != kAbsent) {
    norm_forward(c, "mlp.norm", t.norm2, t.norm2_bias, a.x, a.y2);
    in2 = gather_rows_for_linear(c, a.y2, "mlp.normed.gathered", c.d.hidden);
  }
  mlp_forward(c, t, a, in2);
  if (!ends_layer(c, again)) return;
  const std::uint32_t out = layer_output(c, l, again);
  sum_of_both(c, t, a, out);
  if (again)
    c.b.settle({out});
  else
    add_block_input(c, t, a, out);
}

void block_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  const std::uint32_t dx = residual_gradient(c), dout = whole_gradient(c, dx, mlp_result_gradient);
  bias_gradient(c, t.down_bias, dx);
  const std::uint32_t du = mlp_backward(c, t, a, dout);
  bias_gradient(c, t.out_bias, dx);
  const std::uint32_t dqkv = attention_backward(c, t, a, dout);
  if (t.norm2 == kAbsent) return shared_norm_backward(c, t, a, du, dqkv, dx);
  const std::uint32_t dy2 = column_parallel_backward(c, "mlp", a.y2, du, t.up, t.up_bias, c.d.up);
  norm_backward(c, "mlp.norm", t.norm2, t.norm2_bias, dy2, a.x, dx);
  const std::uint32_t dy1 = column_parallel_backward(c, "attention", a.y1, dqkv, t.qkv, t.qkv_bias, c.d.qkv);
  norm_backward(c, "attention.norm", t.norm1, t.norm1_bias, dy1, a.x, dx);
}

void block_weight_grad(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  const Dimensions& d = c.d;
  const std::uint32_t dout = mlp_result_gradient(c);
  weight_gradient(c, a.activated, dout, t.down, kAbsent, d.intermediate, d.hidden);
  const std::uint32_t in2 = gather_rows(c, a.y2, "mlp.normed.regathered", d.hidden);
  weight_gradient(c, in2, up_gradient(c), t.up, t.up_bias, d.hidden, d.up);
  weight_gradient(c, a.attended, dout, t.out, kAbsent, d.attention, d.hidden);
  const std::uint32_t in1 = a.y1 == a.y2 ? in2 : gather_rows(c, a.y1, "attention.normed.regathered", d.hidden);
  weight_gradient(c, in1, qkv_gradient(c), t.qkv, t.qkv_bias, d.hidden, d.qkv);
  settle_rows(c, {a.y1, a.y2});
}

void attention_segment_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  norm_forward(c, "attention.norm", t.norm1, t.norm1_bias, a.x, a.y1);
  if (c.model.mla)
    mla_forward(c, t, a);
  else
    attention_forward(c, t, a, gather_rows_for_linear(c, a.y1, "attention.normed.gathered", c.d.hidden));
  row_parallel(c, "attention.out", a.attended, t.out, c.d.attention, a.x2, a.y1);
  residual(c, a.x, t.out_bias, a.x2);
}

void attention_segment_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  const std::uint32_t dx = residual_gradient(c), dout = whole_gradient(c, dx, attention_result_gradient);
  bias_gradient(c, t.out_bias, dx);
  std::uint32_t dy = 0;
  if (c.model.mla)
    dy = mla_backward(c, t, a, dout);
  else
    dy = column_parallel_backward(c, "attention", a.y1, attention_backward(c, t, a, dout), t.qkv, t.qkv_bias, c.d.qkv);
  norm_backward(c, "attention.norm", t.norm1, t.norm1_bias, dy, a.x, dx);
}

void attention_segment_weight_grad(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  if (c.model.mla) return mla_weight_grad(c, t, a);
  weight_gradient(c, a.attended, attention_result_gradient(c), t.out, kAbsent, c.d.attention, c.d.hidden);
  const std::uint32_t in = gather_rows(c, a.y1, "attention.normed.regathered", c.d.hidden);
  weight_gradient(c, in, qkv_gradient(c), t.qkv, t.qkv_bias, c.d.hidden, c.d.qkv);
  settle_rows(c, {a.y1});
}

void mlp_segment_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::int64_t l, bool again) {
  norm_forward(c, "mlp.norm", t.norm2, t.norm2_bias, a.x2, a.y2);
  mlp_forward(c, t, a, gather_rows_for_linear(c, a.y2, "mlp.normed.gathered", c.d.hidden));
  if (!ends_layer(c, again)) return;
  const std::uint32_t out = layer_output(c, l, again);
  row_parallel(c, "mlp.down", a.activated, t.down, c.d.intermediate, out, a.y2);
  if (again)
    c.b.settle({out});
  else
    residual(c, a.x2, t.down_bias, out);
}

void mlp_segment_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  const std::uint32_t dx = residual_gradient(c), dout = whole_gradient(c, dx, mlp_result_gradient);
  bias_gradient(c, t.down_bias, dx);
  const std::uint32_t du = mlp_backward(c, t, a, dout);
  const std::uint32_t dy = column_parallel_backward(c, "mlp", a.y2, du, t.up, t.up_bias, c.d.up);
  norm_backward(c, "mlp.norm", t.norm2, t.norm2_bias, dy, a.x2, dx);
}

void mlp_segment_weight_grad(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  weight_gradient(c, a.activated, mlp_result_gradient(c), t.down, kAbsent, c.d.intermediate, c.d.hidden);
  const std::uint32_t in = gather_rows(c, a.y2, "mlp.normed.regathered", c.d.hidden);
  weight_gradient(c, in, up_gradient(c), t.up, t.up_bias, c.d.hidden, c.d.up);
  settle_rows(c, {a.y2});
}

void mixture_segment_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::int64_t l, Segment segment, bool again) {
  const bool ends = ends_layer(c, again);
  if (segment == Segment::dispatch) {
    norm_forward(c, "mlp.norm", t.norm2, t.norm2_bias, a.x2, a.y2);
    moe_dispatch_forward(c, t, a);
  } else if (segment == Segment::mlp) {
    moe_experts_forward(c, t, a, ends);
  } else if (segment == Segment::combine && ends) {
    moe_combine_forward(c, t, a, layer_output(c, l, again));
  }
}

void mixture_segment_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, Segment segment) {
  const std::uint32_t dx = residual_gradient(c);
  if (segment == Segment::combine)
    moe_combine_backward(c, dx);
  else if (segment == Segment::mlp)
    moe_experts_backward(c, t, a, dx);
  else if (segment == Segment::dispatch)
    moe_dispatch_backward(c, t, a, dx);
}

// Names the layer of what `write` emits.
template <class Write>
void in_layer(const Context& c, std::int64_t l, std::uint8_t flags, Write write) {
  c.b.layer = c.layer(l), c.b.flags = flags;
  write(c.layer_tensors(l), layer_buffers(c, l));
  c.b.layer = kNone, c.b.flags = 0;
}

}  // namespace

void segment_forward(const Context& c, std::int64_t l, Segment segment, bool again) {
  in_layer(c, l, again ? kRecompute : 0, [&](const LayerTensors& t, const LayerBuffers& a) {
    if (segment == Segment::attention) {
      if (c.model.parallel_block) return block_forward(c, t, a, l, again);
      attention_segment_forward(c, t, a);
    } else if (is_mixture(c, l)) {
      mixture_segment_forward(c, t, a, l, segment, again);
    } else if (segment == Segment::mlp && !c.model.parallel_block) {
      mlp_segment_forward(c, t, a, l, again);
    }
  });
}

void segment_backward(const Context& c, std::int64_t l, Segment segment) {
  in_layer(c, l, 0, [&](const LayerTensors& t, const LayerBuffers& a) {
    if (segment == Segment::attention) {
      if (c.model.parallel_block) return block_backward(c, t, a);
      attention_segment_backward(c, t, a);
    } else if (is_mixture(c, l)) {
      mixture_segment_backward(c, t, a, segment);
    } else if (segment == Segment::mlp && !c.model.parallel_block) {
      mlp_segment_backward(c, t, a);
    }
  });
}

void segment_weight_grad(const Context& c, std::int64_t l, Segment segment) {
  in_layer(c, l, 0, [&](const LayerTensors& t, const LayerBuffers& a) {
    if (segment == Segment::attention) {
      if (c.model.parallel_block) return block_weight_grad(c, t, a);
      attention_segment_weight_grad(c, t, a);
    } else if (is_mixture(c, l)) {
      if (segment == Segment::mlp) moe_weight_grad(c, t, a);
    } else if (segment == Segment::mlp && !c.model.parallel_block) {
      mlp_segment_weight_grad(c, t, a);
    }
  });
}

void layer_forward(const Context& c, std::int64_t l, bool again) {
  for (const Segment segment : kForwardOrder) segment_forward(c, l, segment, again);
}

void layer_backward(const Context& c, std::int64_t l) {
  for (std::size_t i = kForwardOrder.size(); i-- > 0;) segment_backward(c, l, kForwardOrder[i]);
}

void layer_weight_grad(const Context& c, std::int64_t l) {
  for (std::size_t i = kForwardOrder.size(); i-- > 0;) segment_weight_grad(c, l, kForwardOrder[i]);
}

}  // namespace orrery::program
