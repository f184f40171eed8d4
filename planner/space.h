// Which plans there are to choose from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/cluster.h"
#include "core/model.h"
#include "core/plan.h"

namespace orrery::planner {

// Values to try on each axis; an empty list means every legal one. Everything else is taken from the base plan as it is.
struct Space {
  std::vector<std::int64_t> tp, pp, micro;
  std::vector<std::int64_t> vp;       // empty: the base plan's where a schedule can have so many chunks, otherwise the fewest that it is useful with
  std::vector<std::string> schedule;  // empty: 1f1b and gpipe; with `vp`: those of 1f1b, gpipe and interleaved that can have it
  std::vector<std::string> recompute{"none", "full"};
  std::vector<std::int64_t> zero{0, 1};
  std::optional<bool> sp;  // nothing: on wherever tp > 1 and the sequence divides
};

// All combinations in a fixed order, plans that differ in the micro-batch only next to each other. By default tp runs over the divisors of the
// devices up to one node, pp over those up to the number of layers, micro over the divisors of the sequences per replica: where more no longer helps,
// memory and the bound say so. Values of vp that a schedule cannot have are left out, unless all are. Sequence parallelism is on wherever tp > 1 and
// the sequence divides; a schedule is not varied where pp = 1, nor ZeRO where dp = 1.
std::vector<Plan> enumerate(const Model& model, const Cluster& cluster, const Plan& base, const Space& space);

}  // namespace orrery::planner
