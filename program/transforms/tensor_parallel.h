// Tensor and sequence parallelism: the collectives around column- and row-parallel linears. Without them (t = 1) each function does nothing.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "program/layers/layers.h"

namespace orrery::program {

// The whole of what each rank holds a block of rows of: gathered under sequence parallelism, otherwise `shard` itself.
std::uint32_t gather_rows(const Context& c, std::uint32_t shard, const std::string& name, std::int64_t width);

// The same where a linear follows that can begin with some of the rows: with overlap.tp, blocks of rows are passed on around a ring.
std::uint32_t gather_rows_for_linear(const Context& c, std::uint32_t shard, const std::string& name, std::int64_t width);
// The blocks of rows in which linears take what has been gathered so, in the order in which they arrive; all rows as one without overlap.
struct RowBlocks {
  std::int64_t count = 1, rows = 0;
};
RowBlocks row_blocks(const Context& c);
std::uint32_t row_block(const Context& c, std::uint32_t whole, std::int64_t block);

// Where a linear whose result must be summed over the group should write: `result` itself, or under sequence parallelism a buffer of all rows.
std::uint32_t partial_rows(const Context& c, std::uint32_t result, const std::string& name, std::int64_t width);
// With overlap.tp such a linear runs in parts of its columns, and each is summed while the next is computed. False, and nothing written: without.
bool pipelined_sum(const Context& c, const std::string& name, std::uint32_t x, std::int32_t weight, std::int64_t in, std::uint32_t result);
// Starts the sum of `partial` into `result`.
void sum_rows(const Context& c, std::uint32_t partial, std::uint32_t result);
// All rows of a gradient that each rank holds a block of rows of, under sequence parallelism; for linears that take row_blocks.
void gather_gradient(const Context& c, std::uint32_t shard, std::uint32_t whole);
// Lets the compute stream wait for the collectives on `buffers`, which are then given back if nothing uses them later. Nothing to do without
// sequence parallelism, where collectives work in place on what the compute stream uses next.
void settle_rows(const Context& c, std::initializer_list<std::uint32_t> buffers);

}  // namespace orrery::program
