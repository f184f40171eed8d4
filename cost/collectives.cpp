#include "cost/collectives.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace orrery::cost {
namespace {

using program::Operator;

// Fitted together to all-reduces of nccl-tests and all_reduce_bench on 3, 5 and 7 A100 (VIA-Research/vTrain), 8 H200 and 2 x 8 H100, judged on
// thirteen other tables: docs/models/collectives.md.
constexpr Seconds kNcclBase{24.6e-6};  // what any collective of NCCL costs before its first step
constexpr double kPipelineFill = 0.2;  // see combine()
constexpr double kSigma = 0.12;        // mean relative error on the tables that were not fitted
// NCCL 2.27 src/graph/tuning.cc: a tree moves 0.92 of what a ring's links carry.
constexpr double kTreeShare = 0.92;

// Switches that add: bytes of all-reduce per second and device, over the link's nominal rate; it does not fall with the number of members.
struct SwitchArithmetic {
  std::string_view device;
  double share;
};
// stas00/ml-engineering network/README.md: 8 H200 at 8 GiB reach 473.1 GB/s of bus bandwidth, x 8/14 = 270 of 450; 8 B200 838, 479 of 900 and on
// 7, 473; GB200 and GB300 taken to be alike.
constexpr std::array kSwitchArithmetic{SwitchArithmetic{"h100", 0.6},    SwitchArithmetic{"h200", 0.6},   SwitchArithmetic{"gb200", 0.528},
                                       SwitchArithmetic{"gb300", 0.528}, SwitchArithmetic{"b200", 0.528}, SwitchArithmetic{"b300", 0.528}};
// The same source: NCCL takes the switches' arithmetic from five members in a node on.
constexpr std::int64_t kLeastForSwitch = 5;

std::size_t levels_of(const Placement& p) { return p.levels.size(); }

// Without a switch every pair of devices has its own link, and a group of n has n - 1 of a device's (stas00/ml-engineering network/README.md:
// all-reduce on MI300X reaches 48 GB/s over 2, 313 over 8). The one such network that is shipped is AMD's.
bool is_mesh(const NetworkLevel& level) { return level.name == "xgmi"; }

// Bytes per second and device on level l's links, as far as large transfers use them.
double rate(const Placement& p, const Cluster& cluster, std::size_t l) {
  const NetworkLevel& level = cluster.levels[l];
  const double nominal = level.bandwidth.v * level.efficiency;
  if (l > 0 || !is_mesh(level) || level.size < 3) return nominal;
  const std::int64_t members = p.levels.size() > 1 ? p.levels[1].rails : p.ranks;
  return nominal * static_cast<double>(std::max<std::int64_t>(1, members - 1)) / static_cast<double>(level.size - 1);
}

// Whether the group's traffic touches the links of level l: all that it spans, but links inside a node only where a node holds several members.
bool used(const Placement& p, std::size_t l) { return l > 0 || p.levels[l].branch > 1; }

// Sub-domains of level l that hold members.
std::int64_t parts(const Placement& p, std::size_t l) { return l == 0 ? p.ranks : p.levels[l - 1].domains; }

// t0 and x overlap neither fully nor not at all: a pipeline works in chunks, and the best chunk costs in proportion to the root of both.
Seconds combine(Seconds t0, double x) { return t0 + Seconds{x + 2 * kPipelineFill * std::sqrt(t0.v * x)}; }

// Bytes per second that pass each member in a ring through all members: every link of the ring carries the same, and where the ring leaves a
// sub-domain it is spread over the rails there.
double ring_rate(const Placement& p, const Cluster& cluster) {
  double slowest = std::numeric_limits<double>::infinity();
  for (std::size_t l = 0; l < levels_of(p); ++l)
    if (used(p, l)) slowest = std::min(slowest, static_cast<double>(p.levels[l].rails) * rate(p, cluster, l));
  return slowest;
}

// A ring of n members takes n - 1 steps; of these, those between sub-domains of level l cross that level.
Seconds ring_latency(const Placement& p, const Cluster& cluster) {
  Seconds sum{0};
  for (std::size_t l = 0; l < levels_of(p); ++l) sum += cluster.levels[l].latency * static_cast<double>(parts(p, l) - p.levels[l].domains);
  return sum;
}

// Up or down a tree that is binary within each level.
Seconds tree_latency(const Placement& p, const Cluster& cluster) {
  Seconds sum{0};
  for (std::size_t l = 0; l < levels_of(p); ++l) {
    const auto depth = std::bit_width(static_cast<std::uint64_t>(p.levels[l].branch - 1));  // ceil(log2(branch))
    sum += cluster.levels[l].latency * static_cast<double>(depth);
  }
  return sum;
}

// Seconds that a tree's all-reduce keeps the links of levels from `first` on busy: a sub-domain is a leaf of one of two trees and inside the other,
// so each of its rails sends and receives twice its share; two sub-domains only exchange their sums.
double tree_transfer(double bytes, const Placement& p, const Cluster& cluster, std::size_t first) {
  double longest = 0;
  for (std::size_t l = first; l < levels_of(p); ++l)
    if (used(p, l))
      longest = std::max(longest, (l > 0 && parts(p, l) == 2 ? 1 : 2) * bytes / (static_cast<double>(p.levels[l].rails) * rate(p, cluster, l)));
  return longest;
}

// Share of the link that the device's switches sum at; 0 where they cannot, or where too few members share them.
double switch_share(const Placement& p, const Cluster& cluster) {
  const std::int64_t members = levels_of(p) > 1 ? p.levels[1].rails : p.ranks;
  if (members < kLeastForSwitch) return 0;
  for (const SwitchArithmetic& s : kSwitchArithmetic)
    if (cluster.device.name.find(s.device) != std::string::npos) return s.share;
  return 0;
}

// Seconds until the last byte is in when all send to all at once: what leaves a sub-domain uses each device's own link of that level, and the levels
// work side by side.
double all_to_all_transfer(double bytes, const Placement& p, const Cluster& cluster, bool nominal) {
  const auto n = static_cast<double>(p.ranks);
  double longest = 0;
  for (std::size_t l = 0; l < levels_of(p); ++l) {
    if (!used(p, l)) continue;
    const double outside = n - static_cast<double>(p.levels[l].rails);
    const double beyond = l == 0 && levels_of(p) > 1 ? n - static_cast<double>(p.levels[1].rails) : 0.0;  // leaves the node by another link
    longest = std::max(longest, bytes * (outside - beyond) / n / (nominal ? cluster.levels[l].bandwidth.v : rate(p, cluster, l)));
  }
  return longest;
}

Source source_of(const Placement& p, const Cluster& cluster) {
  // The slowest level decides; its file says where its efficiency comes from.
  std::size_t worst = 0;
  double slowest = std::numeric_limits<double>::infinity();
  for (std::size_t l = 0; l < levels_of(p); ++l) {
    const double r = static_cast<double>(p.levels[l].rails) * rate(p, cluster, l);
    if (used(p, l) && r < slowest) {
      slowest = r;
      worst = l;
    }
  }
  const NetworkLevel& level = cluster.levels[worst];
  const bool assumed = level.source.starts_with("assumed") || cluster.device.kind != DeviceKind::gpu;
  return {"collectives over " + level.name + ": " + level.source, assumed ? Grade::assumed : Grade::fitted, assumed ? 0.25 : kSigma};
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
void each_group(const Cluster& cluster, const program::Program& program, const program::Group& group, Visit visit) {
  if (group.part == program::Group::Part::everyone || group.part == program::Group::Part::boundary) {
    visit(program::members(program, group, 0));
    return;
  }
  const program::Mesh& mesh = program.mesh_of(group.segment);
  std::set<std::vector<std::int64_t>> seen;
  const std::int64_t begin = program.first_rank(group.segment), end = begin + mesh.ranks();
  for (std::int64_t base = begin; base < end; ++base) {
    const program::Coordinates c = mesh.coordinates(base - begin);
    bool first = true;  // of its group
    for (std::size_t a = 0; a < program::kAxes; ++a)
      if ((group.axes >> a & 1U) && c[a] != 0) first = false;
    if (!first) continue;
    std::vector<std::int64_t> residue;
    for (std::size_t l = 0; l + 1 < cluster.levels.size(); ++l) residue.push_back(base % cluster.levels[l].size);
    // Experts' groups are translates of each other only where the ranks of a stage are neighbours.
    if ((group.axes & program::kExpertAxes) && mesh.order.back() != program::Axis::pp) residue.push_back(base);
    if (!seen.insert(std::move(residue)).second) continue;
    visit(program::members(program, group, base));
  }
}

void add_distinct(std::vector<Placement>& all, Placement p) {
  if (std::find(all.begin(), all.end(), p) == all.end()) all.push_back(std::move(p));
}

}  // namespace

std::vector<Placement> placements(const Cluster& cluster, const program::Program& program, const program::Group& group) {
  std::vector<Placement> out;
  each_group(cluster, program, group, [&](const std::vector<std::int64_t>& members) { add_distinct(out, place(cluster, members)); });
  return out;
}

std::vector<Placement> pair_placements(const Cluster& cluster, const program::Program& program, std::uint16_t number) {
  std::vector<Placement> out;
  const program::Group& group = program.groups[number];
  if (group.part == program::Group::Part::boundary) {
    const program::Boundary at = program::boundary(program, group.segment);
    for (const std::int64_t rank : program::members(program, group, 0)) {
      const program::Messages all = program::messages(program, at, program.segment_of(rank));
      for (std::int64_t m = 0; m < all.parts * all.blocks; ++m)
        add_distinct(out, place(cluster, std::array{rank, program::peer_of(program, rank, true, number, static_cast<std::int8_t>(m))}));
    }
    return out;
  }
  each_group(cluster, program, group, [&](const std::vector<std::int64_t>& members) {
    for (std::size_t i = 0; i + 1 < members.size(); ++i) add_distinct(out, place(cluster, std::span(members).subspan(i, 2)));
  });
  return out;
}

CollectiveEstimate server_time(std::int64_t servers, Bytes bytes, const Placement& p, const Cluster& cluster) {
  CollectiveEstimate out;
  if (p.ranks < 2) return out;
  out.source = source_of(p, cluster);
  out.source.name = "parameter servers: " + out.source.name;
  out.source.grade = Grade::assumed, out.source.sigma = std::max(out.source.sigma, 0.25);  // nothing was measured
  Seconds farthest{0};
  for (std::size_t l = 0; l < levels_of(p); ++l)
    if (used(p, l)) farthest = std::max(farthest, cluster.levels[l].latency);
  const Seconds base = cluster.device.kind == DeviceKind::gpu ? kNcclBase : Seconds{0};
  const double gathered = static_cast<double>(bytes.v) / static_cast<double>(servers) * static_cast<double>(p.ranks);
  out.algorithm = Algorithm::direct;
  out.duration = combine((base + farthest) * 2.0, 2 * all_to_all_transfer(gathered, p, cluster, false));
  return out;
}

CollectiveEstimate collective_time(Operator op, Bytes bytes, const Placement& p, const Cluster& cluster) {
  CollectiveEstimate out;
  if (p.ranks < 2) return out;
  const auto n = static_cast<double>(p.ranks);
  const auto payload = static_cast<double>(bytes.v);
  out.source = source_of(p, cluster);
  const Seconds base = cluster.device.kind == DeviceKind::gpu ? kNcclBase : Seconds{0};
  const Seconds step = ring_latency(p, cluster);  // of n - 1 steps
  const double speed = ring_rate(p, cluster);
  switch (op) {
    case Operator::all_reduce:
    case Operator::all_reduce_max: {
      const auto consider = [&](Algorithm algorithm, Seconds duration) {
        if (out.algorithm == Algorithm::none || duration < out.duration) out = {duration, algorithm, std::move(out.source)};
      };
      const Seconds depth = tree_latency(p, cluster) * 2.0;
      consider(Algorithm::ring, combine(base + step * 2.0, 2 * (n - 1) / n * payload / speed));
      consider(Algorithm::tree, combine(base + depth, tree_transfer(payload, p, cluster, 0) / kTreeShare));
      if (const double share = switch_share(p, cluster); share > 0) {
        const double inside = payload / (share * cluster.levels[0].bandwidth.v);
        consider(Algorithm::in_switch, combine(base + depth, std::max(inside, tree_transfer(payload, p, cluster, 1))));
      }
      break;
    }
    case Operator::reduce_scatter:
    case Operator::all_gather:
      out.algorithm = Algorithm::ring;
      out.duration = combine(base + step, (n - 1) / n * payload / speed);
      break;
    case Operator::broadcast:
      out.algorithm = Algorithm::ring;
      out.duration = combine(base + std::min(step, tree_latency(p, cluster)), payload / speed);
      break;
    case Operator::all_to_all:
    case Operator::all_to_all_by_count: {
      Seconds farthest{0};
      for (std::size_t l = 0; l < levels_of(p); ++l)
        if (used(p, l)) farthest = std::max(farthest, cluster.levels[l].latency);
      out.algorithm = Algorithm::direct;
      out.duration = combine(base + farthest, all_to_all_transfer(payload, p, cluster, false));
      break;
    }
    case Operator::rotate:
      // One message each, at the same time; the slowest is between sub-domains of the outermost level.
      out.algorithm = Algorithm::direct;
      for (std::size_t l = 0; l < levels_of(p); ++l)
        if (used(p, l)) out.duration = std::max(out.duration, cluster.levels[l].latency + Seconds{payload / rate(p, cluster, l)});
      break;
    case Operator::send:
    case Operator::recv: {
      // One link, one message; the pair's own level is the last that it spans.
      const std::size_t last = levels_of(p) - 1;
      out.algorithm = Algorithm::direct;
      out.duration = cluster.levels[last].latency + Seconds{payload / rate(p, cluster, last)};
      break;
    }
    default:
      assert(false && "not a communication");
  }
  return out;
}

Seconds bandwidth_bound(Operator op, Bytes bytes, const Placement& p, const Cluster& cluster) {
  if (p.ranks < 2) return Seconds{0};
  const auto n = static_cast<double>(p.ranks);
  const auto payload = static_cast<double>(bytes.v);
  if (op == Operator::all_to_all || op == Operator::all_to_all_by_count) return Seconds{all_to_all_transfer(payload, p, cluster, true)};
  double worst = 0;
  for (std::size_t l = 0; l < levels_of(p); ++l) {
    if (!used(p, l)) continue;
    const auto rails = static_cast<double>(p.levels[l].rails);
    double seconds = payload / rails;  // into the smallest sub-domain, over its rails; per byte per second of one of them
    if (op == Operator::reduce_scatter || op == Operator::all_gather) seconds *= (n - rails) / n;
    if (op == Operator::rotate) seconds = payload;  // one member's message
    // To sum the parts of all sub-domains and to spread the sum takes 2 (parts - 1) payloads over all rails, which are n together.
    if (op == Operator::all_reduce || op == Operator::all_reduce_max)
      seconds = std::max(seconds, 2 * static_cast<double>(parts(p, l) - 1) * payload / n);
    worst = std::max(worst, seconds / cluster.levels[l].bandwidth.v);
  }
  return Seconds{worst};
}

}  // namespace orrery::cost
