#include "program/layers/layers.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {
namespace {

std::uint32_t tokens(const Context& c) { return c.kept("tokens", DType::int32, c.d.rows, false, BufferKind::input); }

// What the table and the positions add up to: the first layer's input, unless a norm stands between.
std::uint32_t sum_of_tables(const Context& c) {
  return c.tensors().embedding_norm == kAbsent ? layer_input(c, 0) : c.kept("embedding.sum", c.plan.precision.compute, c.d.local_rows * c.d.hidden);
}

}  // namespace

void embedding_forward(const Context& c) {
  const Dimensions& d = c.d;
  c.b.dtype = DType::int32;
  c.b.compute(Operator::load_tokens, {d.rows}, {w(tokens(c))});
  c.b.dtype = c.plan.precision.compute;
  const std::uint32_t x = sum_of_tables(c), partial = partial_rows(c, x, "embedding.partial", d.hidden);
  c.b.compute(Operator::embedding_forward, {d.rows, d.hidden, d.vocab}, {r(tokens(c)), r(c.weight(c.tensors().embedding)), w(partial)});
  sum_rows(c, partial, x);
  settle_rows(c, {partial});
  if (c.tensors().position != kAbsent) c.b.compute(Operator::position_forward, {d.local_rows, d.hidden}, {r(c.weight(c.tensors().position)), u(x)});
  if (c.tensors().embedding_norm != kAbsent)
    norm_forward(c, "embedding.norm", c.tensors().embedding_norm, c.tensors().embedding_norm_bias, x, layer_input(c, 0));
}

void embedding_backward(const Context& c) {
  const Dimensions& d = c.d;
  std::uint32_t dx = residual_gradient(c);
  if (c.tensors().embedding_norm != kAbsent) {
    const std::uint32_t before = c.temporary("embedding.sum.gradient", d.local_rows * d.hidden);
    c.b.compute(Operator::zero, {d.local_rows * d.hidden}, {w(before)});
    norm_backward(c, "embedding.norm", c.tensors().embedding_norm, c.tensors().embedding_norm_bias, dx, sum_of_tables(c), before);
    dx = before;
  }
  const std::uint32_t whole = gather_rows(c, dx, "embedding.gradient.gathered", d.hidden);
  if (c.tensors().position != kAbsent) {
    c.b.compute(Operator::position_backward, {d.local_rows, d.hidden}, {r(dx), u(c.gradient(c.tensors().position))});
    c.written(c.tensors().position);
  }
  c.b.compute(Operator::embedding_backward, {d.rows, d.hidden, d.vocab}, {r(tokens(c)), r(whole), u(c.gradient(c.tensors().embedding))});
  c.written(c.tensors().embedding);
  settle_rows(c, {dx});
}

}  // namespace orrery::program
