#include "program/transforms/tensor_parallel.h"

namespace orrery::program {

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

void settle_rows(const Context& c, std::initializer_list<std::uint32_t> buffers) {
  if (c.d.sp) c.b.settle(buffers);
}

}  // namespace orrery::program
