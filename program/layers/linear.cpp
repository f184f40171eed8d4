#include "program/layers/sublayers.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {

void linear(const Context& c, std::uint32_t x, std::int32_t weight, std::int32_t bias, std::uint32_t y, std::int64_t in, std::int64_t out) {
  const RowBlocks blocks = row_blocks(c);
  for (std::int64_t block = 0; block < blocks.count; ++block) {
    Uses uses{r(row_block(c, x, block))};
    c.read(uses, weight);
    c.read(uses, bias);
    uses.push_back(w(row_block(c, y, block)));
    c.b.compute(Operator::linear_forward, {blocks.rows, in, out}, uses);
  }
}

void input_gradient(const Context& c, std::uint32_t dy, std::int32_t weight, std::uint32_t dx, std::int64_t in, std::int64_t out) {
  const RowBlocks blocks = row_blocks(c);
  for (std::int64_t block = 0; block < blocks.count; ++block)
    input_gradient_of(c, blocks.rows, row_block(c, dy, block), weight, row_block(c, dx, block), in, out);
}

void weight_gradient(const Context& c, std::uint32_t x, std::uint32_t dy, std::int32_t weight, std::int32_t bias, std::int64_t in, std::int64_t out) {
  if (c.pass == PassKind::input_grad) return;
  Uses uses{r(x), r(dy)};
  c.update(uses, weight);
  c.update(uses, bias);
  c.b.compute(Operator::linear_weight_grad, {c.d.rows, in, out}, uses);
  c.written(weight);
  c.written(bias);
}

void linear_of(const Context& c, std::int64_t rows, std::uint32_t x, std::int32_t weight, std::uint32_t y, std::int64_t in, std::int64_t out) {
  c.b.compute(Operator::linear_forward, {rows, in, out}, {r(x), r(c.weight(weight)), w(y)});
}

void input_gradient_of(const Context& c, std::int64_t rows, std::uint32_t dy, std::int32_t weight, std::uint32_t dx, std::int64_t in,
                       std::int64_t out) {
  c.b.compute(Operator::linear_input_grad, {rows, in, out}, {r(dy), r(c.weight(weight)), w(dx)});
}

void weight_gradient_of(const Context& c, std::int64_t rows, std::uint32_t x, std::uint32_t dy, std::int32_t weight, std::int64_t in,
                        std::int64_t out) {
  if (c.pass == PassKind::input_grad) return;
  c.b.compute(Operator::linear_weight_grad, {rows, in, out}, {r(x), r(dy), u(c.gradient(weight))});
  c.written(weight);
}

void bias_gradient(const Context& c, std::int32_t bias, std::uint32_t dy) {
  if (bias == kAbsent) return;
  c.b.compute(Operator::bias_grad, {c.d.local_rows, c.d.hidden}, {r(dy), u(c.gradient(bias))});
  c.written(bias);
}

void residual(const Context& c, std::uint32_t x, std::int32_t bias, std::uint32_t y) {
  Uses uses{r(x)};
  c.read(uses, bias);
  uses.push_back(u(y));
  c.b.compute(Operator::residual_forward, {c.d.local_rows, c.d.hidden}, uses);
}

std::uint32_t whole_gradient(const Context& c, std::uint32_t dx, std::uint32_t (*whole)(const Context&)) {
  if (c.d.sp)
    gather_gradient(c, dx, whole(c));
  else if (c.pass == PassKind::input_grad)
    c.b.compute(Operator::copy, {c.d.rows * c.d.hidden}, {r(dx), w(whole(c))});
  else
    return dx;
  return whole(c);
}

void row_parallel(const Context& c, const std::string& name, std::uint32_t x, std::int32_t weight, std::int64_t in, std::uint32_t y,
                  std::uint32_t normed) {
  if (pipelined_sum(c, name, x, weight, in, y)) return settle_rows(c, {normed});
  const std::uint32_t partial = partial_rows(c, y, name + ".partial", c.d.hidden);
  linear_of(c, c.d.rows, x, weight, partial, in, c.d.hidden);
  sum_rows(c, partial, y);
  settle_rows(c, {partial, normed});
}

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

}  // namespace orrery::program
