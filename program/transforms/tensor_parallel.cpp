#include "program/transforms/tensor_parallel.h"

#include <fmt/format.h>

namespace orrery::program {
namespace {

// Parts of a pipelined sum: Transformer Engine's default (pytorch/module/base.py, num_splits).
constexpr std::int64_t kPipelineParts = 4;

bool overlaps(const Context& c) { return c.d.sp && c.plan.overlap.tp; }

}  // namespace

RowBlocks row_blocks(const Context& c) { return overlaps(c) ? RowBlocks{c.d.t, c.d.local_rows} : RowBlocks{1, c.d.rows}; }

std::uint32_t row_block(const Context& c, std::uint32_t whole, std::int64_t block) {
  if (!overlaps(c)) return whole;
  const Buffer& of = c.b.role().buffers[whole];
  return c.b.turned(fmt::format("{}, block {}", of.name, block), of.kind, whole, block, c.tp, of.layer);
}

namespace {

// Each rank's block of rows to all, one step of a ring after the other.
void pass_around(const Context& c, std::uint32_t shard, std::uint32_t whole) {
  const std::int64_t elements = c.b.elements(shard);
  c.b.compute(Operator::copy, {elements}, {r(shard), w(row_block(c, whole, 0))});
  // What the compute stream copied is there, whoever wrote the shard in whichever pass.
  for (std::int64_t step = 1; step < c.d.t; ++step)
    c.b.collective(Operator::rotate, kTp, c.tp, elements, c.plan.precision.compute, {r(row_block(c, whole, step - 1)), w(row_block(c, whole, step))});
}

}  // namespace

std::uint32_t gather_rows_for_linear(const Context& c, std::uint32_t shard, const std::string& name, std::int64_t width) {
  if (!overlaps(c)) return gather_rows(c, shard, name, width);
  const std::uint32_t whole = c.temporary(name, c.d.rows * width, BufferKind::communication);
  pass_around(c, shard, whole);
  return whole;
}

bool pipelined_sum(const Context& c, const std::string& name, std::uint32_t x, std::int32_t weight, std::int64_t in, std::uint32_t result) {
  const std::int64_t width = c.d.hidden, columns = width / kPipelineParts;
  if (!overlaps(c) || width % kPipelineParts != 0) return false;
  const std::uint32_t partial = c.temporary(name + ".partial", c.d.rows * width, BufferKind::communication);
  const std::uint32_t shards = c.temporary(name + ".parts", c.d.local_rows * width, BufferKind::communication);
  const std::uint32_t whole = c.weight(weight);
  for (std::int64_t k = 0; k < kPipelineParts; ++k) {
    const auto part = [&](const std::string& of, BufferKind kind, std::uint32_t buffer, std::int64_t elements) {
      return c.b.inside(fmt::format("{}, part {}", of, k), kind, buffer, k * elements, elements, c.b.layer);
    };
    const std::uint32_t w_part = part(fmt::format("{}.weight in {}", name, whole), BufferKind::parameter, whole, columns * in);
    const std::uint32_t y = part(name + ".partial", BufferKind::communication, partial, c.d.rows * columns);
    const std::uint32_t sum = part(name + ".sum", BufferKind::communication, shards, c.d.local_rows * columns);
    c.b.compute(Operator::linear_forward, {c.d.rows, in, columns}, {r(x), r(w_part), w(y)});
    c.b.collective(Operator::reduce_scatter, kTp, c.tp, c.d.rows * columns, c.plan.precision.compute, {r(y), w(sum)});
  }
  c.b.compute(Operator::gather_heads, {c.d.local_rows, kPipelineParts, 0, columns, columns, kPipelineParts}, {r(shards), w(result)});
  c.b.settle({partial});
  return true;
}

std::uint32_t gather_rows(const Context& c, std::uint32_t shard, const std::string& name, std::int64_t width) {
  if (!c.d.sp) return shard;
  const std::uint32_t whole = c.temporary(name, c.d.rows * width, BufferKind::communication);
  c.b.collective(Operator::all_gather, kTp, c.tp, c.d.rows * width, c.plan.precision.compute, {r(shard), w(whole)});
  return whole;
}

std::uint32_t partial_rows(const Context& c, std::uint32_t result, const std::string& name, std::int64_t width) {
  return c.d.sp ? c.temporary(name, c.d.rows * width, BufferKind::communication) : result;
}

void sum_rows(const Context& c, std::uint32_t partial, std::uint32_t result) {
  const std::int64_t elements = c.b.elements(partial);
  if (c.d.sp)
    c.b.collective(Operator::reduce_scatter, kTp, c.tp, elements, c.plan.precision.compute, {r(partial), w(result)});
  else
    c.b.collective(Operator::all_reduce, kTp, c.tp, elements, c.plan.precision.compute, {u(result)});
}

void gather_gradient(const Context& c, std::uint32_t shard, std::uint32_t whole) {
  if (overlaps(c)) return pass_around(c, shard, whole);
  c.b.collective(Operator::all_gather, kTp, c.tp, c.b.elements(whole), c.plan.precision.compute, {r(shard), w(whole)});
}

void settle_rows(const Context& c, std::initializer_list<std::uint32_t> buffers) {
  if (c.d.sp) c.b.settle(buffers);
}

}  // namespace orrery::program
