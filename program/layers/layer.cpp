#include "program/layers/layers.h"
#include "program/transforms/recompute.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {
namespace {

// Activations of one layer. `raw` is the projection's result before the norms of queries and keys, or `qkv` without them.
struct LayerBuffers {
  std::uint32_t x, y1, raw, qkv, attended, lse, x2, y2, up, activated;
};

LayerBuffers buffers(const Context& c, std::int64_t l) {
  const Dimensions& d = c.d;
  const DType type = c.plan.precision.compute;
  const std::int64_t stream = d.local_rows * d.hidden;
  LayerBuffers a{};
  a.x = layer_input(c, l);
  a.y1 = c.kept("attention.normed", type, stream, true);
  a.qkv = c.kept("attention.qkv", type, d.rows * d.qkv);
  a.raw = c.model.qk_norm ? c.kept("attention.raw", type, d.rows * d.qkv) : a.qkv;
  a.attended = c.kept("attention.result", type, d.rows * d.attention, true);
  a.lse = c.kept("attention.lse", DType::fp32, d.rows * d.q_heads);
  const bool one_norm = c.model.parallel_block && c.model.parallel_shared_norm;
  a.x2 = c.model.parallel_block ? a.x : c.kept("mlp.input", type, stream);
  a.y2 = one_norm ? a.y1 : c.kept("mlp.normed", type, stream, true);
  a.up = c.kept("mlp.up", type, d.rows * d.up);
  a.activated = c.kept("mlp.activated", type, d.rows * d.intermediate, true);
  return a;
}

void linear(const Context& c, std::uint32_t x, std::int32_t weight, std::int32_t bias, std::uint32_t y, std::int64_t in, std::int64_t out) {
  Uses uses{r(x)};
  c.read(uses, weight);
  c.read(uses, bias);
  uses.push_back(w(y));
  c.b.compute(Operator::linear_forward, {c.d.rows, in, out}, uses);
}

// In an input_grad it is left to layer_weight_grad.
void weight_gradient(const Context& c, std::uint32_t x, std::uint32_t dy, std::int32_t weight, std::int32_t bias, std::int64_t in, std::int64_t out) {
  if (c.pass == PassKind::input_grad) return;
  Uses uses{r(x), r(dy)};
  c.update(uses, weight);
  c.update(uses, bias);
  c.b.compute(Operator::linear_weight_grad, {c.d.rows, in, out}, uses);
  c.written(weight);
  c.written(bias);
}

// y += x + bias.
void residual(const Context& c, std::uint32_t x, std::int32_t bias, std::uint32_t y) {
  Uses uses{r(x)};
  c.read(uses, bias);
  uses.push_back(u(y));
  c.b.compute(Operator::residual_forward, {c.d.local_rows, c.d.hidden}, uses);
}

// The gradients of the layer's linears' results, which their weight gradients are made of. `qkv`: of the projection, before the norms.
std::uint32_t mlp_result_gradient(const Context& c) {
  return c.kept_gradient("mlp.gradient.gathered", c.d.rows * c.d.hidden, BufferKind::communication);
}
std::uint32_t attention_result_gradient(const Context& c) {
  return c.kept_gradient("attention.gradient.gathered", c.d.rows * c.d.hidden, BufferKind::communication);
}
std::uint32_t up_gradient(const Context& c) { return c.kept_gradient("mlp.up.gradient", c.d.rows * c.d.up); }
std::uint32_t qkv_gradient(const Context& c) {
  return c.kept_gradient(c.model.qk_norm ? "attention.raw.gradient" : "attention.qkv.gradient", c.d.rows * c.d.qkv);
}

// All rows of `dx`, the gradient of a sublayer's result. A split backward keeps a copy in `whole`, since dx goes on.
std::uint32_t whole_gradient(const Context& c, std::uint32_t dx, std::uint32_t (*whole)(const Context&)) {
  if (c.d.sp)
    c.b.collective(Operator::all_gather, kTp, c.tp, c.d.rows * c.d.hidden, c.plan.precision.compute, {r(dx), w(whole(c))});
  else if (c.pass == PassKind::input_grad)
    c.b.compute(Operator::copy, {c.d.rows * c.d.hidden}, {r(dx), w(whole(c))});
  else
    return dx;
  return whole(c);
}

// The parts of a fused row: [q heads | k heads | v heads]. As views they stand for as many elements, not for their places.
struct Parts {
  std::uint32_t q, k, v;
};
// The name by value: views are declared among the buffers, and one of these may own it.
Parts parts(const Context& c, std::string name, std::uint32_t qkv) {
  const std::int64_t q = c.d.rows * c.d.q_heads * c.d.head_dim, kv = c.d.rows * c.d.kv_heads * c.d.head_dim;
  const auto part = [&](const char* which, std::int64_t first, std::int64_t n) {
    return c.b.view(name + which, BufferKind::activation, qkv, first, n, c.b.layer);
  };
  return {part(".q", 0, q), part(".k", q, kv), part(".v", q + kv, kv)};
}

// Norms of queries and keys over head_dim: from the projection's result to what attention reads.
void qk_norm_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  const Dimensions& d = c.d;
  const Parts raw = parts(c, "attention.raw", a.raw), qkv = parts(c, "attention.qkv", a.qkv);
  const auto norm = [&](const char* name, std::int32_t gain, std::int64_t heads, std::uint32_t x, std::uint32_t y) {
    c.b.compute(Operator::norm_forward, {d.rows * heads, d.head_dim}, {r(x), r(c.weight(gain)), w(y), w(c.kept(name, DType::fp32, d.rows * heads))});
  };
  norm("attention.q_norm.statistics", t.q_norm, d.q_heads, raw.q, qkv.q);
  norm("attention.k_norm.statistics", t.k_norm, d.kv_heads, raw.k, qkv.k);
  c.b.compute(Operator::copy, {d.rows * d.kv_heads * d.head_dim}, {r(raw.v), w(qkv.v)});
}

