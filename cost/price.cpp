#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>

#include "core/error.h"
#include "cost/collectives.h"
#include "cost/cost.h"
#include "cost/link_traffic.h"
#include "cost/measured.h"
#include "cost/power.h"
#include "cost/reuse.h"
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
    Source& known = sources_[at->second];
    known.sigma = std::max(known.sigma, source.sigma);  // of all that is priced from it
    return static_cast<std::uint16_t>(at->second);
  }

 private:
  std::vector<Source>& sources_;
  std::map<std::string, std::size_t> known_;
};

class Pricer {
 public:
  Pricer(const program::Program& program, const Cluster& cluster, const Profile* profile, Table& table)
      : program_(program), cluster_(cluster), device_(cluster.device), profile_(profile), sources_(table.sources) {
    cores_ = std::max<std::int64_t>(1, cluster.shared_cores);
    table.idle = cluster.device.idle_power;
    if (!profile) return;
    measurements_.emplace(*profile);
    if (measurements_->depend_on_reuse()) reuse_ = reuse(program);
    if (const auto idle = on_cpu() ? std::nullopt : measured_power(*profile, "idle")) {
      idle_ = idle;
      table.idle = *idle;
      if (measured_power(*profile, name(WorkClass::gemm))) table.energy = grade();
    }
    if (program.launch == program::Launch::graph && profile->kernel_recorded.v > 0)
      recorded_saves_ = std::max(Seconds{0}, profile->kernel - profile->kernel_recorded), least_recorded_ = profile->kernel_recorded;
    cores_ = std::max(cores_, profile->cores);
    if (!on_cpu()) return;
    // What the profile did not measure is priced by the roofline of the machine that it did measure.
    if (profile->peak.v > 0) device_.peak = {{DType::fp32, profile->peak}};
    if (profile->memory_bandwidth.v > 0) device_.memory_bandwidth = profile->memory_bandwidth;
  }

  Entry price(std::size_t index) {
    const program::Shape& shape = program_.shapes[index];
    if (shape.op == program::Operator::wait) return {};
    return program::is_communication(shape.op) ? communication(shape) : computation(shape, reuse_.empty() ? Reuse{} : reuse_[index]);
  }
  // What issuing costs was measured with the kernels.
  Seconds issue() const {
    const Seconds otherwise = issue_time(cluster_.device, program_.launch);
    if (!profile_) return otherwise;
    switch (program_.launch) {
      case program::Launch::inline_host:
        return on_cpu() ? profile_->issue : otherwise;
      case program::Launch::eager:
        return !on_cpu() && profile_->issue.v > 0 ? profile_->issue : otherwise;
      case program::Launch::graph:
        return !on_cpu() && profile_->issue_recorded.v > 0 ? profile_->issue_recorded : otherwise;
      case program::Launch::compiled:
        break;
    }
    return otherwise;
  }

 private:
  bool on_cpu() const { return cluster_.device.kind == DeviceKind::cpu_core; }

  Entry computation(const program::Shape& shape, const Reuse& reuse) {
    Entry entry;
    if (const double work = program::flops(shape).v; work > 0)
      if (const FlopsPerSecond peak = device_.peak_of(shape.dtype); peak.v > 0) entry.ideal = to_picoseconds(Seconds{work / peak.v});
    const std::optional<MeasuredTime> measured = measurements_ ? measurements_->operation(shape, reuse) : std::nullopt;
    if (!measured) {
      const Estimate estimate = roofline(shape, device_);
      finish(entry, estimate.duration, estimate.arithmetic_bound ? Activity::arithmetic : Activity::memory, estimate.source,
             program::work_class(shape.op));
      // Assumed: one core drives as much of the memory as its bandwidth says, and half of the cores saturate it.
      if (on_cpu()) entry.memory_share = fixed_point(estimate.memory_fraction * std::min(1.0, 2.0 / static_cast<double>(cores_)));
      return entry;
    }
    const double streaming = device_.memory_bandwidth.v > 0 ? static_cast<double>(program::traffic(shape).v) / device_.memory_bandwidth.v : 0;
    const bool arithmetic = to_seconds(entry.ideal).v > streaming;
    const WorkClass work = program::work_class(shape.op);
    // Kernels were launched one by one; of a recording one follows the other sooner, but no sooner than the smallest was measured to.
    const Seconds alone = std::max(measured->alone - recorded_saves_, std::min(measured->alone, least_recorded_));
    finish(entry, alone, arithmetic ? Activity::arithmetic : Activity::memory, source_of(*measured, work, arithmetic), work);
    entry.duration = to_nearest_picosecond(alone);
    if (on_cpu()) {
      // `busy` ranks that each demand a share s of one memory run at 1 / (busy · s): s = slowdown / busy gives back the measured slowdown. As
      // many ranks as there are cores must be able to run unhindered where nothing slowed down, hence at least 1 / cores.
      const double share = measured->slowdown > 1 ? measured->slowdown / static_cast<double>(measured->busy) : 0;
      entry.memory_share = fixed_point(std::max(share, 1.0 / static_cast<double>(cores_)));
    }
    return entry;
  }

