#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "core/error.h"
#include "cost/collectives.h"
#include "cost/cost.h"
#include "cost/power.h"
#include "cost/roofline.h"

namespace orrery::cost {
namespace {

constexpr std::uint32_t kWhole = 1U << 16U;

std::uint32_t fixed_point(double share) { return static_cast<std::uint32_t>(std::lround(std::clamp(share, 0.0, 1.0) * static_cast<double>(kWhole))); }

// Every source once, in order of first use; index 0 is what costs nothing.
class SourceList {
 public:
  explicit SourceList(std::vector<Source>& sources) : sources_(sources) { index({"no work", Grade::datasheet, 0}); }

  std::uint16_t index(const Source& source) {
    const auto [at, fresh] = known_.emplace(source.name, sources_.size());
    if (fresh) sources_.push_back(source);
    return static_cast<std::uint16_t>(at->second);
  }

 private:
  std::vector<Source>& sources_;
  std::map<std::string, std::size_t> known_;
};

class Pricer {
 public:
  Pricer(const program::Program& program, const Cluster& cluster, const Profile* profile, Table& table)
      : program_(program), cluster_(cluster), profile_(profile), sources_(table.sources) {}

  Entry price(const program::Shape& shape) {
    if (shape.op == program::Operator::wait) return {};
    return program::is_communication(shape.op) ? communication(shape) : computation(shape);
  }

 private:
  bool on_cpu() const { return cluster_.device.kind == DeviceKind::cpu_core; }

  Entry computation(const program::Shape& shape) {
    const Device& device = cluster_.device;
    const Estimate estimate = roofline(shape, device);
    Entry entry;
    entry.duration = to_picoseconds(estimate.duration);
    if (const double work = program::flops(shape).v; work > 0) {
      const FlopsPerSecond peak = profile_ && on_cpu() && profile_->peak.v > 0 ? profile_->peak : device.peak_of(shape.dtype);
      entry.ideal = to_picoseconds(Seconds{work / peak.v});
    }
    entry.energy = energy(device, estimate.arithmetic_bound ? Activity::arithmetic : Activity::memory, estimate.duration);
    if (on_cpu()) {
      entry.core_share = kWhole;
      entry.memory_share = fixed_point(estimate.memory_fraction);
    }
    entry.source = sources_.index(estimate.source);
    return entry;
  }

  Entry communication(const program::Shape& shape) {
    if (shape.group >= program_.groups.size()) return {};
    CollectiveEstimate slowest;
    for (const Placement& placement : placements_of(shape.group, program::is_point_to_point(shape.op))) {
      if (placement.ranks > 1 && placement.levels.empty())
        throw Error("cluster " + cluster_.name, "has no network levels, but the plan communicates", "describe at least one level");
      CollectiveEstimate estimate = collective_time(shape.op, Bytes{shape.bytes}, placement, cluster_);
      if (estimate.duration > slowest.duration || slowest.algorithm == Algorithm::none) slowest = std::move(estimate);
    }
    Entry entry;
    if (slowest.algorithm == Algorithm::none) return entry;
    entry.duration = to_picoseconds(slowest.duration);
    entry.energy = energy(cluster_.device, Activity::communication, slowest.duration);
    if (on_cpu()) entry.core_share = kWhole;
    entry.source = sources_.index(slowest.source);
    return entry;
  }

  const std::vector<Placement>& placements_of(std::uint16_t group, bool pairs) {
    const auto [at, fresh] = placements_.try_emplace({group, pairs});
    if (fresh) {
      const program::Group& g = program_.groups[group];
      at->second = pairs ? pair_placements(cluster_, program_.mesh, g) : placements(cluster_, program_.mesh, g);
    }
    return at->second;
  }

  const program::Program& program_;
  const Cluster& cluster_;
  const Profile* profile_;
  SourceList sources_;
  std::map<std::pair<std::uint16_t, bool>, std::vector<Placement>> placements_;
};

}  // namespace

Table price(const program::Program& program, const Cluster& cluster, const Profile* profile) {
  Table table;
  Pricer pricer(program, cluster, profile, table);
  table.entries.reserve(program.shapes.size());
  for (const program::Shape& shape : program.shapes) table.entries.push_back(pricer.price(shape));
  table.issue = to_picoseconds(issue_time(cluster.device, program.launch));
  table.idle = cluster.device.idle_power;
  return table;
}

}  // namespace orrery::cost