std::uint32_t qk_norm_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dqkv) {
  const Dimensions& d = c.d;
  const std::uint32_t draw = qkv_gradient(c);
  const Parts raw = parts(c, "attention.raw", a.raw), dy = parts(c, "attention.qkv.gradient", dqkv),
              dx = parts(c, c.b.role().buffers[draw].name, draw);
  c.b.compute(Operator::zero, {d.rows * d.qkv}, {w(draw)});
  const auto norm = [&](const char* name, std::int32_t gain, std::int64_t heads, std::uint32_t dout, std::uint32_t x, std::uint32_t din) {
    c.b.compute(Operator::norm_backward, {d.rows * heads, d.head_dim},
                {r(dout), r(x), r(c.weight(gain)), r(c.kept(name, DType::fp32, d.rows * heads)), u(din), u(c.gradient(gain))});
    c.written(gain);
  };
  norm("attention.q_norm.statistics", t.q_norm, d.q_heads, dy.q, raw.q, dx.q);
  norm("attention.k_norm.statistics", t.k_norm, d.kv_heads, dy.k, raw.k, dx.k);
  c.b.compute(Operator::copy, {d.rows * d.kv_heads * d.head_dim}, {r(dy.v), w(dx.v)});
  return draw;
}

// From the gathered normed input to the heads' results.
void attention_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t in) {
  const Dimensions& d = c.d;
  linear(c, in, t.qkv, t.qkv_bias, a.raw, d.hidden, d.qkv);
  if (c.model.qk_norm) qk_norm_forward(c, t, a);
  if (c.model.position == PositionEmbedding::rope) c.b.compute(Operator::rope_forward, {d.rows, d.q_heads, d.kv_heads, d.head_dim}, {u(a.qkv)});
  c.b.compute(Operator::attention_forward, {d.micro, d.sequence, d.q_heads, d.kv_heads, d.head_dim, d.head_dim, c.model.causal ? 1 : 0},
              {r(a.qkv), w(a.attended), w(a.lse)});
}

