// Linears in 8 bits (precision.recipe): what is quantised before each product, and the scales that delayed scaling keeps between steps.
#pragma once

#include <cstdint>

#include "program/layers/layers.h"
#include "program/quantised.h"

namespace orrery::program {

// A recipe's plan as the rest of the compiler sees it: everything but linears runs in bf16, as in Transformer Engine.
Plan without_fp8_compute(const Plan& plan);

// Whether the products with this weight are in 8 bits: those of linears inside layers, but for a router's.
bool in_8_bits(const Context& c, std::int32_t weight);

// The scaling of the plan's recipe, as a linear's shape has it: 1 + its number; 0 without one.
std::int64_t scaling_dimension(const Plan& plan);

// Emits what writes `x`, of rows x columns, as the operand `role` of a product with `weight`, and returns the result: for this pass only. In a whole
// backward pass a gradient is written both ways for its first product, and is there for the second.
std::uint32_t quantised(const Context& c, std::int32_t weight, Role8 role, std::uint32_t x, std::int64_t rows, std::int64_t columns,
                        bool transposed = false);

// The end of a step under delayed scaling: what was seen of each matrix, by any rank that shares the layer, is what the next steps expect.
// Nothing otherwise.
void update_scales(Builder& b, const Layout& layout, const Plan& plan);

}  // namespace orrery::program