  Entry communication(const program::Shape& shape) {
    Entry entry;
    if (shape.group >= program_.groups.size()) return entry;
    Seconds slowest{-1};
    for (const Placement& placement : placements_of(shape.group, program::is_point_to_point(shape.op))) {
      if (placement.ranks < 2) continue;
      if (placement.levels.empty())
        throw Error("cluster " + cluster_.name, "has no network levels, but the plan communicates", "describe at least one level");
      const Bytes bytes{shape.bytes};
      // A measurement says how many ranks met, and on how many nodes: domains of the innermost level, one level above them.
      std::optional<MeasuredTime> measured;
      if (measurements_ && placement.levels.size() <= 2)
        measured = measurements_->collective(shape.op, placement.ranks, bytes, placement.levels.size() == 1 ? 1 : placement.levels[0].domains);
      const std::int64_t servers = shape.op == program::Operator::all_reduce ? shape.dims[1] : 0;
      CollectiveEstimate estimate = servers > 0 ? server_time(servers, bytes, placement, cluster_)
                                                : collective_time(shape.op, crossing_once(shape, placement), placement, cluster_);
      estimate.duration = std::max(estimate.duration, fan_out(shape, placement));
      const Seconds duration = measured ? measured->alone : estimate.duration;
      if (duration <= slowest) continue;
      slowest = duration;
      const WorkClass work = class_of(shape.group);
      finish(entry, duration, Activity::communication, measured ? source_of(*measured, work, false) : estimate.source, work);
      if (measured) entry.duration = to_nearest_picosecond(duration);
      if (measured && on_cpu()) {
        // Members beyond the cores took turns while it was measured.
        const double share = std::min(1.0, static_cast<double>(cores_) / static_cast<double>(placement.ranks));
        entry.core_share = fixed_point(share);
        entry.memory_share = fixed_point(share / static_cast<double>(cores_));
      }
    }
    return entry;
  }

  // What goes on inside the nodes if tokens cross between them once, over links of the innermost level at their nominal bandwidth.
  Seconds fan_out(const program::Shape& shape, const Placement& p) const {
    const double bytes = fan_out_bytes(shape, p);
    return bytes > 0 ? Seconds{bytes / cluster_.levels[0].bandwidth.v} : Seconds{0};
  }

  void finish(Entry& entry, Seconds duration, Activity activity, const Source& source, WorkClass work) {
    entry.duration = to_picoseconds(duration);
    entry.energy = energy(cluster_.device, activity, duration);
    if (idle_)
      if (const auto drawn = measured_power(*profile_, work, activity)) entry.energy = std::max(Watts{0}, *drawn - *idle_) * duration;
    entry.core_share = on_cpu() ? kWhole : 0;
    entry.source = sources_.index(source);
  }

  // Operators of one class in one profile err together; exact, interpolated and extrapolated figures apart.
  Source source_of(const MeasuredTime& measured, WorkClass work, bool arithmetic) const {
    std::string text = "profile: " + profile_->device + " " + profile_->date + ": " + std::string(name(work));
    if (measured.reach == Reach::interpolated) text += ", interpolated";
    if (measured.reach == Reach::extrapolated) text += ", extrapolated";
    double sigma = measured.sigma;
    if (profile_->transferred) {
      text += ", transferred from " + profile_->transferred->from;
      sigma = std::hypot(sigma, arithmetic ? profile_->transferred->arithmetic_error : profile_->transferred->memory_error);
    }
    return {std::move(text), grade(), sigma};
  }
  Grade grade() const { return profile_->transferred ? Grade::measured_elsewhere : Grade::measured_here; }

  WorkClass class_of(std::uint16_t group) const { return group < program_.group_class.size() ? program_.group_class[group] : WorkClass::dp_comm; }

  const std::vector<Placement>& placements_of(std::uint16_t group, bool pairs) {
    const auto [at, fresh] = placements_.try_emplace({group, pairs});
    if (fresh) {
      const program::Group& g = program_.groups[group];
      at->second = pairs ? pair_placements(cluster_, program_, group) : placements(cluster_, program_, g);
    }
    return at->second;
  }

  const program::Program& program_;
  const Cluster& cluster_;
  Device device_;  // the cluster's, with a CPU profile's peaks in place of the datasheet's
  const Profile* profile_;
  std::optional<Measurements> measurements_;
  std::vector<Reuse> reuse_;   // by shape; empty where the profile does not tell footprints apart
  std::optional<Watts> idle_;  // a GPU's, where it was measured
  Seconds recorded_saves_{}, least_recorded_{};
  std::int64_t cores_ = 1;
  SourceList sources_;
  std::map<std::pair<std::uint16_t, bool>, std::vector<Placement>> placements_;
};

}  // namespace

Table price(const program::Program& program, const Cluster& cluster, const Profile* profile) {
  Table table;
  Pricer pricer(program, cluster, profile, table);
  table.entries.reserve(program.shapes.size());
  for (std::size_t s = 0; s < program.shapes.size(); ++s) table.entries.push_back(pricer.price(s));
  table.issue = to_picoseconds(pricer.issue());
  return table;
}

}  // namespace orrery::cost
