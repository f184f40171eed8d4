#include "cost/collectives.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>
#include <map>
#include <set>

namespace orrery::cost {
namespace {

using program::Operator;

// NCCL 2.27 src/graph/tuning.cc, baseLatencies: ring 8.4 us under protocol Simple; what any collective costs before its first step.
constexpr Seconds kBase{8.4e-6};
// The same file: a tree moves 0.92 of what a ring's links carry.
constexpr double kTreeShare = 0.92;

std::size_t levels_of(const Placement& p) { return p.levels.size(); }

double rate(const NetworkLevel& level) { return level.bandwidth.v * level.efficiency; }

// Bytes per second that pass each member in a ring through all members: every link of the ring carries the same, and where the ring leaves a
// sub-domain it is spread over the rails there.
double ring_rate(const Placement& p, const Cluster& cluster) {
  double slowest = std::numeric_limits<double>::infinity();
  for (std::size_t l = 0; l < levels_of(p); ++l)
    if (p.levels[l].branch > 1) slowest = std::min(slowest, static_cast<double>(p.levels[l].rails) * rate(cluster.levels[l]));
  return slowest;
}

// A ring of n members takes n - 1 steps; of these, those between sub-domains of level l cross that level.
Seconds ring_latency(const Placement& p, const Cluster& cluster) {
  Seconds sum{0};
  std::int64_t inner = p.ranks;
  for (std::size_t l = 0; l < levels_of(p); ++l) {
    sum += cluster.levels[l].latency * static_cast<double>(inner - p.levels[l].domains);
    inner = p.levels[l].domains;
  }
  return sum;
}

Seconds tree_latency(const Placement& p, const Cluster& cluster) {
  Seconds sum{0};
  for (std::size_t l = 0; l < levels_of(p); ++l) {
    const auto depth = std::bit_width(static_cast<std::uint64_t>(p.levels[l].branch - 1));  // ceil(log2(branch))
    sum += cluster.levels[l].latency * static_cast<double>(depth);
  }
  return sum;
}

// Most bytes per second into one member when all send to all at once: shares that cross a level use that level's link of their own device, and
// the levels work side by side.
Seconds all_to_all_transfer(double bytes, const Placement& p, const Cluster& cluster, bool nominal) {
  const auto n = static_cast<double>(p.ranks);
  double slowest = 0;
  for (std::size_t l = 0; l < levels_of(p); ++l) {
    if (p.levels[l].branch <= 1) continue;
    // Members outside the smallest sub-domain of this level, but within it or beyond: what crosses a higher level also leaves through its own NIC.
    const double outside = n - static_cast<double>(l == 0 ? 1 : p.levels[l].rails);
    const double beyond = l + 1 < levels_of(p) ? n - static_cast<double>(p.levels[l + 1].rails) : 0.0;
    const double crossing = l == 0 ? outside - beyond : outside;
    const NetworkLevel& level = cluster.levels[l];
    slowest = std::max(slowest, bytes * crossing / n / (nominal ? level.bandwidth.v : rate(level)));
  }
  return Seconds{slowest};
}

Source source_of(const Placement& p, const Cluster& cluster) {
  // The slowest level decides; its file says where its efficiency comes from.
  std::size_t worst = 0;
  double slowest = std::numeric_limits<double>::infinity();
  for (std::size_t l = 0; l < levels_of(p); ++l) {
    const double r = static_cast<double>(p.levels[l].rails) * rate(cluster.levels[l]);
    if (p.levels[l].branch > 1 && r < slowest) {
      slowest = r;
      worst = l;
    }
  }
  const NetworkLevel& level = cluster.levels[worst];
  return {"collectives over " + level.name + ": " + level.source, Grade::datasheet, 0.15};
}

}  // namespace

Placement place(const Cluster& cluster, std::span<const std::int64_t> devices) {
  Placement out;
  out.ranks = static_cast<std::int64_t>(devices.size());
  if (devices.size() < 2) return out;
  // Members of each domain of the level below; at first every device is its own.
  std::map<std::int64_t, std::int64_t> inner;  // first device of the domain -> members in it
  for (const std::int64_t d : devices) ++inner[d];
  for (std::size_t l = 0; l < cluster.levels.size(); ++l) {
    const std::int64_t size = l + 1 == cluster.levels.size() ? std::max(cluster.levels[l].size, cluster.devices) : cluster.levels[l].size;
    std::map<std::int64_t, std::int64_t> members, subdomains;
    std::int64_t rails = std::numeric_limits<std::int64_t>::max();
    for (const auto& [first, count] : inner) {
      const std::int64_t domain = first / size * size;
      members[domain] += count;
      ++subdomains[domain];
      rails = std::min(rails, count);
    }
    Placement::Level level;
    level.domains = static_cast<std::int64_t>(members.size());
    level.rails = l == 0 ? 1 : rails;
    for (const auto& [domain, count] : subdomains) level.branch = std::max(level.branch, count);
    out.levels.push_back(level);
    if (level.domains == 1) break;
    inner = std::move(members);
  }
  return out;
}

namespace {

// Calls `visit(members)` for one group of each way to lie in the inner levels' domains.
template <class Visit>
void each_group(const Cluster& cluster, const program::Mesh& mesh, const program::Group& group, Visit visit) {
  std::set<std::vector<std::int64_t>> seen;
  const std::int64_t ranks = mesh.ranks();
  for (std::int64_t base = 0; base < ranks; ++base) {
    const program::Coordinates c = mesh.coordinates(base);
    bool first = true;  // of its group
    for (std::size_t a = 0; a < program::kAxes; ++a)
      if ((group.axes >> a & 1U) && c[a] != 0) first = false;
    if (!first) continue;
    std::vector<std::int64_t> residue;
    for (std::size_t l = 0; l + 1 < cluster.levels.size(); ++l) residue.push_back(base % cluster.levels[l].size);
    if (!seen.insert(std::move(residue)).second) continue;
    visit(program::members(mesh, group, base));
  }
}

void add_distinct(std::vector<Placement>& all, Placement p) {
  if (std::find(all.begin(), all.end(), p) == all.end()) all.push_back(std::move(p));
}

}  // namespace

std::vector<Placement> placements(const Cluster& cluster, const program::Mesh& mesh, const program::Group& group) {
  std::vector<Placement> out;
  each_group(cluster, mesh, group, [&](const std::vector<std::int64_t>& members) { add_distinct(out, place(cluster, members)); });
  return out;
}

std::vector<Placement> pair_placements(const Cluster& cluster, const program::Mesh& mesh, const program::Group& group) {
  std::vector<Placement> out;
  each_group(cluster, mesh, group, [&](const std::vector<std::int64_t>& members) {
    for (std::size_t i = 0; i + 1 < members.size(); ++i) add_distinct(out, place(cluster, std::span(members).subspan(i, 2)));
  });
  return out;
}

CollectiveEstimate collective_time(Operator op, Bytes bytes, const Placement& p, const Cluster& cluster) {
  CollectiveEstimate out;
  if (p.ranks < 2) return out;
  const auto n = static_cast<double>(p.ranks);
  const auto payload = static_cast<double>(bytes.v);
  out.source = source_of(p, cluster);
  const Seconds step = ring_latency(p, cluster);  // of n - 1 steps
  const double speed = ring_rate(p, cluster);
  switch (op) {
    case Operator::all_reduce:
    case Operator::all_reduce_max: {
      const Seconds ring = step * 2.0 + Seconds{2 * (n - 1) / n * payload / speed};
      const Seconds tree = tree_latency(p, cluster) * 2.0 + Seconds{2 * payload / (kTreeShare * speed)};
      out.algorithm = tree < ring ? Algorithm::tree : Algorithm::ring;
      out.duration = kBase + std::min(ring, tree);
      break;
    }
    case Operator::reduce_scatter:
    case Operator::all_gather:
      out.algorithm = Algorithm::ring;
      out.duration = kBase + step + Seconds{(n - 1) / n * payload / speed};
      break;
    case Operator::broadcast: {
      const Seconds tree = tree_latency(p, cluster);
      out.algorithm = Algorithm::ring;
      out.duration = kBase + std::min(step, tree) + Seconds{payload / speed};
      break;
    }
    case Operator::all_to_all: {
      Seconds farthest{0};
      for (std::size_t l = 0; l < levels_of(p); ++l)
        if (p.levels[l].branch > 1) farthest = std::max(farthest, cluster.levels[l].latency);
      out.algorithm = Algorithm::direct;
      out.duration = kBase + farthest + all_to_all_transfer(payload, p, cluster, false);
      break;
    }
    case Operator::send:
    case Operator::recv: {
      // One link, one message; the pair's own level is the last that it spans.
      const NetworkLevel& level = cluster.levels[levels_of(p) - 1];
      out.algorithm = Algorithm::direct;
      out.duration = level.latency + Seconds{payload / rate(level)};
      break;
    }
    default:
      assert(!"not a communication");
  }
  return out;
}

Seconds bandwidth_bound(Operator op, Bytes bytes, const Placement& p, const Cluster& cluster) {
  if (p.ranks < 2) return Seconds{0};
  const auto n = static_cast<double>(p.ranks);
  const auto payload = static_cast<double>(bytes.v);
  if (op == Operator::all_to_all) return all_to_all_transfer(payload, p, cluster, true);
  double worst = 0;
  for (std::size_t l = 0; l < levels_of(p); ++l) {
    if (p.levels[l].branch <= 1) continue;
    // Of the payload, what members outside the smallest sub-domain hold must come in through that sub-domain's rails.
    const auto rails = static_cast<double>(p.levels[l].rails);
    double share = (n - rails) / n;
    if (op == Operator::all_reduce || op == Operator::all_reduce_max) share *= 2;
    if (op == Operator::broadcast || program::is_point_to_point(op)) share = 1;
    worst = std::max(worst, share * payload / (rails * cluster.levels[l].bandwidth.v));
  }
  return Seconds{worst};
}

}  // namespace orrery::cost