// From the gathered gradient of the sublayer's result to that of the fused projection's result.
std::uint32_t attention_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dout) {
  const Dimensions& d = c.d;
  const std::uint32_t dattended = c.temporary("attention.result.gradient", d.rows * d.attention);
  c.b.compute(Operator::linear_input_grad, {d.rows, d.attention, d.hidden}, {r(dout), r(c.weight(t.out)), w(dattended)});
  weight_gradient(c, a.attended, dout, t.out, kAbsent, d.attention, d.hidden);
  const std::uint32_t dqkv = c.model.qk_norm ? c.temporary("attention.qkv.gradient", d.rows * d.qkv) : qkv_gradient(c);
  c.b.compute(Operator::attention_backward, {d.micro, d.sequence, d.q_heads, d.kv_heads, d.head_dim, d.head_dim, c.model.causal ? 1 : 0},
              {r(a.qkv), r(a.attended), r(a.lse), r(dattended), w(dqkv)});
  if (c.model.position == PositionEmbedding::rope) c.b.compute(Operator::rope_backward, {d.rows, d.q_heads, d.kv_heads, d.head_dim}, {u(dqkv)});
  return c.model.qk_norm ? qk_norm_backward(c, t, a, dqkv) : dqkv;
}

// From the gathered normed input to the activation's result.
void mlp_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t in) {
  const Dimensions& d = c.d;
  linear(c, in, t.up, t.up_bias, a.up, d.hidden, d.up);
  c.b.compute(Operator::activation_forward, {d.rows, d.intermediate, c.model.gated_mlp ? 1 : 0}, {r(a.up), w(a.activated)});
}

// From the gathered gradient of the sublayer's result to that of the up projection's result.
std::uint32_t mlp_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dout) {
  const Dimensions& d = c.d;
  const std::uint32_t da = c.temporary("mlp.activated.gradient", d.rows * d.intermediate);
  c.b.compute(Operator::linear_input_grad, {d.rows, d.intermediate, d.hidden}, {r(dout), r(c.weight(t.down)), w(da)});
  weight_gradient(c, a.activated, dout, t.down, kAbsent, d.intermediate, d.hidden);
  const std::uint32_t du = up_gradient(c);
  c.b.compute(Operator::activation_backward, {d.rows, d.intermediate, c.model.gated_mlp ? 1 : 0}, {r(a.up), r(da), w(du)});
  return du;
}

// A row-parallel linear whose summed result ends in `y`. `normed`, which was gathered for the linear before it, is given back with it where the
// backward pass makes it anew.
void row_parallel(const Context& c, const std::string& name, std::uint32_t x, std::int32_t weight, std::int64_t in, std::uint32_t y,
                  std::uint32_t normed) {
  const std::uint32_t partial = partial_rows(c, y, name + ".partial", c.d.hidden);
  linear(c, x, weight, kAbsent, partial, in, c.d.hidden);
  sum_rows(c, partial, y);
  settle_rows(c, {partial, normed});
}

// Backward of a column-parallel linear on the normed input `y`: its input gradient, summed over the group while the weight gradient is made.
std::uint32_t column_parallel_backward(const Context& c, const std::string& name, std::uint32_t y, std::uint32_t dout, std::int32_t weight,
                                       std::int32_t bias, std::int64_t out) {
  const Dimensions& d = c.d;
  const bool whole = c.pass != PassKind::input_grad;
  const std::uint32_t in = whole ? gather_rows(c, y, name + ".normed.regathered", d.hidden) : y;
  const std::uint32_t dy = c.temporary(name + ".normed.gradient", d.local_rows * d.hidden);
  const std::uint32_t partial = partial_rows(c, dy, name + ".normed.gradient.partial", d.hidden);
  c.b.compute(Operator::linear_input_grad, {d.rows, d.hidden, out}, {r(dout), r(c.weight(weight)), w(partial)});
  sum_rows(c, partial, dy);
  if (!whole) {
    settle_rows(c, {partial});
    return dy;
  }
  weight_gradient(c, in, dout, weight, bias, d.hidden, out);
  settle_rows(c, {partial, y});
  return dy;
}

// The parallel block's result before the residual: both sublayers' partial results, summed over the group once.
void sum_of_both(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t out) {
  const Dimensions& d = c.d;
  const std::uint32_t partial = partial_rows(c, out, "block.partial", d.hidden), other = c.temporary("mlp.down.partial", d.rows * d.hidden);
  linear(c, a.attended, t.out, kAbsent, partial, d.attention, d.hidden);
  linear(c, a.activated, t.down, kAbsent, other, d.intermediate, d.hidden);
  c.b.compute(Operator::accumulate, {d.rows * d.hidden}, {r(other), u(partial)});
  sum_rows(c, partial, out);
  settle_rows(c, {partial, a.y1, a.y2});
}

