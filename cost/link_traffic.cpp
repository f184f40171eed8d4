#include "cost/link_traffic.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "program/loads.h"

namespace orrery::cost {
namespace {

using program::Operator;

// Expected distinct ones of `places` that a token's experts are on, places being drawn from evenly.
double distinct(const program::Shape& shape, std::int64_t places) {
  const std::int64_t experts = shape.dims[4], k = shape.dims[5], groups = shape.dims[6], chosen = shape.dims[7];
  const bool whole = groups > 1 && chosen < groups && (places <= groups ? groups % places == 0 : places % groups == 0);
  return whole ? program::distinct_places_in_groups(experts, k, places, groups, chosen) : program::distinct_places(experts, k, places);
}

bool hierarchical(const program::Shape& shape, const Placement& p) {
  return shape.op == Operator::all_to_all_by_count && shape.dims[4] > 0 && p.levels.size() > 1 && p.levels[1].rails > 0 &&
         p.ranks > p.levels[1].rails;
}

}  // namespace

Bytes crossing_once(const program::Shape& shape, const Placement& p) {
  if (!hierarchical(shape, p)) return Bytes{shape.bytes};
  // Of k copies, distinct remote nodes instead of the remote ranks' share.
  const std::int64_t inside = p.levels[1].rails, nodes = p.ranks / inside;
  const double remote = distinct(shape, nodes) * static_cast<double>(nodes - 1) / static_cast<double>(nodes) / static_cast<double>(shape.dims[5]);
  const double plain = static_cast<double>(p.ranks - inside) / static_cast<double>(p.ranks);
  return Bytes{static_cast<std::int64_t>(static_cast<double>(shape.bytes) * std::min(1.0, remote / plain))};
}

double fan_out_bytes(const program::Shape& shape, const Placement& p) {
  if (!hierarchical(shape, p)) return 0;
  const auto inside = static_cast<double>(p.levels[1].rails);
  const double copies = distinct(shape, p.ranks) / static_cast<double>(shape.dims[5]) * (inside - 1) / inside;
  return static_cast<double>(shape.bytes) * copies;
}

bool crosses(std::size_t link_level, std::size_t meeting_level) {
  return link_level == 0 || meeting_level == 0 ? link_level == meeting_level : link_level <= meeting_level;
}

GroupTraffic::GroupTraffic(const Cluster& cluster, std::vector<std::int64_t> devices)
    : cluster_(&cluster), devices_(std::move(devices)), placement_(place(cluster, devices_)) {
  std::vector<std::int64_t> domains(devices_.size());
  for (std::size_t l = 0; l < placement_.levels.size(); ++l) {
    const bool all = l + 1 == placement_.levels.size();
    std::vector<std::int64_t> sorted;
    for (std::size_t i = 0; i < devices_.size(); ++i) domains[i] = all ? 0 : devices_[i] / cluster.levels[l].size;
    sorted = domains;
    std::sort(sorted.begin(), sorted.end());
    Level& level = levels_.emplace_back();
    level.domains = placement_.levels[l].domains;
    for (const std::int64_t d : domains) {
      const auto [first, last] = std::equal_range(sorted.begin(), sorted.end(), d);
      level.own.push_back(last - first);
    }
  }
}

Algorithm GroupTraffic::algorithm(const program::Shape& shape) const {
  if (shape.op == Operator::all_reduce && shape.dims[1] > 0) return Algorithm::direct;
  return collective_time(shape.op, crossing_once(shape, placement_), placement_, *cluster_).algorithm;
}

// Counts only what is at `member`, which is one of the two.
void GroupTraffic::add_message(std::vector<LinkBytes>& out, std::size_t from, std::size_t to, std::size_t member, double bytes) const {
  if (from == to) return;
  const std::size_t meet = cluster_->level_between(devices_[from], devices_[to]);
  for (std::size_t l = 0; l <= meet; ++l)
    if (crosses(l, meet)) (member == from ? out[l].sent : out[l].received) += bytes;
}

std::vector<std::int64_t> GroupTraffic::partners_by_level(std::size_t member, std::size_t servers) const {
  std::vector<std::int64_t> all(levels_.size());  // other members
  std::int64_t nearer = 1;
  for (std::size_t l = 0; l < levels_.size(); nearer = levels_[l++].own[member]) all[l] = levels_[l].own[member] - nearer;
  std::vector<std::int64_t> out(levels_.size());
  if (servers == devices_.size()) {
    out = all;
  } else {
    for (std::size_t s = 0; s < servers; ++s)
      if (s != member) ++out[cluster_->level_between(devices_[s], devices_[member])];
  }
  if (member < servers)
    for (std::size_t l = 0; l < out.size(); ++l) out[l] += all[l];
  return out;
}

std::vector<LinkBytes> GroupTraffic::bytes(const program::Shape& shape, Algorithm algorithm, std::size_t member) const {
  std::vector<LinkBytes> out(cluster_->levels.size());
  const std::size_t members = devices_.size();
  if (members < 2) return out;
  const auto n = static_cast<double>(members);
  const auto payload = static_cast<double>(shape.bytes);
  const auto own = [&](std::size_t l) { return static_cast<double>(levels_[l].own[member]); };
  const auto both = [&](std::size_t l, double bytes) { out[l] = {bytes, bytes}; };
  // As much leaves every domain of a level, divided among its members; `inside` and `outside` say how much that is from the domains of a level.
  const auto trees = [&](double bytes) {
    for (std::size_t l = 1; l < levels_.size(); ++l) {
      const auto domains = static_cast<double>(levels_[l - 1].domains);
      both(l, bytes * (domains - 1) / domains / own(l - 1));
    }
    both(0, bytes * (own(0) - 1) / own(0));
  };
  switch (shape.op) {
    case Operator::all_reduce:
    case Operator::all_reduce_max:
      if (const auto servers = static_cast<std::size_t>(shape.op == Operator::all_reduce ? shape.dims[1] : 0); servers > 0) {
        // Each push of a part is answered by a pull of one. So what a member sends, and what it receives, is a part for each of its servers, and for
        // each of those that it serves.
        const std::vector<std::int64_t> partners = partners_by_level(member, std::min(servers, members));
        const double part = payload / static_cast<double>(servers);
        for (std::size_t meet = 0; meet < partners.size(); ++meet)
          for (std::size_t l = 0; l <= meet; ++l)
            if (const double bytes = part * static_cast<double>(partners[meet]); crosses(l, meet)) out[l].sent += bytes, out[l].received += bytes;
        break;
      }
      if (algorithm != Algorithm::ring) {
        trees(2 * payload);
        if (algorithm == Algorithm::in_switch) both(0, own(0) > 1 ? payload : 0);
        break;
      }
      [[fallthrough]];
    case Operator::reduce_scatter:
    case Operator::all_gather: {
      const bool twice = shape.op == Operator::all_reduce || shape.op == Operator::all_reduce_max;
      const double past = (twice ? 2 : 1) * (n - 1) / n * payload;
      for (std::size_t l = 1; l < levels_.size(); ++l) both(l, past / own(l - 1));
      both(0, levels_[0].domains == 1 ? past : past * (own(0) - 1) / own(0));
      break;
    }
    case Operator::broadcast:
      trees(payload);
      break;
    case Operator::all_to_all:
    case Operator::all_to_all_by_count: {
      const auto crossing = static_cast<double>(crossing_once(shape, placement_).v);
      for (std::size_t l = 1; l < levels_.size(); ++l) both(l, crossing * (n - own(l - 1)) / n);
      both(0, std::max(crossing * (own(0) - 1) / n, fan_out_bytes(shape, placement_)));
      break;
    }
    case Operator::rotate:
      add_message(out, member, (member + 1) % members, member, payload);
      add_message(out, (member + members - 1) % members, member, member, payload);
      break;
    default:
      assert(false && "not a collective");
  }
  return out;
}

}  // namespace orrery::cost
