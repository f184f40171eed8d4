// Matrices of 8-bit numbers with their scales: the formats, the layouts that Hopper's products take, and what each recipe does.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "program/operators.h"

namespace orrery::program {

// Micikevicius et al. 2022, "FP8 formats for deep learning": e4m3 has no infinities and reaches 448, e5m2 is IEEE's way and reaches 57344.
enum class Fp8 : std::uint8_t { e4m3, e5m2 };
constexpr double largest(Fp8 format) { return format == Fp8::e4m3 ? 448 : 57344; }

// What scales are of, after Transformer Engine's recipes: all of a matrix, the largest number being known from earlier steps (delayed) or looked up
// first (current); or blocks (as DeepSeek-V3): 128 numbers of a row of activations and gradients, 128 x 128 of weights. Of blocks they are powers of
// two, so that they round nothing. Gradients are e5m2, or with blocks e4m3 like all else.
enum class Scaling : std::uint8_t { delayed, current, blockwise };
std::optional<Scaling> scaling_named(std::string_view recipe);  // of those that Hopper has
enum class Role8 : std::uint8_t { input, weight, gradient };    // of a product's operand

// How one operand is written: `number` is the `form` of its quantise instruction.
struct Quantisation {
  Fp8 format = Fp8::e4m3;
  std::int64_t block_rows = 0, block_columns = 0;  // of one scale; 0: one for all
  static Quantisation of(Scaling scaling, Role8 role);
  std::int64_t number() const;
  static Quantisation numbered(std::int64_t number);
  bool operator==(const Quantisation&) const = default;
};

// A quantised matrix in memory: codes row by row, then, from a multiple of 16 bytes on, fp32 scales, by which codes are to be multiplied. Rows are
// what a product sums along. The order of the scales is that of cuBLASLt 12.9 (and of Transformer Engine's tensors): of 1 x 128 blocks by
// block of columns, then row, the rows padded to a multiple of 4; of 128 x 128 by block of rows, then block of columns, these padded.
struct QuantisedMatrix {
  std::int64_t rows = 0, columns = 0;
  Quantisation form;
  std::int64_t scales() const;
  std::int64_t scales_begin() const { return (rows * columns + 15) / 16 * 16; }  // bytes
  std::int64_t bytes() const { return scales_begin() + 4 * scales(); }
  // The scale of the element at (row, column).
  std::int64_t scale_of(std::int64_t row, std::int64_t column) const;
};

// The results of quantise and quantise_delayed in their one buffer: of x as it lies, of x transposed, or first the one and then the other, from a
// multiple of 16 bytes on.
enum class Ways : std::uint8_t { plain, transposed, both };
struct QuantisedPart {
  QuantisedMatrix matrix;
  bool transposed = false;
  std::int64_t begin = 0;  // bytes
};
std::vector<QuantisedPart> quantised_parts(const Shape& shape);
std::int64_t quantised_bytes(std::int64_t rows, std::int64_t columns, const Quantisation& form, Ways ways);
// The first two operands of a linear in fp8, as they lie in memory; nothing for other shapes.
std::optional<std::pair<QuantisedMatrix, QuantisedMatrix>> quantised_operands(const Shape& shape);

}  // namespace orrery::program
