#include "program/layers/sublayers.h"
#include "program/transforms/context_parallel.h"

namespace orrery::program {
namespace {

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

}  // namespace

std::uint32_t attention_result_gradient(const Context& c) {
  return c.kept_gradient("attention.gradient.gathered", c.d.rows * c.d.hidden, BufferKind::communication);
}
std::uint32_t qkv_gradient(const Context& c) {
  return c.kept_gradient(c.model.qk_norm ? "attention.raw.gradient" : "attention.qkv.gradient", c.d.rows * c.d.qkv);
}

void attention_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t in) {
  const Dimensions& d = c.d;
  linear(c, in, t.qkv, t.qkv_bias, a.raw, d.hidden, d.qkv);
  if (c.model.qk_norm) qk_norm_forward(c, t, a);
  if (c.model.position == PositionEmbedding::rope) c.b.compute(Operator::rope_forward, {d.rows, d.q_heads, d.kv_heads, d.head_dim}, {u(a.qkv)});
  attend(c, a.qkv, a.attended, a.lse);
}

std::uint32_t attention_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dout) {
  const Dimensions& d = c.d;
  const std::uint32_t dattended = c.temporary("attention.result.gradient", d.rows * d.attention);
  input_gradient(c, dout, t.out, dattended, d.attention, d.hidden);
  weight_gradient(c, a.attended, dout, t.out, kAbsent, d.attention, d.hidden);
  const std::uint32_t dqkv = c.model.qk_norm ? c.temporary("attention.qkv.gradient", d.rows * d.qkv) : qkv_gradient(c);
  attend_backward(c, a.qkv, a.attended, a.lse, dattended, dqkv);
  if (c.model.position == PositionEmbedding::rope) c.b.compute(Operator::rope_backward, {d.rows, d.q_heads, d.kv_heads, d.head_dim}, {u(dqkv)});
  return c.model.qk_norm ? qk_norm_backward(c, t, a, dqkv) : dqkv;
}

}  // namespace orrery::program
