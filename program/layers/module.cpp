// A module of multi-token prediction (DeepSeek-V3, arXiv 2412.19437, 2.2): from the normed state of the model or of the module before, and the
// embedding of the k-th token after each, a layer of the model's kind makes what the shared output projection predicts the token after that from. As
// in Megatron-Core and in the published checkpoint, the state is taken after its final norm, and the embedding has the projection's first columns.
#include <fmt/format.h>

#include "program/layers/sublayers.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {
namespace {

struct Module {
  std::uint32_t tokens, embedding, joined;
};

Module buffers(const Context& c, std::int64_t k) {
  const Dimensions& d = c.d;
  const DType type = c.plan.precision.compute;
  return {c.kept(in_module(k, "tokens"), DType::int32, d.rows, false, BufferKind::input),
          c.kept(in_module(k, "embedding"), type, d.local_rows * d.hidden), c.kept(in_module(k, "joined"), type, d.local_rows * 2 * d.hidden, true)};
}

// The gradient of the module's own residual stream.
std::uint32_t stream_gradient(const Context& c, std::int64_t k) {
  c.b.layer = c.layer(c.module(k));
  const std::uint32_t dx = residual_gradient(c);
  c.b.layer = kNone;
  return dx;
}

}  // namespace

std::string in_module(std::int64_t k, const char* name) { return k == 0 ? name : fmt::format("mtp.{}.{}", k, name); }

void module_forward(const Context& c, std::int64_t k, std::uint32_t hidden) {
  const Dimensions& d = c.d;
  const ModuleTensors& t = c.module_tensors(k);
  const Module m = buffers(c, k);
  c.b.dtype = DType::int32;
  c.b.next_peer = static_cast<std::int8_t>(k);
  c.b.compute(Operator::load_tokens, {d.rows}, {w(m.tokens)});
  c.b.dtype = c.plan.precision.compute;
  const std::uint32_t partial = partial_rows(c, m.embedding, in_module(k, "embedding.partial"), d.hidden);
  c.b.compute(Operator::embedding_forward, {d.rows, d.hidden, d.vocab}, {r(m.tokens), r(c.weight(c.tensors().next_embedding)), w(partial)});
  sum_rows(c, partial, m.embedding);
  settle_rows(c, {partial});
  const std::int64_t stream = d.local_rows * d.hidden;
  const std::uint32_t left = c.temporary(in_module(k, "embedding.normed"), stream), right = c.temporary(in_module(k, "hidden.normed"), stream);
  norm_forward(c, in_module(k, "embedding_norm"), t.embedding_norm, kAbsent, m.embedding, left);
  norm_forward(c, in_module(k, "hidden_norm"), t.hidden_norm, kAbsent, hidden, right);
  c.b.compute(Operator::join_columns, {d.local_rows, d.hidden, d.hidden}, {r(left), r(right), w(m.joined)});
  linear_of(c, d.local_rows, m.joined, t.projection, layer_input(c, c.module(k)), 2 * d.hidden, d.hidden);
  layer_forward(c, c.module(k));
}

void module_backward(const Context& c, std::int64_t k, std::uint32_t hidden, std::uint32_t dy, std::uint32_t d_hidden) {
  const Dimensions& d = c.d;
  const ModuleTensors& t = c.module_tensors(k);
  const Module m = buffers(c, k);
  const std::int64_t stream = d.local_rows * d.hidden;
  const std::uint32_t dx = stream_gradient(c, k);
  c.b.compute(Operator::zero, {stream}, {w(dx)});
  norm_backward(c, in_module(k, "final_norm"), t.final_norm, kAbsent, dy, layer_output(c, c.module(k)), dx);
  if (c.recompute) layer_forward(c, c.module(k), true);
  layer_backward(c, c.module(k));
  const std::uint32_t joined = c.temporary(in_module(k, "joined.gradient"), 2 * stream);
  input_gradient_of(c, d.local_rows, dx, t.projection, joined, 2 * d.hidden, d.hidden);
  weight_gradient_of(c, d.local_rows, m.joined, dx, t.projection, 2 * d.hidden, d.hidden);
  const std::uint32_t left = c.temporary(in_module(k, "embedding.normed.gradient"), stream),
                      right = c.temporary(in_module(k, "hidden.normed.gradient"), stream);
  c.b.compute(Operator::split_columns, {d.local_rows, d.hidden, d.hidden}, {r(joined), w(left), w(right)});
  norm_backward(c, in_module(k, "hidden_norm"), t.hidden_norm, kAbsent, right, hidden, d_hidden);
  const std::uint32_t d_embedding = c.temporary(in_module(k, "embedding.gradient"), stream);
  c.b.compute(Operator::zero, {stream}, {w(d_embedding)});
  norm_backward(c, in_module(k, "embedding_norm"), t.embedding_norm, kAbsent, left, m.embedding, d_embedding);
  const std::uint32_t whole = gather_rows(c, d_embedding, in_module(k, "embedding.gradient.gathered"), d.hidden);
  c.b.compute(Operator::embedding_backward, {d.rows, d.hidden, d.vocab}, {r(m.tokens), r(whole), u(c.gradient(c.tensors().next_embedding))});
  c.written(c.tensors().next_embedding);
  settle_rows(c, {d_embedding});
}

void module_weight_grad(const Context& c, std::int64_t k) {
  const Dimensions& d = c.d;
  layer_weight_grad(c, c.module(k));
  weight_gradient_of(c, d.local_rows, buffers(c, k).joined, stream_gradient(c, k), c.module_tensors(k).projection, 2 * d.hidden, d.hidden);
}

}  // namespace orrery::program
