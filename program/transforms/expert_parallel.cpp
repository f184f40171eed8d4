#include "program/transforms/expert_parallel.h"

namespace orrery::program {

void exchange_counts(const Context& c, std::uint32_t counts, std::uint32_t received) {
  const ExpertDimensions& e = c.d.experts;
  c.b.collective(Operator::all_to_all, kEp, c.ep, e.sources() * e.local, DType::int32, {r(counts), w(received)});
}

void exchange_rows(const Context& c, std::int64_t sent, std::int64_t width, std::uint32_t from, std::uint32_t counts, std::int64_t most,
                   std::uint32_t to) {
  const DType type = c.b.role().buffers[from].dtype;
  // A rank sends as many rows as it is expected to have, whatever there is room for.
  const std::int64_t rows = c.d.experts.capacity > 0 ? sent : c.d.experts.rows;
  c.b.exchange(Operator::all_to_all_by_count, kEp, c.ep, {rows, width, c.d.experts.local, most}, type, rows * width, {r(from), r(counts), w(to)});
}

}  // namespace orrery::program
