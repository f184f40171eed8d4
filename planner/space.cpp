#include "planner/space.h"

#include <algorithm>

namespace orrery::planner {
namespace {

std::vector<std::int64_t> divisors(std::int64_t n, std::int64_t most) {
  std::vector<std::int64_t> out;
  for (std::int64_t d = 1; d <= std::min(n, most); ++d)
    if (n % d == 0) out.push_back(d);
  return out;
}

}  // namespace

std::vector<Plan> enumerate(const Model& model, const Cluster& cluster, const Plan& base, const Space& space) {
  std::vector<Plan> plans;
  const std::int64_t devices = cluster.devices;
  const std::vector<std::int64_t> tps = space.tp.empty() ? divisors(devices, std::min(cluster.node_size, devices)) : space.tp;
  for (const std::int64_t tp : tps) {
    const std::vector<std::int64_t> pps = space.pp.empty() ? divisors(std::max<std::int64_t>(1, devices / tp), model.layers) : space.pp;
    for (const std::int64_t pp : pps) {
      const std::int64_t ranks = tp * pp * base.parallel.cp;
      const std::int64_t dp = devices % ranks == 0 ? devices / ranks : 1;
      const std::int64_t sequences = base.batch.global % dp == 0 ? base.batch.global / dp : 1;
      const std::vector<std::int64_t> micros = space.micro.empty() ? divisors(sequences, sequences) : space.micro;
      for (const std::string& schedule : space.schedule) {
        if (pp == 1 && schedule != space.schedule.front()) continue;
        for (const std::string& recompute : space.recompute) {
          for (const std::int64_t zero : space.zero) {
            if (dp == 1 && zero != space.zero.front()) continue;
            for (const std::int64_t micro : micros) {
              Plan plan = base;
              plan.parallel.tp = tp;
              plan.parallel.pp = pp;
              plan.parallel.sp = space.sp.value_or(tp > 1 && base.batch.sequence % tp == 0);
              plan.batch.micro = micro;
              plan.schedule = schedule;
              plan.recompute.kind = recompute;
              plan.sharding.zero = zero;
              if (pp != base.parallel.pp) plan.stages.reset();
              plans.push_back(std::move(plan));
            }
          }
        }
      }
    }
  }
  return plans;
}

}  // namespace orrery::planner
