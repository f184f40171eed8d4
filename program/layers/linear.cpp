#include <utility>

#include "program/layers/sublayers.h"
#include "program/transforms/quantising.h"
#include "program/transforms/tensor_parallel.h"

namespace orrery::program {
namespace {

// The type of the products that are emitted while it lives.
class In8Bits {
 public:
  In8Bits(const Context& c, bool in_8) : scaling(in_8 ? scaling_dimension(c.plan) : 0), b_(c.b), before_(c.b.dtype) {
    if (in_8) b_.dtype = DType::fp8;
  }
  ~In8Bits() { b_.dtype = before_; }
  In8Bits(const In8Bits&) = delete;
  In8Bits& operator=(const In8Bits&) = delete;
  const std::int64_t scaling;

 private:
  Builder& b_;
  DType before_;
};

// The three products of a linear, of any number of rows.
void product(const Context& c, std::int64_t rows, std::uint32_t x, std::int32_t weight, std::int32_t bias, std::uint32_t y, std::int64_t in,
             std::int64_t out) {
  const bool in_8 = in_8_bits(c, weight);
  const std::uint32_t matrix = c.weight(weight);
  Uses uses{r(x), r(matrix)};
  if (in_8) uses = {r(quantised(c, weight, Role8::input, x, rows, in)), r(quantised(c, weight, Role8::weight, matrix, out, in))};
  c.read(uses, bias);
  uses.push_back(w(y));
  const In8Bits label(c, in_8);
  c.b.compute(Operator::linear_forward, {rows, in, out, label.scaling}, uses);
}

void input_product(const Context& c, std::int64_t rows, std::uint32_t dy, std::int32_t weight, std::uint32_t dx, std::int64_t in, std::int64_t out) {
  const bool in_8 = in_8_bits(c, weight);
  const std::uint32_t matrix = c.weight(weight);
  Uses uses{r(dy), r(matrix), w(dx)};
  if (in_8) uses = {r(quantised(c, weight, Role8::gradient, dy, rows, out)), r(quantised(c, weight, Role8::weight, matrix, out, in, true)), w(dx)};
  const In8Bits label(c, in_8);
  c.b.compute(Operator::linear_input_grad, {rows, in, out, label.scaling}, uses);
}

void weight_product(const Context& c, std::int64_t rows, std::uint32_t x, std::uint32_t dy, std::int32_t weight, std::int32_t bias, std::int64_t in,
                    std::int64_t out) {
  if (c.pass == PassKind::input_grad) return;
  const bool in_8 = in_8_bits(c, weight);
  Uses uses{r(x), r(dy)};
  if (in_8) uses = {r(quantised(c, weight, Role8::input, x, rows, in, true)), r(quantised(c, weight, Role8::gradient, dy, rows, out, true))};
  c.update(uses, weight);
  // What was quantised lies along the rows, and sums over them are better of what it was made of.
  if (in_8 && bias != kAbsent)
    c.b.compute(Operator::bias_grad, {rows, out}, {r(dy), u(c.gradient(bias))});
  else
    c.update(uses, bias);
  {
    const In8Bits label(c, in_8);
    c.b.compute(Operator::linear_weight_grad, {rows, in, out, label.scaling}, uses);
  }
  c.written(weight);
  c.written(bias);
}

}  // namespace

void linear(const Context& c, std::uint32_t x, std::int32_t weight, std::int32_t bias, std::uint32_t y, std::int64_t in, std::int64_t out) {
  const RowBlocks blocks = row_blocks(c);
  for (std::int64_t block = 0; block < blocks.count; ++block)
    product(c, blocks.rows, row_block(c, x, block), weight, bias, row_block(c, y, block), in, out);
}

void input_gradient(const Context& c, std::uint32_t dy, std::int32_t weight, std::uint32_t dx, std::int64_t in, std::int64_t out) {
  const RowBlocks blocks = row_blocks(c);
  for (std::int64_t block = 0; block < blocks.count; ++block)
    input_product(c, blocks.rows, row_block(c, dy, block), weight, row_block(c, dx, block), in, out);
}

void weight_gradient(const Context& c, std::uint32_t x, std::uint32_t dy, std::int32_t weight, std::int32_t bias, std::int64_t in, std::int64_t out) {
  weight_product(c, c.d.rows, x, dy, weight, bias, in, out);
}

void linear_of(const Context& c, std::int64_t rows, std::uint32_t x, std::int32_t weight, std::uint32_t y, std::int64_t in, std::int64_t out) {
  product(c, rows, x, weight, kAbsent, y, in, out);
}

void input_gradient_of(const Context& c, std::int64_t rows, std::uint32_t dy, std::int32_t weight, std::uint32_t dx, std::int64_t in,
                       std::int64_t out) {
  input_product(c, rows, dy, weight, dx, in, out);
}

void weight_gradient_of(const Context& c, std::int64_t rows, std::uint32_t x, std::uint32_t dy, std::int32_t weight, std::int64_t in,
                        std::int64_t out) {
  weight_product(c, rows, x, dy, weight, kAbsent, in, out);
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
  input_product(c, d.rows, dout, weight, partial, d.hidden, out);
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
