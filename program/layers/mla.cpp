// Multi-head latent attention (DeepSeek-V2, 2.1): queries and keys are made from narrow latents, which every rank of a tensor-parallel group makes of
// its own rows and which are gathered (rather than the hidden state) for the linears that are split by heads. One rotated key is shared by all heads.
#include "program/layers/sublayers.h"
#include "program/transforms/context_parallel.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {
namespace {

struct Widths {
  std::int64_t q_latent, kv_latent, rope, kv_a, q, kv;  // q, kv: of the local heads
};
Widths widths(const Context& c) {
  const Mla& m = *c.model.mla;
  return {m.q_lora_rank,
          m.kv_lora_rank,
          m.qk_rope_head_dim,
          m.kv_lora_rank + m.qk_rope_head_dim,
          c.d.q_heads * c.d.head_dim,
          c.d.q_heads * (m.qk_nope_head_dim + m.v_head_dim)};
}

// What the backward pass needs of the way from the normed input to the packed row. Normed latents are the latents themselves where no norm is.
struct Latents {
  std::uint32_t q, q_normed, kv, kv_normed;
};
Latents latents(const Context& c, const LayerTensors& t) {
  const Widths n = widths(c);
  const DType type = c.plan.precision.compute;
  Latents out{};
  if (n.q_latent > 0) {
    const bool norm = t.q_a_norm != kAbsent;
    out.q = c.kept("attention.q_latent", type, c.d.local_rows * n.q_latent, !norm);
    out.q_normed = norm ? c.kept("attention.q_latent.normed", type, c.d.local_rows * n.q_latent, true) : out.q;
  }
  const bool norm = t.kv_a_norm != kAbsent;
  out.kv = c.kept("attention.kv_latent", type, c.d.local_rows * n.kv_latent, !norm);
  out.kv_normed = norm ? c.kept("attention.kv_latent.normed", type, c.d.local_rows * n.kv_latent, true) : out.kv;
  return out;
}

std::uint32_t q_gradient(const Context& c) { return c.kept_gradient("attention.q.gradient", c.d.rows * widths(c).q); }
std::uint32_t kv_gradient(const Context& c) { return c.kept_gradient("attention.kv.gradient", c.d.rows * widths(c).kv); }
std::uint32_t q_latent_gradient(const Context& c) { return c.kept_gradient("attention.q_latent.gradient", c.d.local_rows * widths(c).q_latent); }
std::uint32_t kv_a_gradient(const Context& c) { return c.kept_gradient("attention.kv_a.gradient", c.d.local_rows * widths(c).kv_a); }

void latent_norm_forward(const Context& c, const std::string& name, std::int32_t gain, std::uint32_t x, std::uint32_t y, std::int64_t width) {
  if (gain == kAbsent) return;
  const std::int64_t rows = c.d.local_rows;
  c.b.compute(Operator::norm_forward, {rows, width}, {r(x), r(c.weight(gain)), w(y), w(c.kept(name + ".statistics", DType::fp32, rows))});
}
// dx is written whole.
void latent_norm_backward(const Context& c, const std::string& name, std::int32_t gain, std::uint32_t dy, std::uint32_t x, std::uint32_t dx,
                          std::int64_t width) {
  const std::int64_t rows = c.d.local_rows;
  if (gain == kAbsent) {
    c.b.compute(Operator::copy, {rows * width}, {r(dy), w(dx)});
    return;
  }
  c.b.compute(Operator::zero, {rows * width}, {w(dx)});
  c.b.compute(Operator::norm_backward, {rows, width},
              {r(dy), r(x), r(c.weight(gain)), r(c.kept(name + ".statistics", DType::fp32, rows)), u(dx), u(c.gradient(gain))});
  c.written(gain);
}

// Backward of a linear split by heads whose input `x`, `in` wide, is each rank's block of rows: the input's gradient, and the weight's.
std::uint32_t split_linear_backward(const Context& c, const std::string& name, std::uint32_t x, std::uint32_t dy, std::int32_t weight,
                                    std::int64_t in, std::int64_t out) {
  const bool whole = c.pass != PassKind::input_grad;
  const std::uint32_t gathered = whole ? gather_rows(c, x, name + ".regathered", in) : x;
  const std::uint32_t dx = c.temporary(name + ".input.gradient", c.d.local_rows * in);
  const std::uint32_t partial = partial_rows(c, dx, name + ".input.gradient.partial", in);
  input_gradient_of(c, c.d.rows, dy, weight, partial, in, out);
  sum_rows(c, partial, dx);
  weight_gradient_of(c, c.d.rows, gathered, dy, weight, in, out);
  if (whole)
    settle_rows(c, {partial, x});
  else
    settle_rows(c, {partial});
  return dx;
}

void pack(const Context& c, Operator op, const Uses& uses) {
  const Mla& m = *c.model.mla;
  c.b.compute(op, {c.d.rows, c.d.q_heads, m.qk_nope_head_dim, m.qk_rope_head_dim, m.v_head_dim}, uses);
}

}  // namespace

