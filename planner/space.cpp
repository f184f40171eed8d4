#include "planner/space.h"

#include <algorithm>

#include "program/schedules/schedule.h"

namespace orrery::planner {
namespace {

std::vector<std::int64_t> divisors(std::int64_t n, std::int64_t most) {
  std::vector<std::int64_t> out;
  for (std::int64_t d = 1; d <= std::min(n, most); ++d)
    if (n % d == 0) out.push_back(d);
  return out;
}

std::vector<std::string> schedules(const Space& space) {
  if (!space.schedule.empty()) return space.schedule;
  if (space.vp.empty()) return {"1f1b", "gpipe"};
  std::vector<std::string> out;
  for (const char* schedule : {"1f1b", "gpipe", "interleaved"}) {
    const program::ChunkRange range = program::schedule_chunks(schedule);
    if (std::any_of(space.vp.begin(), space.vp.end(), [&](std::int64_t vp) { return vp >= range.least && vp <= range.most; }))
      out.emplace_back(schedule);
  }
  return out;
}

std::vector<std::int64_t> chunks(const Space& space, const Plan& base, const std::string& schedule) {
  if (schedule == "csv") return space.vp.empty() ? std::vector<std::int64_t>{base.parallel.vp} : space.vp;  // the file says which
  const program::ChunkRange range = program::schedule_chunks(schedule);
  const auto can = [&](std::int64_t vp) { return vp >= range.least && vp <= range.most; };
  if (space.vp.empty()) return {can(base.parallel.vp) && base.schedule == schedule ? base.parallel.vp : range.usual};
  std::vector<std::int64_t> out;
  std::copy_if(space.vp.begin(), space.vp.end(), std::back_inserter(out), can);
  return out.empty() ? space.vp : out;
}

// Arguments of the base plan's schedule are not those of another.
void take_schedule(Plan& plan, const std::string& schedule, std::int64_t vp) {
  if (plan.schedule != schedule) plan.schedule_args = {};
  if (plan.parallel.vp != vp) plan.stages.reset();
  plan.schedule = schedule;
  plan.parallel.vp = vp;
}

}  // namespace

std::vector<Plan> enumerate(const Model& model, const Cluster& cluster, const Plan& base, const Space& space) {
  std::vector<Plan> plans;
  const std::int64_t devices = cluster.devices;
  std::vector<std::pair<std::string, std::int64_t>> pairs;
  for (const std::string& schedule : schedules(space))
    for (const std::int64_t vp : chunks(space, base, schedule)) pairs.emplace_back(schedule, vp);
  const std::vector<std::int64_t> tps = space.tp.empty() ? divisors(devices, std::min(cluster.node_size, devices)) : space.tp;
  for (const std::int64_t tp : tps) {
    const std::vector<std::int64_t> pps = space.pp.empty() ? divisors(std::max<std::int64_t>(1, devices / tp), model.layers) : space.pp;
    for (const std::int64_t pp : pps) {
      const std::int64_t ranks = tp * pp * base.parallel.cp;
      const std::int64_t dp = devices % ranks == 0 ? devices / ranks : 1;
      const std::int64_t sequences = base.batch.global % dp == 0 ? base.batch.global / dp : 1;
      const std::vector<std::int64_t> micros = space.micro.empty() ? divisors(sequences, sequences) : space.micro;
      for (const auto& [schedule, vp] : pairs) {
        if (pp == 1 && schedule != pairs.front().first) continue;
        for (const std::string& recompute : space.recompute) {
          for (const std::int64_t zero : space.zero) {
            if (dp == 1 && zero != space.zero.front()) continue;
            for (const std::int64_t micro : micros) {
              Plan plan = base;
              plan.parallel.tp = tp;
              plan.parallel.pp = pp;
              plan.parallel.sp = space.sp.value_or(tp > 1 && base.batch.sequence % tp == 0);
              plan.batch.micro = micro;
              take_schedule(plan, schedule, vp);
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
