// What the dimensions of operators are called, for people.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "program/operators.h"

namespace orrery::program {

// By index into Shape::dims, as documented at the operator; empty for those that it does not have.
std::array<std::string_view, 9> dimension_names(Operator op);

// "8192 tokens x 16384 in x 6656 out, bf16": flags only where they are set, numbers only where they mean something.
std::string shape_text(const Shape& shape);

}  // namespace orrery::program