void mla_forward(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  const Dimensions& d = c.d;
  const Widths n = widths(c);
  const Latents l = latents(c, t);
  const bool narrow = n.q_latent > 0;
  if (narrow) {
    linear_of(c, d.local_rows, a.y1, t.q_a, l.q, d.hidden, n.q_latent);
    latent_norm_forward(c, "attention.q_latent.norm", t.q_a_norm, l.q, l.q_normed, n.q_latent);
  }
  const std::uint32_t kv_a = c.temporary("attention.kv_a", d.local_rows * n.kv_a), k_rope = c.temporary("attention.k_rope", d.local_rows * n.rope);
  linear_of(c, d.local_rows, a.y1, t.kv_a, kv_a, d.hidden, n.kv_a);
  c.b.compute(Operator::split_columns, {d.local_rows, n.kv_latent, n.rope}, {r(kv_a), w(l.kv), w(k_rope)});
  latent_norm_forward(c, "attention.kv_latent.norm", t.kv_a_norm, l.kv, l.kv_normed, n.kv_latent);

  const std::int64_t q_in = narrow ? n.q_latent : d.hidden;
  const std::uint32_t q = c.temporary("attention.q", d.rows * n.q), kv = c.temporary("attention.kv", d.rows * n.kv);
  const std::uint32_t from = narrow ? l.q_normed : a.y1;
  linear_of(c, d.rows, gather_rows(c, from, "attention.q_latent.gathered", q_in), t.q_b, q, q_in, n.q);
  const std::uint32_t keys = gather_rows(c, k_rope, "attention.k_rope.gathered", n.rope);
  linear_of(c, d.rows, gather_rows(c, l.kv_normed, "attention.kv_latent.gathered", n.kv_latent), t.kv_b, kv, n.kv_latent, n.kv);
  pack(c, Operator::mla_pack_forward, {r(q), r(kv), r(keys), w(a.qkv)});
  settle_rows(c, {from, k_rope, l.kv_normed});
  attend(c, a.qkv, a.attended, a.lse);
}

