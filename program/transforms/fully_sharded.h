// Sharded parameters (ZeRO-3, FSDP): gathered unit by unit before a pass uses them, ahead of time, and freed after use.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan.h"
#include "program/builder.h"
#include "program/layout.h"
#include "program/transforms/data_parallel.h"

namespace orrery::program {

// Follows one pass of a chunk, twice. In a rehearsal it notes which units the pass reads and in which order; then it gathers them in that order,
// `prefetch` units ahead of the one in use: the gather of unit u + prefetch is issued when unit u's first operator is, waits for the compute before
// it, and runs beside unit u's. A unit is a layer, the embedding or the head, and what of it a pass does not read is not gathered.
//
// The buffer of a unit lives until its last use in the pass; without reshard_after_forward, from the chunk's first forward pass of a step, which
// gathers it, to the last pass that reads it. With a rate limit of n the host issues no gather before the unit n places before it has been used
// (FSDP's limit_all_gathers: 2).
class ParameterGatherer {
 public:
  ParameterGatherer(Builder& b, const Layout& layout, const Plan& plan, std::uint16_t chunk, const Turn& turn);

  // Ends the rehearsal; called once the pass's template has begun anew.
  void begin();
  // The tensor as the operator that is emitted next reads it.
  std::uint32_t weight(std::int32_t tensor);

 private:
  std::uint32_t gathered(std::size_t bucket);
  void enter(std::size_t unit);
  void gather(std::size_t unit);

  Builder& b_;
  const Layout& layout_;
  const Plan& plan_;
  std::uint16_t chunk_;
  Turn turn_;
  bool begun_ = false, keeps_;
  std::size_t ahead_;
  std::vector<std::vector<std::size_t>> units_;  // buckets that are read, by unit, in the order of first use
  std::vector<std::size_t> unit_of_;             // by bucket: its place in units_
  std::vector<std::uint16_t> ends_;              // by unit that was left: its last instruction
  std::size_t current_ = 0, next_ = 0;           // in use; to be gathered next
};

}  // namespace orrery::program