// The residual connection that ends a layer.
void finish_layer(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t out) {
  if (!c.model.parallel_block) return residual(c, a.x2, t.down_bias, out);
  if (t.out_bias == kAbsent || t.down_bias == kAbsent) return residual(c, a.x, t.out_bias == kAbsent ? t.down_bias : t.out_bias, out);
  const std::uint32_t both = c.b.temporary("block.bias", BufferKind::temporary, c.plan.precision.params, c.d.hidden, c.b.layer);
  c.b.compute(Operator::copy, {c.d.hidden}, {r(c.weight(t.out_bias)), w(both)});
  c.b.compute(Operator::accumulate, {c.d.hidden}, {r(c.weight(t.down_bias)), u(both)});
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
  c.b.compute(Operator::linear_input_grad, {d.rows, d.hidden, d.qkv}, {r(dqkv), r(c.weight(t.qkv)), w(partial)});
  c.b.compute(Operator::linear_input_grad, {d.rows, d.hidden, d.up}, {r(du), r(c.weight(t.up)), w(other)});
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

void bias_gradient(const Context& c, std::int32_t bias, std::uint32_t dy) {
  if (bias == kAbsent) return;
  c.b.compute(Operator::bias_grad, {c.d.local_rows, c.d.hidden}, {r(dy), u(c.gradient(bias))});
  c.written(bias);
}

}  // namespace

std::uint32_t layer_input(const Context& c, std::int64_t l) {
  const bool output = l == c.layers();
  if (output && c.after.local()) return layer_input(c.chunks[c.after.chunk], 0);
  Builder::Life life{mask(PassKind::forward), mask(PassKind::backward, PassKind::input_grad), c.chunk, c.chunk};
  if (output && !c.last()) life.dies = mask(PassKind::release);
  if (l == 0 && c.before.remote()) life.born = mask(PassKind::receive_forward);
  if (l == 0 && c.before.local()) life.born_chunk = c.before.chunk;
  return c.b.stash(output ? "stage.output" : "layer.input", BufferKind::activation, c.plan.precision.compute, c.d.local_rows * c.d.hidden,
                   output ? kNone : c.layer(l), life);
}

std::uint32_t residual_gradient(const Context& c) {
  const std::int64_t elements = c.d.local_rows * c.d.hidden;
  const Context *begin = &c, *end = &c;
  while (begin->before.local()) begin = &c.chunks[begin->before.chunk];
  while (end->after.local()) end = &c.chunks[end->after.chunk];
  if (begin == end && c.first() && c.last()) return c.b.temporary("residual.gradient", BufferKind::activation, c.plan.precision.compute, elements);
  constexpr PassMask kBackward = mask(PassKind::backward, PassKind::input_grad);
  return c.b.stash(
      "residual.gradient", BufferKind::activation, c.plan.precision.compute, elements, kNone,
      {end->last() ? kBackward : mask(PassKind::receive_backward), begin->first() ? kBackward : mask(PassKind::release), end->chunk, begin->chunk});
}

void layer_forward(const Context& c, std::int64_t l, bool again) {
  const LayerTensors& t = c.tensors().layers[static_cast<std::size_t>(l)];
  c.b.layer = c.layer(l);
  c.b.flags = again ? kRecompute : 0;
  const LayerBuffers a = buffers(c, l);
  // Nothing in the backward pass reads the layer's result; some frameworks make it again all the same.
  const bool ends = !again || reruns_whole_layer(c.plan);
  const std::uint32_t unused = again && ends ? c.temporary("layer.output.again", c.d.local_rows * c.d.hidden) : 0;
  const std::uint32_t out = again ? unused : layer_input(c, l + 1);

  norm_forward(c, "attention.norm", t.norm1, t.norm1_bias, a.x, a.y1);
  const std::uint32_t in1 = gather_rows(c, a.y1, "attention.normed.gathered", c.d.hidden);
  attention_forward(c, t, a, in1);
  if (c.model.parallel_block) {
    std::uint32_t in2 = in1;
    if (t.norm2 != kAbsent) {
      norm_forward(c, "mlp.norm", t.norm2, t.norm2_bias, a.x, a.y2);
      in2 = gather_rows(c, a.y2, "mlp.normed.gathered", c.d.hidden);
    }
    mlp_forward(c, t, a, in2);
    if (ends) sum_of_both(c, t, a, out);
  } else {
    row_parallel(c, "attention.out", a.attended, t.out, c.d.attention, a.x2, a.y1);
    residual(c, a.x, t.out_bias, a.x2);
    norm_forward(c, "mlp.norm", t.norm2, t.norm2_bias, a.x2, a.y2);
    mlp_forward(c, t, a, gather_rows(c, a.y2, "mlp.normed.gathered", c.d.hidden));
    if (ends) row_parallel(c, "mlp.down", a.activated, t.down, c.d.intermediate, out, a.y2);
  }
  if (again) {
    if (ends) c.b.settle({unused});
  } else {
    finish_layer(c, t, a, out);
  }
  c.b.layer = kNone, c.b.flags = 0;
}