std::uint32_t mla_backward(const Context& c, const LayerTensors& t, const LayerBuffers& a, std::uint32_t dout) {
  const Dimensions& d = c.d;
  const Widths n = widths(c);
  const Latents l = latents(c, t);
  const std::uint32_t dattended = c.temporary("attention.result.gradient", d.rows * d.attention);
  input_gradient(c, dout, t.out, dattended, d.attention, d.hidden);
  weight_gradient_of(c, d.rows, a.attended, dout, t.out, d.attention, d.hidden);
  const std::uint32_t dqkv = c.temporary("attention.qkv.gradient", d.rows * d.qkv);
  attend_backward(c, a.qkv, a.attended, a.lse, dattended, dqkv);

  const std::uint32_t dq = q_gradient(c), dkv = kv_gradient(c);
  const std::uint32_t dk_rope = c.temporary("attention.k_rope.gradient", d.local_rows * n.rope);
  const std::uint32_t partial = partial_rows(c, dk_rope, "attention.k_rope.gradient.partial", n.rope);
  pack(c, Operator::mla_pack_backward, {r(dqkv), w(dq), w(dkv), w(partial)});
  sum_rows(c, partial, dk_rope);

  const std::uint32_t dkv_normed = split_linear_backward(c, "attention.kv_latent", l.kv_normed, dkv, t.kv_b, n.kv_latent, n.kv);
  const std::uint32_t dkv_latent = c.temporary("attention.kv_latent.unnormed.gradient", d.local_rows * n.kv_latent), dkv_a = kv_a_gradient(c);
  latent_norm_backward(c, "attention.kv_latent.norm", t.kv_a_norm, dkv_normed, l.kv, dkv_latent, n.kv_latent);
  settle_rows(c, {partial});
  c.b.compute(Operator::join_columns, {d.local_rows, n.kv_latent, n.rope}, {r(dkv_latent), r(dk_rope), w(dkv_a)});
  weight_gradient_of(c, d.local_rows, a.y1, dkv_a, t.kv_a, d.hidden, n.kv_a);
  const std::uint32_t dy = c.temporary("attention.normed.gradient", d.local_rows * d.hidden);
  input_gradient_of(c, d.local_rows, dkv_a, t.kv_a, dy, d.hidden, n.kv_a);

  std::uint32_t of_queries = 0;
  if (n.q_latent > 0) {
    const std::uint32_t dq_normed = split_linear_backward(c, "attention.q_latent", l.q_normed, dq, t.q_b, n.q_latent, n.q);
    const std::uint32_t dq_latent = q_latent_gradient(c);
    latent_norm_backward(c, "attention.q_latent.norm", t.q_a_norm, dq_normed, l.q, dq_latent, n.q_latent);
    weight_gradient_of(c, d.local_rows, a.y1, dq_latent, t.q_a, d.hidden, n.q_latent);
    of_queries = c.temporary("attention.normed.gradient.queries", d.local_rows * d.hidden);
    input_gradient_of(c, d.local_rows, dq_latent, t.q_a, of_queries, d.hidden, n.q_latent);
  } else {
    of_queries = split_linear_backward(c, "attention.normed.queries", a.y1, dq, t.q_b, d.hidden, n.q);
  }
  c.b.compute(Operator::accumulate, {d.local_rows * d.hidden}, {r(of_queries), u(dy)});
  return dy;
}

void mla_weight_grad(const Context& c, const LayerTensors& t, const LayerBuffers& a) {
  const Dimensions& d = c.d;
  const Widths n = widths(c);
  const Latents l = latents(c, t);
  const bool narrow = n.q_latent > 0;
  weight_gradient_of(c, d.rows, a.attended, attention_result_gradient(c), t.out, d.attention, d.hidden);
  weight_gradient_of(c, d.rows, gather_rows(c, l.kv_normed, "attention.kv_latent.regathered", n.kv_latent), kv_gradient(c), t.kv_b, n.kv_latent,
                     n.kv);
  weight_gradient_of(c, d.local_rows, a.y1, kv_a_gradient(c), t.kv_a, d.hidden, n.kv_a);
  const std::int64_t q_in = narrow ? n.q_latent : d.hidden;
  const std::uint32_t from = narrow ? l.q_normed : a.y1;
  weight_gradient_of(c, d.rows, gather_rows(c, from, "attention.q_latent.regathered", q_in), q_gradient(c), t.q_b, q_in, n.q);
  if (narrow) weight_gradient_of(c, d.local_rows, a.y1, q_latent_gradient(c), t.q_a, d.hidden, n.q_latent);
  settle_rows(c, {from, l.kv_normed});
}

}  // namespace orrery::program
