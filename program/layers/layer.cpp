#include "program/layers/layers.h"
#include "program/transforms/recompute.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {
namespace {

// Activations of one layer.
struct LayerBuffers {
  std::uint32_t x, y1, qkv, attended, lse, x2, y2, up, activated;
};

LayerBuffers buffers(const Context& c, std::int64_t l) {
  const Dimensions& d = c.d;
  const DType type = c.plan.precision.compute;
  const std::int64_t stream = d.local_rows * d.hidden;
  return {layer_input(c, l),
          c.kept("attention.normed", type, stream),
          c.kept("attention.qkv", type, d.rows * d.qkv),
          c.kept("attention.result", type, d.rows * d.attention),
          c.kept("attention.lse", DType::fp32, d.rows * d.q_heads),
          c.kept("mlp.input", type, stream),
          c.kept("mlp.normed", type, stream),
          c.kept("mlp.up", type, d.rows * d.up),
          c.kept("mlp.activated", type, d.rows * d.intermediate)};
}

void linear(const Context& c, std::uint32_t x, std::int32_t weight, std::int32_t bias, std::uint32_t y, std::int64_t in, std::int64_t out) {
  Uses uses{r(x)};
  c.read(uses, weight);
  c.read(uses, bias);
  uses.push_back(w(y));
  c.b.compute(Operator::linear_forward, {c.d.rows, in, out}, uses);
}

void weight_gradient(const Context& c, std::uint32_t x, std::uint32_t dy, std::int32_t weight, std::int32_t bias, std::int64_t in, std::int64_t out) {
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

void attention(const Context& c, const LayerBuffers& a) {
  const Dimensions& d = c.d;
  if (c.model.position == PositionEmbedding::rope) c.b.compute(Operator::rope_forward, {d.rows, d.q_heads, d.kv_heads, d.head_dim}, {u(a.qkv)});
  c.b.compute(Operator::attention_forward, {d.micro, d.sequence, d.q_heads, d.kv_heads, d.head_dim, d.head_dim, c.model.causal ? 1 : 0},
              {r(a.qkv), w(a.attended), w(a.lse)});
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
  const std::uint32_t in = gather_rows(c, y, name + ".normed.regathered", d.hidden);
  const std::uint32_t dy = c.temporary(name + ".normed.gradient", d.local_rows * d.hidden);
  const std::uint32_t partial = partial_rows(c, dy, name + ".normed.gradient.partial", d.hidden);
  c.b.compute(Operator::linear_input_grad, {d.rows, d.hidden, out}, {r(dout), r(c.weight(weight)), w(partial)});
  sum_rows(c, partial, dy);
  weight_gradient(c, in, dout, weight, bias, d.hidden, out);
  settle_rows(c, {partial, y});
  return dy;
}

void bias_gradient(const Context& c, std::int32_t bias, std::uint32_t dy) {
  if (bias == kAbsent) return;
  c.b.compute(Operator::bias_grad, {c.d.local_rows, c.d.hidden}, {r(dy), u(c.gradient(bias))});
  c.written(bias);
}

}  // namespace

std::uint32_t layer_input(const Context& c, std::int64_t l) {
  const auto layers = static_cast<std::int64_t>(c.layout.layers.size());
  const bool received = l == 0 && !c.first(), sent = l == layers && !c.last();
  const auto layer = static_cast<std::uint16_t>(c.b.role().first_layer + l);
  const PassKind born = received ? PassKind::receive_forward : PassKind::forward, dies = sent ? PassKind::release : PassKind::backward;
  return c.b.stash(l == layers ? "stage.output" : "layer.input", BufferKind::activation, c.plan.precision.compute, c.d.local_rows * c.d.hidden,
                   l == layers ? kNone : layer, born, dies);
}

std::uint32_t residual_gradient(const Context& c) {
  const std::int64_t elements = c.d.local_rows * c.d.hidden;
  if (c.first() && c.last()) return c.b.temporary("residual.gradient", BufferKind::activation, c.plan.precision.compute, elements);
  return c.b.stash("residual.gradient", BufferKind::activation, c.plan.precision.compute, elements, kNone,
                   c.last() ? PassKind::backward : PassKind::receive_backward, c.first() ? PassKind::backward : PassKind::release);
}

void layer_forward(const Context& c, std::int64_t l, bool again) {
  const Dimensions& d = c.d;
  const LayerTensors& t = c.layout.layers[static_cast<std::size_t>(l)];
  c.b.layer = static_cast<std::uint16_t>(c.b.role().first_layer + l);
  c.b.flags = again ? kRecompute : 0;
  const LayerBuffers a = buffers(c, l);

  norm_forward(c, "attention.norm", t.norm1, t.norm1_bias, a.x, a.y1);
  linear(c, gather_rows(c, a.y1, "attention.normed.gathered", d.hidden), t.qkv, t.qkv_bias, a.qkv, d.hidden, d.qkv);
  attention(c, a);
  row_parallel(c, "attention.out", a.attended, t.out, d.attention, a.x2, a.y1);
  residual(c, a.x, t.out_bias, a.x2);

  norm_forward(c, "mlp.norm", t.norm2, t.norm2_bias, a.x2, a.y2);
  linear(c, gather_rows(c, a.y2, "mlp.normed.gathered", d.hidden), t.up, t.up_bias, a.up, d.hidden, d.up);
  c.b.compute(Operator::activation_forward, {d.rows, d.intermediate, c.model.gated_mlp ? 1 : 0}, {r(a.up), w(a.activated)});
  if (again) {
    if (reruns_whole_layer(c.plan)) {
      const std::uint32_t unused = c.temporary("mlp.down.again", d.local_rows * d.hidden);
      row_parallel(c, "mlp.down.again", a.activated, t.down, d.intermediate, unused, a.y2);
      c.b.settle({unused});
    }
  } else {
    const std::uint32_t out = layer_input(c, l + 1);
    row_parallel(c, "mlp.down", a.activated, t.down, d.intermediate, out, a.y2);
    residual(c, a.x2, t.down_bias, out);
  }
  c.b.layer = kNone, c.b.flags = 0;
}

void layer_backward(const Context& c, std::int64_t l) {
  const Dimensions& d = c.d;
  const LayerTensors& t = c.layout.layers[static_cast<std::size_t>(l)];
  c.b.layer = static_cast<std::uint16_t>(c.b.role().first_layer + l);
  const LayerBuffers a = buffers(c, l);
  const std::uint32_t dx = residual_gradient(c);

  std::uint32_t dout = gather_rows(c, dx, "mlp.gradient.gathered", d.hidden);
  bias_gradient(c, t.down_bias, dx);
  const std::uint32_t da = c.temporary("mlp.activated.gradient", d.rows * d.intermediate);
  c.b.compute(Operator::linear_input_grad, {d.rows, d.intermediate, d.hidden}, {r(dout), r(c.weight(t.down)), w(da)});
  weight_gradient(c, a.activated, dout, t.down, kAbsent, d.intermediate, d.hidden);
  const std::uint32_t du = c.temporary("mlp.up.gradient", d.rows * d.up);
  c.b.compute(Operator::activation_backward, {d.rows, d.intermediate, c.model.gated_mlp ? 1 : 0}, {r(a.up), r(da), w(du)});
  const std::uint32_t dy2 = column_parallel_backward(c, "mlp", a.y2, du, t.up, t.up_bias, d.up);
  norm_backward(c, "mlp.norm", t.norm2, t.norm2_bias, dy2, a.x2, dx);

  dout = gather_rows(c, dx, "attention.gradient.gathered", d.hidden);
  bias_gradient(c, t.out_bias, dx);
  const std::uint32_t dattended = c.temporary("attention.result.gradient", d.rows * d.attention);
  c.b.compute(Operator::linear_input_grad, {d.rows, d.attention, d.hidden}, {r(dout), r(c.weight(t.out)), w(dattended)});
  weight_gradient(c, a.attended, dout, t.out, kAbsent, d.attention, d.hidden);
  const std::uint32_t dqkv = c.temporary("attention.qkv.gradient", d.rows * d.qkv);
  c.b.compute(Operator::attention_backward, {d.micro, d.sequence, d.q_heads, d.kv_heads, d.head_dim, d.head_dim, c.model.causal ? 1 : 0},
              {r(a.qkv), r(a.attended), r(a.lse), r(dattended), w(dqkv)});
  if (c.model.position == PositionEmbedding::rope) c.b.compute(Operator::rope_backward, {d.rows, d.q_heads, d.kv_heads, d.head_dim}, {u(dqkv)});
  const std::uint32_t dy1 = column_parallel_backward(c, "attention", a.y1, dqkv, t.qkv, t.qkv_bias, d.qkv);
  norm_backward(c, "attention.norm", t.norm1, t.norm1_bias, dy1, a.x, dx);
  c.b.layer = kNone;
}

}  // namespace orrery::program
