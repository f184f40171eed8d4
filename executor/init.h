// Initial values of parameters: every sharding draws the same global tensors, since a value depends on (seed, name, global element) alone.
#pragma once

#include <cstdint>
#include <string_view>

#include "program/program.h"

namespace orrery::executor {

// The standard normal number of one element of the tensor `name`, counter-based: no state, any order.
double initial_normal(std::uint64_t seed, std::string_view name, std::int64_t element);

// Writes the shard of `parameter` that tp coordinate `tp` holds to flat[parameter.offset …], row-major; padding beyond the global size becomes zero.
void initialise(const program::Parameter& parameter, std::int64_t tp, std::uint64_t seed, float* flat);

}  // namespace orrery::executor