void layer_backward(const Context& c, std::int64_t l) {
  const Dimensions& d = c.d;
  const LayerTensors& t = c.tensors().layers[static_cast<std::size_t>(l)];
  c.b.layer = c.layer(l);
  const LayerBuffers a = buffers(c, l);
  const std::uint32_t dx = residual_gradient(c);

  const std::uint32_t dout = whole_gradient(c, dx, mlp_result_gradient);
  bias_gradient(c, t.down_bias, dx);
  const std::uint32_t du = mlp_backward(c, t, a, dout);
  if (c.model.parallel_block) {
    bias_gradient(c, t.out_bias, dx);
    const std::uint32_t dqkv = attention_backward(c, t, a, dout);
    if (t.norm2 == kAbsent) {
      shared_norm_backward(c, t, a, du, dqkv, dx);
    } else {
      const std::uint32_t dy2 = column_parallel_backward(c, "mlp", a.y2, du, t.up, t.up_bias, d.up);
      norm_backward(c, "mlp.norm", t.norm2, t.norm2_bias, dy2, a.x, dx);
      const std::uint32_t dy1 = column_parallel_backward(c, "attention", a.y1, dqkv, t.qkv, t.qkv_bias, d.qkv);
      norm_backward(c, "attention.norm", t.norm1, t.norm1_bias, dy1, a.x, dx);
    }
  } else {
    const std::uint32_t dy2 = column_parallel_backward(c, "mlp", a.y2, du, t.up, t.up_bias, d.up);
    norm_backward(c, "mlp.norm", t.norm2, t.norm2_bias, dy2, a.x2, dx);
    const std::uint32_t dmiddle = whole_gradient(c, dx, attention_result_gradient);
    bias_gradient(c, t.out_bias, dx);
    const std::uint32_t dqkv = attention_backward(c, t, a, dmiddle);
    const std::uint32_t dy1 = column_parallel_backward(c, "attention", a.y1, dqkv, t.qkv, t.qkv_bias, d.qkv);
    norm_backward(c, "attention.norm", t.norm1, t.norm1_bias, dy1, a.x, dx);
  }
  c.b.layer = kNone;
}

void layer_weight_grad(const Context& c, std::int64_t l) {
  const Dimensions& d = c.d;
  const LayerTensors& t = c.tensors().layers[static_cast<std::size_t>(l)];
  c.b.layer = c.layer(l);
  const LayerBuffers a = buffers(c, l);
  const std::uint32_t dmlp = mlp_result_gradient(c), dattention = c.model.parallel_block ? dmlp : attention_result_gradient(c);
  weight_gradient(c, a.activated, dmlp, t.down, kAbsent, d.intermediate, d.hidden);
  const std::uint32_t in2 = gather_rows(c, a.y2, "mlp.normed.regathered", d.hidden);
  weight_gradient(c, in2, up_gradient(c), t.up, t.up_bias, d.hidden, d.up);
  weight_gradient(c, a.attended, dattention, t.out, kAbsent, d.attention, d.hidden);
  const std::uint32_t in1 = a.y1 == a.y2 ? in2 : gather_rows(c, a.y1, "attention.normed.regathered", d.hidden);
  weight_gradient(c, in1, qkv_gradient(c), t.qkv, t.qkv_bias, d.hidden, d.qkv);
  settle_rows(c, {a.y1, a.y2});
  c.b.layer = kNone;
}

}  // namespace orrery::program
