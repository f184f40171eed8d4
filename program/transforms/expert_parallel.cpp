#include "program/transforms/expert_parallel.h"

namespace orrery::program {

Busiest::Busiest(const Context& c) : b_(c.b) {
  if (!c.busiest.empty()) b_.busiest = c.busiest[b_.layer].mean;
}

void exchange_counts(const Context& c, std::uint32_t counts, std::uint32_t received) {
  const ExpertDimensions& e = c.d.experts;
  c.b.collective(Operator::all_to_all, kEp, c.ep, e.sources() * e.local, DType::int32, {r(counts), w(received)});
}

void exchange_rows(const Context& c, std::int64_t sent, std::int64_t width, std::uint32_t from, std::uint32_t counts, std::int64_t most,
                   std::uint32_t to) {
  const DType type = c.b.role().buffers[from].dtype;
  // A rank sends as many rows as it is expected to have, whatever there is room for.
  const std::int64_t rows = c.d.experts.capacity > 0 ? sent : c.d.experts.rows;
  const Busiest busiest(c);  // its link decides, to which or from which most rows come
  // The same rows whoever passes them on; only a price knows how many of them cross between nodes.
  const ExpertDimensions& e = c.d.experts;
  const bool once = c.plan.runtime.moe_dispatcher == "hierarchical";
  c.b.exchange(Operator::all_to_all_by_count, kEp, c.ep, {rows, width, e.local, most, once ? e.experts : 0, e.k, e.groups, e.chosen_groups}, type,
               rows * width, {r(from), r(counts), w(to)});
}

void gather_tokens(const Context& c, std::int64_t width, std::uint32_t own, std::uint32_t all) {
  c.b.collective(Operator::all_gather, kEp, c.ep, c.d.routed_rows() * width, c.b.role().buffers[own].dtype, {r(own), w(all)});
}

void sum_tokens(const Context& c, std::int64_t width, std::uint32_t parts, std::uint32_t own) {
  c.b.collective(Operator::reduce_scatter, kEp, c.ep, c.d.routed_rows() * width, c.b.role().buffers[own].dtype, {r(parts), w(own)});
}

}  // namespace orrery::program
