// Tensor and sequence parallelism: the collectives around column- and row-parallel linears. Without them (t = 1) each function does nothing.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "program/layers/layers.h"

namespace orrery::program {

// The whole of what each rank holds a block of rows of: gathered under sequence parallelism, otherwise `shard` itself.
std::uint32_t gather_rows(const Context& c, std::uint32_t shard, const std::string& name, std::int64_t width);

// Where a linear whose result must be summed over the group should write: `result` itself, or under sequence parallelism a buffer of all rows.
std::uint32_t partial_rows(const Context& c, std::uint32_t result, const std::string& name, std::int64_t width);
// Starts the sum of `partial` into `result`.
void sum_rows(const Context& c, std::uint32_t partial, std::uint32_t result);
// Lets the compute stream wait for the collectives on `buffers`, which are then given back if nothing uses them later. Nothing to do without
// sequence parallelism, where collectives work in place on what the compute stream uses next.
void settle_rows(const Context& c, std::initializer_list<std::uint32_t> buffers);

}  // namespace orrery::program
