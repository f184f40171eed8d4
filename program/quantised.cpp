#include "program/quantised.h"

#include <cassert>

namespace orrery::program {
namespace {

constexpr std::int64_t kBlock = 128;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t to_four(std::int64_t n) { return ceil_div(n, 4) * 4; }

}  // namespace

std::optional<Scaling> scaling_named(std::string_view recipe) {
  if (recipe == "delayed") return Scaling::delayed;
  if (recipe == "current") return Scaling::current;
  if (recipe == "blockwise") return Scaling::blockwise;
  return std::nullopt;
}

Quantisation Quantisation::of(Scaling scaling, Role8 role) {
  if (scaling == Scaling::blockwise) return {Fp8::e4m3, role == Role8::weight ? kBlock : 1, kBlock};
  return {role == Role8::gradient ? Fp8::e5m2 : Fp8::e4m3, 0, 0};
}

std::int64_t Quantisation::number() const {
  const std::int64_t blocks = block_columns == 0 ? 0 : block_rows == 1 ? 1 : 2;
  return 2 * blocks + (format == Fp8::e5m2 ? 1 : 0);
}

Quantisation Quantisation::numbered(std::int64_t number) {
  assert(number >= 0 && number < 6);
  const std::int64_t blocks = number / 2;
  return {number % 2 ? Fp8::e5m2 : Fp8::e4m3, blocks == 0 ? 0 : blocks == 1 ? 1 : kBlock, blocks == 0 ? 0 : kBlock};
}

std::int64_t QuantisedMatrix::scales() const {
  if (form.block_columns == 0) return 1;
  if (form.block_rows == 1) return ceil_div(columns, form.block_columns) * to_four(rows);
  return ceil_div(rows, form.block_rows) * to_four(ceil_div(columns, form.block_columns));
}

std::int64_t QuantisedMatrix::scale_of(std::int64_t row, std::int64_t column) const {
  if (form.block_columns == 0) return 0;
  if (form.block_rows == 1) return column / form.block_columns * to_four(rows) + row;
  return row / form.block_rows * to_four(ceil_div(columns, form.block_columns)) + column / form.block_columns;
}

namespace {

std::vector<QuantisedPart> parts(std::int64_t rows, std::int64_t columns, const Quantisation& form, Ways ways) {
  std::vector<QuantisedPart> out;
  if (ways != Ways::transposed) out.push_back({{rows, columns, form}, false, 0});
  if (ways != Ways::plain) out.push_back({{columns, rows, form}, true, out.empty() ? 0 : ceil_div(out.front().matrix.bytes(), 16) * 16});
  return out;
}

}  // namespace

std::vector<QuantisedPart> quantised_parts(const Shape& shape) {
  const auto& d = shape.dims;
  return parts(d[0], d[1], Quantisation::numbered(d[2]), d[3] == 0 ? Ways::plain : d[3] == 1 ? Ways::transposed : Ways::both);
}

std::int64_t quantised_bytes(std::int64_t rows, std::int64_t columns, const Quantisation& form, Ways ways) {
  const QuantisedPart last = parts(rows, columns, form, ways).back();
  return last.begin + last.matrix.bytes();
}

std::optional<std::pair<QuantisedMatrix, QuantisedMatrix>> quantised_operands(const Shape& shape) {
  if (shape.dtype != DType::fp8 || shape.dims[3] == 0) return std::nullopt;
  const auto scaling = static_cast<Scaling>(shape.dims[3] - 1);
  const std::int64_t tokens = shape.dims[0], in = shape.dims[1], out = shape.dims[2];
  const auto form = [&](Role8 role) { return Quantisation::of(scaling, role); };
  switch (shape.op) {
    case Operator::linear_forward:
      return std::pair{QuantisedMatrix{tokens, in, form(Role8::input)}, QuantisedMatrix{out, in, form(Role8::weight)}};
    case Operator::linear_input_grad:
      return std::pair{QuantisedMatrix{tokens, out, form(Role8::gradient)}, QuantisedMatrix{in, out, form(Role8::weight)}};
    case Operator::linear_weight_grad:
      return std::pair{QuantisedMatrix{in, tokens, form(Role8::input)}, QuantisedMatrix{out, tokens, form(Role8::gradient)}};
    default:
      return std::nullopt;
  }
}

}  // namespace orrery::program
