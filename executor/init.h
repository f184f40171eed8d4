// Initial values of parameters: every sharding draws the same global tensors, since a value depends on (seed, name, global element) alone.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "program/program.h"

namespace orrery::executor {

// The standard normal number of one element of the tensor `name`, counter-based: no state, any order.
double initial_normal(std::uint64_t seed, std::string_view name, std::int64_t element);

// Writes elements first … of the shard of `parameter` that begins at `origin`, row-major; padding beyond the global size becomes zero.
void initialise(const program::Parameter& parameter, program::Origin origin, std::uint64_t seed, std::int64_t first, std::span<float> out);

}  // namespace orrery::executor
